"""Which videos and photos browsers show, and small copies of those that they do not, in H.264 or WebP.

Every browser plays H.264 of 8 bits in 4:2:0; HEVC, 10 bits and lossless H.264 show nothing in many of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from fractions import Fraction
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from .color import ColorInfo, to_8_bit
from .encoders import MAX_H264_SIDE
from .photo import write_photo
from .probe import open_video, probe
from .reader import read_frames
from .writer import VideoWriter

PREVIEW_SECONDS = 30.0  # of a film; more would take long for little
PREVIEW_WIDTH = 1280  # px
_CRF = 23
_OPEN_CODECS = ("vp8", "vp9", "av1", "libdav1d")
_H264_PROFILES = ("Baseline", "Constrained Baseline", "Main", "High")
_CONTAINERS = (".mp4", ".m4v", ".webm")  # MKV and MOV play in some
_PHOTOS = (".png", ".jpg", ".jpeg", ".webp", ".gif")
_LARGEST_PHOTO = 4096  # px a side, of a copy
_BT709 = ColorInfo(matrix=1, primaries=1, transfer=1)


def shows_in_browsers(path: str | Path) -> bool:
    """Tell whether a photo is of a kind that all usual browsers show."""
    return Path(path).suffix.lower() in _PHOTOS


def plays_in_browsers(path: str | Path) -> bool:
    """Tell whether a video is coded in a way that all usual browsers play.

    Raises:
        InputError: If the file is no video.
    """
    if Path(path).suffix.lower() not in _CONTAINERS:
        return False
    with open_video(path) as (_, stream):
        context = stream.codec_context
        if context.name in _OPEN_CODECS:
            return True
        return (
            context.name == "h264"
            and context.profile in _H264_PROFILES
            and max(context.width, context.height) <= MAX_H264_SIDE
        )


def write_preview(
    source: str | Path, target: str | Path, *, on_frame: Callable[[], None], max_width: int = PREVIEW_WIDTH
) -> None:
    """Write the first 30 seconds of a video, small, so that browsers play them.

    Args:
        source: The video.
        target: The file to be written, an .mp4.
        on_frame: Called after each frame; may raise to interrupt, and then no file stays.
        max_width: Width of the copy in pixels, unless the video is narrower.

    Raises:
        InputError: If the source cannot be read or the target cannot be written.
    """
    info = probe(source)
    width, height = _fitting(info.width, info.height, max_width)
    writer = VideoWriter(
        target,
        width=width,
        height=height,
        frame_rate=info.frame_rate,
        time_base=info.time_base,
        crf=_CRF,
        audio_from=source,
        audio_end=PREVIEW_SECONDS,
        color=_BT709,
        sample_aspect_ratio=info.sample_aspect_ratio,
        inputs=(source,),
    )
    with writer, closing(read_frames(source, end=PREVIEW_SECONDS, report=False)) as frames:
        for frame in frames:
            image = to_8_bit(frame.image, info.color)
            writer.write(_resized(image, width, height), frame.pts)
            on_frame()


def write_pictures_preview(
    pictures: Iterable[np.ndarray],  # each [H, W, 3] uint8 RGB
    target: str | Path,
    *,
    frame_rate: float,
    on_frame: Callable[[], None],
    max_width: int = PREVIEW_WIDTH,
) -> None:
    """Write pictures as a small film that browsers play; they are taken one by one.

    Args:
        pictures: At least one, all of one size.
        target: The file to be written, an .mp4.
        frame_rate: Pictures per second.
        on_frame: Called after each; may raise to interrupt, and then no file stays.
        max_width: Width of the film in pixels, unless the pictures are narrower.

    Raises:
        InputError: If the target cannot be written.
    """
    rate = Fraction(frame_rate).limit_denominator(1001)
    rest = iter(pictures)
    first = next(rest)
    width, height = _fitting(first.shape[1], first.shape[0], max_width)
    with VideoWriter(
        target, width=width, height=height, frame_rate=rate, time_base=1 / rate, crf=_CRF, color=_BT709
    ) as writer:
        for number, picture in enumerate(chain([first], rest)):
            writer.write(_resized(picture, width, height), number)
            on_frame()


def write_picture_preview(
    picture: np.ndarray,  # [H, W, 3] uint8 or uint16 RGB
    target: str | Path,
) -> None:
    """Write a picture as a WebP of at most 4096 px a side, which browsers show.

    Args:
        picture: The picture.
        target: The file to be written, a .webp.

    Raises:
        InputError: If the target cannot be written.
    """
    height, width = picture.shape[:2]
    scale = min(1, _LARGEST_PHOTO / max(width, height))
    small = _resized(to_8_bit(picture, None), max(1, round(width * scale)), max(1, round(height * scale)))
    write_photo(target, small)


def _fitting(width: int, height: int, most: int) -> tuple[int, int]:
    """Return the (width, height) of a copy; an even height keeps views that lie above each other apart."""
    if width <= most:
        return width, height
    return most, max(2, 2 * round(height * most / width / 2))


def _resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Make a picture smaller, by the mean of what becomes a pixel."""
    if picture.shape[:2] == (height, width):
        return np.ascontiguousarray(picture)
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
