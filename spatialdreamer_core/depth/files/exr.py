"""Depth from an OpenEXR file, decoded by FFmpeg.

FFmpeg decodes channels named R, G, B, A or Y. Depth comes under other names, such as Z (OpenEXR's own
convention) or ViewLayer.Depth.Z (Blender), so the header handed to FFmpeg names the wanted channel Y, in a
layer of its own, and gives the others names that FFmpeg skips. What FFmpeg would decode to wrong values
without a word is refused. The format of the header is that of OpenEXR's "OpenEXR File Layout".
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from ...checks import InputError, one_line
from ...memory import require_memory
from ...parsing import parsing
from .exr_names import find_depth_names
from .planes import plane_values
from .sizes import check_frame_size

_MAGIC = b"\x76\x2f\x31\x01"
_DEEP_OR_PARTS = 0x1800  # flags of the version
_TILED = 0x200  # flag of the version
_UINT = 0  # pixel type; FFmpeg gives 0 or 1 for it
_DWAA, _DWAB = 8, 9  # compressions, of which FFmpeg decodes colours only
_CHANNEL_TAIL = 16  # bytes after a channel's name: type, linearity, sampling
_TYPES = {"grayf32le": "<f4", "grayf16le": "<f2"}
_MAX_COMPARED = 8  # planes that may all be the depth
_EQUAL = 0.02  # of a value, by which lossy compression may part channels that were equal
_MIN_EQUAL_SHARE = 0.9  # of the pixels
_REMEDY = "save it as half or float in one part with ZIP compression"


class _Channel(NamedTuple):
    """A channel in the header."""

    start: int  # where the name starts
    name: str
    pixel_type: int


def read_exr(path: Path) -> np.ndarray:  # [h, w] float32
    """Read the depth channel of an EXR file: the only one, or that with a name of depth.

    Raises:
        InputError: If the file is no EXR file, FFmpeg cannot decode it, or no channel or more than one can
            be the depth.
    """
    with parsing(path, rule="depth must be a whole EXR file", remedy=_REMEDY):
        require_memory(2 * path.stat().st_size, what=f"reading {path}", remedy="save it with ZIP compression")
        data = bytearray(path.read_bytes())
        attributes, header_end = _attributes(data)
        channels = _channels(data, attributes["channels"])
        compression = data[attributes["compression"]]
        for window in ("dataWindow", "displayWindow"):
            left, top, right, bottom = struct.unpack_from("<4i", data, attributes[window])
            check_frame_size(path, width=right - left + 1, height=bottom - top + 1)
        names = find_depth_names([channel.name for channel in channels])
        wanted = [channel for channel in channels if channel.name in names]
        if not 1 <= len(wanted) <= _MAX_COMPARED:
            raise _ambiguous(channels, path)
        flags = int.from_bytes(data[4:8], "little")
        integers = any(channel.pixel_type == _UINT for channel in wanted)
        if flags & _DEEP_OR_PARTS or integers or compression in (_DWAA, _DWAB):
            raise InputError(
                "an EXR file of depth must hold half or float in one part that is not deep, without DWAA or "
                f"DWAB compression, got another in {path}; {_REMEDY}"
            )
        if not _is_whole(data, header_end, tiled=bool(flags & _TILED)):
            raise InputError(
                f"depth must be a whole EXR file, got {path}, which ends early; copy or save it again"
            )
        depth = _decode(data, channels, wanted[0])
        for other in wanted[1:]:
            if not _are_equal(depth, _decode(data, channels, other)):
                raise _ambiguous(wanted, path)
        return depth


def _ambiguous(channels: list[_Channel], path: Path) -> InputError:
    """Make the error for channels of which none is the depth for sure."""
    listed = one_line(", ".join(channel.name for channel in channels)) if channels else "none"
    return InputError(
        "an EXR file of depth must hold one channel, or one named Z, depth, V, Y or R; "
        f"got {listed} in {path}, of which none or more than one can be the depth (R, G and B only if they "
        "are equal); save the depth alone, or name its channel Z and no other"
    )


def _decode(data: bytearray, channels: list[_Channel], wanted: _Channel) -> np.ndarray:  # [h, w] float32
    """Decode one channel."""
    renamed = bytearray(data)
    for channel in channels:
        length = len(channel.name)
        # In ASCII, for that is what FFmpeg's option for the layer is compared with.
        name = b"a" * (length - 1) + b"Y" if channel is wanted else b"_" * length
        renamed[channel.start : channel.start + length] = name
    context = av.codec.CodecContext.create("exr", "r")
    context.options = {"layer": "a" * (len(wanted.name) - 1)}
    decoded = [*context.decode(av.Packet(bytes(renamed))), *context.decode(None)]
    if not decoded or decoded[0].format.name not in _TYPES:
        raise ValueError("FFmpeg cannot decode it")
    return plane_values(decoded[0].planes[0], _TYPES[decoded[0].format.name]).astype(np.float32)


def _are_equal(
    first: np.ndarray,  # [h, w]
    second: np.ndarray,  # [h, w]
) -> bool:
    """Tell whether two channels are the same but for what lossy compression changes."""
    largest = np.abs(first[np.isfinite(first)]).max(initial=0)
    equal = np.isclose(first, second, rtol=_EQUAL, atol=_EQUAL / 10 * float(largest), equal_nan=True)
    return bool(equal.mean() >= _MIN_EQUAL_SHARE)


def _attributes(data: bytearray) -> tuple[dict[str, int], int]:
    """List where the value of each attribute in the header starts; return with it where the header ends."""
    if data[:4] != _MAGIC:
        raise ValueError("no EXR file")
    attributes, position = {}, 8  # after magic number and version
    while data[position]:
        name, position = _text(data, position)
        _, position = _text(data, position)  # the type
        attributes[name] = position + 4  # after the size
        position += 4 + int.from_bytes(data[position : position + 4], "little")
    return attributes, position + 1


def _is_whole(data: bytearray, table: int, *, tiled: bool) -> bool:
    """Tell whether the last chunk of pixels ends within the file; FFmpeg leaves missing ones black."""
    offsets = np.frombuffer(data, "<u8", count=(len(data) - table) // 8, offset=table)
    # The table ends where the first chunk begins.
    ends = table + 8 * np.arange(1, len(offsets) + 1) >= np.minimum.accumulate(offsets)
    if not ends.any():
        return False
    offsets = offsets[: int(ends.argmax()) + 1]
    size_at = int(offsets.max()) + (16 if tiled else 4)  # after the chunk's coordinates
    size = int.from_bytes(data[size_at : size_at + 4], "little")
    return int(offsets.min()) > table and size_at + 4 + size <= len(data)


def _channels(data: bytearray, position: int) -> list[_Channel]:
    """List the channels."""
    channels = []
    while data[position]:
        name, after = _text(data, position)
        channels.append(_Channel(position, name, data[after]))
        position = after + _CHANNEL_TAIL
    return channels


def _text(data: bytearray, position: int) -> tuple[str, int]:
    """Read a text that ends in 0; return it and where the next thing begins."""
    end = data.index(0, position)
    return data[position:end].decode("latin-1"), end + 1
