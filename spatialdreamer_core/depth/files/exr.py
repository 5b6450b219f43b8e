"""Depth from an OpenEXR file, read by OpenEXR's own library.

The depth is one channel, found by its name (see `exr_names.py`); in a file of several parts, a part's name
stands for the layer of its channels. The library reads all channels of all parts, so memory for
all of them is checked first, by the header alone. Of its two interfaces (`File`, `InputFile`) only the first
survived 30,000 damaged files; `InputFile` crashed on every fortieth.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...checks import InputError, one_line
from ...memory import require_memory
from ...parsing import parsing
from .exr_names import find_depth_names
from .sizes import check_frame_size

_MAGIC = b"\x76\x2f\x31\x01"
_LARGEST_SAMPLE = 4  # bytes
_MAX_COMPARED = 8  # planes that may all be the depth
_EQUAL = 0.02  # of a value, by which lossy compression may part channels that were equal
_MIN_EQUAL_SHARE = 0.9  # of the pixels
_REMEDY = "save it again, with ZIP compression for example"


def read_exr(path: Path) -> np.ndarray:  # [h, w] float32
    """Read the depth channel of an EXR file: the only one, or that with a name of depth.

    Raises:
        InputError: If the package OpenEXR is missing, the file is no whole EXR file, or is a deep one, or no
            channel or more than one can be the depth.
    """
    openexr = _import()
    with parsing(path, rule="depth must be a whole EXR file", remedy=_REMEDY):
        heads = _read_heads(openexr, path)
        _check_parts(openexr, heads, path)
        several = len(heads) > 1
        names = [
            _full_name(head, channel.name, several) for head in heads for channel in head.header["channels"]
        ]
        wanted = find_depth_names(names)
        count = sum(name in wanted for name in names)
        if not 1 <= count <= _MAX_COMPARED:
            raise _ambiguous(names, path)
        planes = [
            _plane(part, channel)
            for part in openexr.File(str(path), separate_channels=True).parts
            for name, channel in part.channels.items()
            if _full_name(part, name, several) in wanted
        ]
        if len(planes) != count:  # the library leaves out parts that it cannot read
            raise ValueError("it is damaged or ends early")
        if not all(_are_equal(planes[0], other) for other in planes[1:]):
            raise _ambiguous(wanted, path)
        return planes[0]


def _import() -> Any:
    """Import OpenEXR."""
    try:
        import OpenEXR

        return OpenEXR
    except ImportError as error:
        raise InputError(
            f"EXR files need the Python package OpenEXR, which cannot be used here ({one_line(error)}); "
            "install it with: pip install OpenEXR, or save the depth as NPZ"
        ) from error


def _read_heads(openexr: Any, path: Path) -> list[Any]:
    """Read the headers of a file's parts."""
    with path.open("rb") as file:  # the library's words do not tell a missing file from a damaged one
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError("it is no EXR file")
    try:
        return openexr.File(str(path), separate_channels=True, header_only=True).parts
    except RuntimeError as error:
        raise ValueError("its header is damaged, or its size is none that a picture can have") from error


def _check_parts(openexr: Any, heads: list[Any], path: Path) -> None:
    """Check by their headers that a file's parts can be read."""
    if any(head.type() not in (openexr.scanlineimage, openexr.tiledimage) for head in heads):
        raise InputError(f"an EXR file of depth must not be a deep one, got {path}; save it as a flat one")
    samples = 0
    for head in heads:
        for window in ("dataWindow", "displayWindow"):
            height, width = _size(head.header[window])
            check_frame_size(path, width=width, height=height)
            samples += height * width * len(head.header["channels"])
    require_memory(
        samples * _LARGEST_SAMPLE,
        what=f"reading {path}",
        remedy="save the depth alone, without other channels",
    )


def _full_name(part: Any, name: str, several: bool) -> str:
    """Return a channel's name with its layer: its own, or the name of its part among several."""
    return f"{part.name()}.{name}" if several and part.name() and "." not in name else name


def _plane(part: Any, channel: Any) -> np.ndarray:  # [h, w] float32
    """Return a channel as the display window shows it; where that has no data, it is 0."""
    data, display = part.header["dataWindow"], part.header["displayWindow"]
    if channel.pixels.shape != _size(data):
        raise ValueError(f"channel {channel.name} does not have every pixel")
    pixels = channel.pixels.astype(np.float32)
    if all(np.array_equal(*corners) for corners in zip(data, display, strict=True)):
        return pixels
    plane = np.zeros(_size(display), np.float32)
    (left, top), (right, bottom) = np.maximum(data[0], display[0]), np.minimum(data[1], display[1])
    if left <= right and top <= bottom:
        rows, columns = slice(top, bottom + 1), slice(left, right + 1)
        plane[_shifted(rows, display[0][1]), _shifted(columns, display[0][0])] = pixels[
            _shifted(rows, data[0][1]), _shifted(columns, data[0][0])
        ]
    return plane


def _shifted(span: slice, by: int) -> slice:
    """Return a span of pixels counted from another one."""
    return slice(span.start - by, span.stop - by)


def _size(window: tuple[np.ndarray, np.ndarray]) -> tuple[int, int]:
    """Return the height and width of a window, whose corners are pixels of it."""
    (left, top), (right, bottom) = (map(int, corner) for corner in window)
    return bottom - top + 1, right - left + 1


def _ambiguous(names: list[str], path: Path) -> InputError:
    """Make the error for channels of which none is the depth for sure."""
    listed = one_line(", ".join(names)) if names else "none"
    return InputError(
        "an EXR file of depth must hold one channel, or one named Z, depth, V, Y or R; "
        f"got {listed} in {path}, of which none or more than one can be the depth (R, G and B only if they "
        "are equal); save the depth alone, or name its channel Z and no other"
    )


def _are_equal(
    first: np.ndarray,  # [h, w]
    second: np.ndarray,  # [h, w]
) -> bool:
    """Tell whether two channels are the same but for what lossy compression changes."""
    if first.shape != second.shape:
        return False
    largest = np.abs(first[np.isfinite(first)]).max(initial=0)
    equal = np.isclose(first, second, rtol=_EQUAL, atol=_EQUAL / 10 * float(largest), equal_nan=True)
    return bool(equal.mean() >= _MIN_EQUAL_SHARE)
