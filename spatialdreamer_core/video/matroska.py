"""What of Matroska (RFC 9559) FFmpeg cannot be told through PyAV: a stereo picture's shape, and the sphere.

With StereoMode, FFmpeg writes DisplayWidth and DisplayHeight, the size of one view, as if pixels were square.
So half side by side would be shown squeezed by players that go by the container: the two values are changed
where they are. Projection, which says that a picture lies on a sphere, is put behind them; what it needs is
taken from the empty element that FFmpeg leaves at the beginning, so that nothing behind it moves. The sums
over the elements that change (CRC-32) are made anew.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from ..checks import InputError

_HEADER = 2**20  # bytes at the beginning of a file within which its tracks are described
_SEGMENT, _SEEK_HEAD, _SEEK, _VOID, _CRC = 0x18538067, 0x114D9B74, 0x4DBB, 0xEC, 0xBF
_SEEK_ID, _SEEK_POSITION = 0x53AB, 0x53AC
_TRACKS, _TRACK, _VIDEO = 0x1654AE6B, 0xAE, 0xE0
_DISPLAY_WIDTH, _DISPLAY_HEIGHT = 0x54B0, 0x54BA
_PROJECTION, _PROJECTION_TYPE, _PROJECTION_PRIVATE = 0x7670, 0x7671, 0x7672
_EQUIRECTANGULAR = 1
_QUARTER = 2**30  # of the sphere's width, as a 0.32 fixed-point number


class _Element(NamedTuple):
    """Where an element of a file lies."""

    kind: int
    start: int  # of its name
    length_at: int  # of its length
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
        header = bytearray(file.read(_HEADER))
        *_, tracks, _, video = _find_video(header, path)
        inside = {element.kind: element for element in _walk(header, video.body, video.end)}
        if not {_DISPLAY_WIDTH, _DISPLAY_HEIGHT} <= set(inside):
            raise InputError(
                f"a stereo film in Matroska must say how large a view is, got {path} without; write it again"
            )
        width, height = inside[_DISPLAY_WIDTH], inside[_DISPLAY_HEIGHT]
        for element, value in zip((width, height), _size(header, width, height, shape), strict=True):
            header[element.body : element.end] = value.to_bytes(element.end - element.body, "big")
        _sum_up(header, tracks)
        file.seek(0)
        file.write(header)


def add_half_sphere(path: str | Path) -> None:
    """Say in a file of FFmpeg that its film shows the front half of a sphere, equirectangular.

    Args:
        path: The file, closed.

    Raises:
        InputError: If the file has no room for it at its beginning, as one has that FFmpeg did not write.
    """
    kind = _element(_PROJECTION_TYPE, bytes([_EQUIRECTANGULAR]))
    bounds = _element(_PROJECTION_PRIVATE, struct.pack(">5I", 0, 0, 0, _QUARTER, _QUARTER))  # as in equi
    added = _element(_PROJECTION, kind, bounds)
    with open(path, "r+b") as file:
        header = bytearray(file.read(_HEADER))
        segment, *around = _find_video(header, path)
        tracks = around[0]
        parts = {element.kind: element for element in reversed(list(_walk(header, segment.body, tracks.end)))}
        longer = _extended(header, around, added)
        grown = len(longer) - (tracks.end - tracks.start)
        empty = parts.get(_VOID)
        if empty is None or empty.end - empty.body < grown:
            raise InputError(
                f"a file of Matroska must have {grown} bytes of room before its tracks, got {path} without; "
                "write it again"
            )
        header[empty.length_at : empty.body] = _length(
            empty.end - empty.body - grown, width=empty.body - empty.length_at
        )
        header[empty.end - grown : tracks.end] = header[empty.end : tracks.start] + longer
        head = parts[_SEEK_HEAD]
        for seek in _walk(header, head.body, head.end):
            entry = {element.kind: element for element in _walk(header, seek.body, seek.end)}
            if seek.kind == _SEEK:
                place = entry[_SEEK_POSITION]
                position = int.from_bytes(header[place.body : place.end], "big")
                if empty.end <= segment.body + position <= tracks.start:
                    moved = position - grown
                    header[place.body : place.end] = moved.to_bytes(place.end - place.body, "big")
        _sum_up(header, head)
        _sum_up(header, _find_video(header, path)[1])
        file.seek(0)
        file.write(header)


def _size(header: bytearray, width: _Element, height: _Element, shape: Fraction) -> tuple[int, int]:
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


def _element(kind: int, *content: bytes) -> bytes:
    """Make an element of up to 126 bytes."""
    body = b"".join(content)
    assert len(body) < 127, len(body)
    return struct.pack(">HB", kind, 0x80 | len(body)) + body


def _find_video(header: bytes | bytearray, path: str | Path) -> tuple[_Element, ...]:
    """Find segment, tracks, the first track of pictures, and what it says of them."""
    for segment in _walk(header, 0, len(header)):
        for tracks in _walk(header, segment.body, segment.end) if segment.kind == _SEGMENT else ():
            for track in _walk(header, tracks.body, tracks.end) if tracks.kind == _TRACKS else ():
                for video in _walk(header, track.body, track.end) if track.kind == _TRACK else ():
                    if video.kind == _VIDEO:
                        return segment, tracks, track, video
    raise InputError(f"a file of Matroska must hold a track of pictures, got {path} without; write it again")


def _walk(data: bytes | bytearray, start: int, end: int) -> Iterator[_Element]:
    """Give the elements that lie one after the other, as far as there are bytes."""
    while start < min(end, len(data)) and data[start]:
        length_at = start + 9 - data[start].bit_length()
        if length_at >= len(data) or not data[length_at]:
            return
        width = 9 - data[length_at].bit_length()
        size = int.from_bytes(data[length_at : length_at + width], "big") & ((1 << 7 * width) - 1)
        body = length_at + width
        is_open = size == (1 << 7 * width) - 1  # of a length that was not known
        kind = int.from_bytes(data[start:length_at], "big")
        yield _Element(kind, start, length_at, body, end if is_open else min(body + size, end))
        start = body + size


def _extended(header: bytes | bytearray, around: list[_Element], added: bytes) -> bytes:
    """Return an element with bytes added to the last of those that lie in each other."""
    element, *inner = around
    name, content = header[element.start : element.length_at], header[element.body : element.end]
    if inner:
        first = inner[0]
        before, after = header[element.body : first.start], header[first.end : element.end]
        content = before + _extended(header, inner, added) + after
    else:
        content = content + added
    return bytes(name + _length(len(content), width=element.body - element.length_at) + content)


def _length(length: int, *, width: int) -> bytes:
    """Write the length of an element, in so many bytes or more."""
    while length >= (1 << 7 * width) - 1:
        width += 1
    return (1 << 7 * width | length).to_bytes(width, "big")


def _sum_up(header: bytearray, element: _Element) -> None:
    """Correct the sum over an element, where it begins with one."""
    first = next(_walk(header, element.body, element.end), None)
    if first is not None and first.kind == _CRC:
        content = zlib.crc32(header[first.end : element.end])
        header[first.body : first.end] = content.to_bytes(4, "little")
