"""The one place where media files are opened with FFmpeg, and the choice of the video stream in them.

FFmpeg follows what a file names: playlists, lists of parts, session descriptions and patterns like `%03d`
make it read other files, pipes and hosts, and hand their content out as pictures. So what is opened is a
regular file, by the `file` protocol alone, in a format that holds its content itself.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from .checks import InputError
from .memory import is_out_of_memory
from .parsing import parsing

PYAV = int(av.__version__.split(".")[0])  # its major version
ONE_THREAD: dict[str, Any] = {"threads": 1} if PYAV >= 17 else {}
"""For each `reformat`: several threads of libswscale, PyAV's default since 17, write into each other's rows.

A row whose length is no multiple of 8 pixels is written beyond its end, where in memory the next one begins.
One thread comes to that row later and makes it good; of several, another may have been there before.
"""
_FILMS = """
    mov,mp4,m4a,3gp,3g2,mj2 matroska,webm avi mpegts mpegtsraw mpeg flv live_flv asf asf_o ogg mxf gxf
    lxf nut nuv rm ivr wtv dv dhav pva ty nsv swf kux ivf obu av1 h261 h263 h264 hevc vvc evc vc1 vc1test
    m4v mpegvideo mjpeg mjpeg_2000 mpjpeg dirac dnxhd cavsvideo avs avs2 avs3 apv yuv4mpegpipe r3d cine
    ser mlv frm mv xmv thp pmp vivo film_cpk bink smk flic roq filmstrip 4xm ea idcin wc3movie ipmovie
    smush sga rl2 rpl vmd usm moflex mm mods anm amv psxstr tmv cdxl dxa gdv gif apng webp jpegxl_anim
""".split()
_PICTURES = """
    bmp dpx exr gif hdr j2k jpeg jpegls jpegxl pam pbm pcx pfm pgm png ppm psd qoi sgi sunrast tiff webp
""".split()
_SOUNDS = "aac ac3 aiff amr ape au caf dts dtshd eac3 flac mp3 oma truehd tta w64 wav wv".split()
_TEXT_ART = "tty bin xbin adf idf".split()  # known, so that they are refused by name
_FORMATS = (
    *(*_FILMS, *_SOUNDS, *_TEXT_ART),
    *(f"{name}_pipe" for name in _PICTURES),
    "image2",  # of one file, by `pattern_type`
)
_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": ",".join(_FORMATS),
    "pattern_type": "none",  # of image2: the name is that of a file
    "enable_drefs": "0",  # of mov: no tracks in other files
}
_NO_FILM = Disposition.attached_pic | Disposition.timed_thumbnails


@contextmanager
def open_media(
    path: str | os.PathLike[str], *, name: str = "input", card: HWAccel | None = None
) -> Iterator[InputContainer]:
    """Open a file with FFmpeg and close it when done.

    Args:
        path: The file.
        name: What it is called in messages, such as the option that named it.
        card: The card that decodes it; None: software does.

    Raises:
        InputError: If the file is missing, no regular file, empty, nothing that FFmpeg knows, or a list of
            other files.
    """
    path = Path(path)
    check_regular_file(path, name=name)
    with parsing(
        path,
        rule=f"{name} must be a whole video file",
        remedy="copy or download it again if it was cut short, or choose another file",
    ):
        container = _open(path, name, card)
    try:
        yield container
    finally:
        container.close()


def check_regular_file(path: Path, *, name: str = "input") -> None:
    """Check that a path is that of a regular file with content.

    Raises:
        InputError: If it is not.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{name} must be an existing file, got {path}; check the name") from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{name} must be a video file, got the folder {path}; give one file in it")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(
            f"{name} must be a regular file, got the pipe, socket or device {path}; save it as a file first"
        )
    if status.st_size == 0:
        raise InputError(f"{name} must not be empty, got 0 bytes in {path}; copy or download it again")


def natural_order(file: Path) -> list[tuple[int, int, str]]:
    """Make a key that sorts the frames of a folder: numbers in their names count by value (2 before 10)."""
    parts = re.split(r"([0-9]+)", file.name.casefold())
    key = [(1, int(part), "") if i % 2 else (0, 0, part) for i, part in enumerate(parts)]
    return [*key, (0, 0, file.name)]  # of names alike, such as 1 and 01


def film_stream(container: InputContainer) -> VideoStream | None:
    """Return the video that a player shows, or None if there is none.

    Covers and thumbnails are no film. Of several videos it is the one that is marked as the default; of
    several of those, or without such a mark, FFmpeg's best stream: most frames, highest bit rate.
    """
    films = [s for s in container.streams.video if not s.disposition & _NO_FILM]
    films = [s for s in films if s.codec_context is not None] or films
    films = [s for s in films if s.disposition & Disposition.default] or films
    if len(films) < 2:
        return films[0] if films else None
    best = container.streams.best("video")
    return next((s for s in films if best is not None and s.index == best.index), films[0])


def _open(path: Path, name: str, card: HWAccel | None) -> InputContainer:
    """Open a regular file; an error that is not one of its content becomes an `InputError` here."""
    try:
        return av.open(
            str(path.absolute()), metadata_errors="replace", container_options=dict(_OPTIONS), hwaccel=card
        )
    except PermissionError as error:
        raise InputError(
            f"{name} must be readable, got {path} ({error.strerror}); change its permissions"
        ) from error
    except av.error.FFmpegError as error:
        if is_out_of_memory(error):
            raise
        if error.errno == errno.EINVAL:  # a format that is not in the list
            raise InputError(
                f"{name} must hold its own frames, got {path}, a list of files or no video at all; "
                "give the video file itself"
            ) from error
        raise InputError(
            f"{name} must be a whole video file, got {path} ({error.strerror}); copy or download it "
            "again if it was cut short, or choose another file"
        ) from error
