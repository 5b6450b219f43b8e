"""What of Matroska (RFC 9559) FFmpeg cannot be told through PyAV: the shape of a stereo picture.

With StereoMode, FFmpeg writes DisplayWidth and DisplayHeight, the size of one view, as if pixels were square.
So half side by side would be shown squeezed by players that go by the container. The elements are there
already: their values are changed where they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from ..checks import InputError

_HEADER = 2**20  # bytes at the beginning of a file within which its tracks are described
_SEGMENT, _TRACKS, _TRACK, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0xE0
_DISPLAY_WIDTH, _DISPLAY_HEIGHT = 0x54B0, 0x54BA


class _Element(NamedTuple):
    """Where an element of a file lies."""

    kind: int
    body: int  # of its content
    end: int


def set_view_shape(path: str | Path, shape: Fraction) -> None:
    """Correct how wide a stereo film shows each view, in a file of FFmpeg that has StereoMode.

    Args:
        path: The file, closed.
        shape: Width over height of one view, as it is to be shown.

    Raises:
        InputError: If the file does not say how large a view is.
    """
    with open(path, "r+b") as file:
        header = file.read(_HEADER)
        ways = _find(header, (_SEGMENT, _TRACKS, _TRACK, _VIDEO), 0, len(header))
        inside = {element.kind: element for video in ways for element in _walk(header, video.body, video.end)}
        try:
            width, height = inside[_DISPLAY_WIDTH], inside[_DISPLAY_HEIGHT]
        except KeyError:
            raise InputError(
                f"a stereo film in Matroska must say how large a view is, got {path} without; write it again"
            ) from None
        for element, value in zip((width, height), _size(header, width, height, shape), strict=True):
            file.seek(element.body)
            file.write(value.to_bytes(element.end - element.body, "big"))


def _size(header: bytes, width: _Element, height: _Element, shape: Fraction) -> tuple[int, int]:
    """Choose the largest size of a shape, up to the one of the pixels, whose numbers have room."""
    written = [int.from_bytes(header[element.body : element.end], "big") for element in (width, height)]
    most = [256 ** (element.end - element.body) - 1 for element in (width, height)]
    wider = shape * written[1] / written[0]
    sizes = [(written[0] * max(wider, Fraction(1)), written[1] / min(wider, Fraction(1)))]
    sizes += [(written[0] * min(wider, Fraction(1)), written[1] / max(wider, Fraction(1)))]
    for size in sizes:
        if size[0] <= most[0] and size[1] <= most[1]:
            return round(size[0]), round(size[1])
    raise AssertionError(f"a smaller size always has room, got {shape} for {written}")


def _find(data: bytes, path: tuple[int, ...], start: int, end: int) -> Iterator[_Element]:
    """Give the elements at a path."""
    for element in _walk(data, start, end):
        if element.kind == path[0] and len(path) == 1:
            yield element
        elif element.kind == path[0]:
            yield from _find(data, path[1:], element.body, element.end)


def _walk(data: bytes, start: int, end: int) -> Iterator[_Element]:
    """Give the elements that lie one after the other, as far as there are bytes."""
    while start < min(end, len(data)) and data[start]:
        width = 9 - data[start].bit_length()
        kind = int.from_bytes(data[start : start + width], "big")
        start += width
        if start >= len(data) or not data[start]:
            return
        width = 9 - data[start].bit_length()
        size = int.from_bytes(data[start : start + width], "big") & ((1 << 7 * width) - 1)
        start += width
        is_open = size == (1 << 7 * width) - 1  # of a length that was not known
        yield _Element(kind, start, end if is_open else min(start + size, end))
        start += size
