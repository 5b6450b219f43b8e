"""Whether a film holds two views already, as its metadata or its name say; the picture itself is not judged.

Metadata is certain: frame packing in the bitstream, StereoMode of Matroska, st3d of MP4, and the tag that our
outputs carry. A name is a hint: players go by it, but people name films as they like.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from ..checks import InputError
from ..stereo import even_size
from .hdr import side_data

_TAG = "spatialdreamer_stereo"
_PNG = b"\x89PNG\r\n\x1a\n"
_PHOTO_HEAD = 1 << 18  # bytes of a photo that are looked at
_LAYOUTS = {  # AVStereo3DType; 0 is one view, 8 are views that are streams of their own
    1: "side by side",
    2: "top-bottom",
    3: "frame by frame",
    4: "as a checkerboard",
    5: "side by side",
    6: "line by line",
    7: "column by column",
}
_INVERTED = 1  # of AVStereo3D's flags
_SPHERES = {2: ", each half a sphere", 3: ", each half a sphere"}  # AVSphericalProjection: 2 with its bounds
_INTERLACED = {  # formats that lie in one picture dot by dot, by StereoMode and as above
    "row_interleaved_lr": "row_interlaced",
    "line by line": "row_interlaced",
    "col_interleaved_lr": "column_interlaced",
    "column by column": "column_interlaced",
    "checkerboard_lr": "checkerboard",
    "as a checkerboard": "checkerboard",
    "frame by frame": "frame_sequential",
    "anaglyph": "anaglyph",
}
_WORDS = {
    *("hsbs", "fsbs", "halfsbs", "fullsbs", "htab", "ftab", "hou", "fou", "halftb", "fulltb"),
    *("lrf", "tbf", "rlf", "anaglyph", "redcyan", "rgbd"),
}
_BESIDE_SBS = {"3d", "half", "full", "vr", "180", "360"}  # without them SBS may be a broadcaster
_LAST_WORDS = {  # which mean it only where players look for them
    *("sbs", "lr", "rl", "tb", "checkerboard", "wiggle"),
    *("row interlaced", "column interlaced", "frame sequential"),
}
_QUILT = re.compile(r"qs\d+x\d+(a\d+)?")  # columns, rows and shape, as Looking Glass software reads them


def stereo_tag(format: str, width: int, height: int) -> dict[str, str]:
    """Return the tag by which we know our own outputs; the size tells whether they were cropped since."""
    height, width = even_size(height, width)
    return {_TAG: f"{format} {width}x{height}"}


def output_tags(
    metadata: Mapping[str, str] | None, path: Path, *, format: str, width: int, height: int
) -> dict[str, str] | None:
    """Add our tag to an output's tags where it costs nothing.

    In MP4 it would change how all tags are written, so it goes only along with others that do so anyway.
    """
    if metadata is None and path.suffix.lower() not in (".mkv", ".webm"):
        return None
    return {**stereo_tag(format, width, height), **(metadata or {})}


def check_one_view(path: str | Path, *, stated: str | None) -> str | None:
    """Check that a film or photo does not hold two views already.

    Args:
        path: The file, of which the name is looked at.
        stated: What its metadata says, from `stated_stereo`.

    Returns:
        A warning if its name says that it does, else None.

    Raises:
        InputError: If its metadata says so.
    """
    path = Path(path)
    remedy = "convert the film that it was made of, or cut out one view first"
    if stated is not None:
        raise InputError(f"input must have one view, got {path}, whose {stated}; {remedy}")
    if _is_named_stereo(path.stem) or path.suffix.lower() == ".jps":
        return f"{path.name} is named like a stereo pair, which would be taken for one picture; {remedy}"
    return None


def stated_stereo(container: InputContainer, stream: VideoStream, frame: av.VideoFrame) -> str | None:
    """Return what a film's metadata says of two views in its pictures, or None.

    Args:
        container: The film.
        stream: Its stream, open for decoding.
        frame: A frame of it.
    """
    own = _tag(container.metadata, _TAG)
    if own is not None and own.endswith(f" {frame.width}x{frame.height}"):
        return f"tag says that it is stereo ({own.partition(' ')[0]})"
    sphere = side_data(frame, "SPHERICAL")  # AVSphericalMapping begins with the projection
    shape = "" if sphere is None else _SPHERES.get(struct.unpack_from("i", sphere)[0], "")
    mode = _tag(stream.metadata, "stereo_mode")
    if mode is not None and mode != "mono":
        return f"StereoMode is {mode}{shape}"
    packing = side_data(frame, "STEREO3D")  # AVStereo3D begins with the type and flags
    if packing is None:
        return None
    kind, flags = struct.unpack_from("ii", packing)
    if kind not in _LAYOUTS:
        return None
    order = ", the right eye's first" if flags & _INVERTED else ""
    return f"frame packing says that two views lie {_LAYOUTS[kind]} in it{order}{shape}"


def photo_stereo(path: str | Path) -> str | None:
    """Return what a photo's metadata says of two views in its picture, or None.

    Args:
        path: The photo.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(_PHOTO_HEAD)
    except OSError:  # its reader says why
        return None
    if head.startswith(b"\xff\xd8") and b"_JPSJPS_" in head:
        return "JPS header says that two views lie in it"
    place = len(_PNG)
    while head.startswith(_PNG) and place + 8 <= len(head):
        length, kind = struct.unpack_from(">I4s", head, place)
        if kind == b"sTER":
            return "chunk sTER says that two views lie side by side in it"
        if kind == b"IDAT":
            return None
        place += 12 + length
    return None


def _tag(tags: Mapping[str, str], name: str) -> str | None:
    """Return a tag, whose name some containers write in capitals."""
    return next((value for key, value in tags.items() if key.lower() == name), None)


def _is_named_stereo(stem: str) -> bool:
    """Tell whether a name says that its film is stereo."""
    words = [word for word in re.split(r"[^a-z0-9]+", stem.lower()) if word]
    while len(words) > 2 and words[-1].isdigit():
        words.pop()  # the number of a copy
    if _WORDS & set(words) or ("sbs" in words and _BESIDE_SBS & set(words)):
        return True
    if len(words) < 2:
        return False
    return bool({words[-1], " ".join(words[-2:])} & _LAST_WORDS) or _QUILT.fullmatch(words[-1]) is not None


def stated_format(stated: str, *, aspect: Fraction) -> str | None:
    """Return the packing format that a film's metadata means, None for layouts that we do not write.

    Args:
        stated: What `stated_stereo` returned.
        aspect: Width over height of a displayed pixel, which tells half formats from full ones.
    """
    own = re.search(r"\((\w+)\)$", stated)
    if own is not None:
        return own[1]
    if stated.endswith("half a sphere"):
        return "vr180"
    inverted = stated.endswith("the right eye's first")
    if "right_left" in stated or (inverted and "side by side" in stated):
        return "cross_eyed"
    if inverted:
        return None
    if "left_right" in stated or "side by side" in stated:
        return "half_sbs" if aspect > 1 else "full_sbs"
    if "top_bottom" in stated or "top-bottom" in stated:
        return "half_tb" if aspect < 1 else "full_tb"
    return next((format for words, format in _INTERLACED.items() if words in stated), None)
