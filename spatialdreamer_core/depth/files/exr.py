"""Depth from an OpenEXR file, decoded by FFmpeg.

FFmpeg decodes channels named R, G, B, A or Y. Depth comes under other names, such as Z (OpenEXR's own
convention) or ViewLayer.Depth.Z (Blender), so the header handed to FFmpeg names the wanted channel Y, in a
layer of its own, and gives the others names that FFmpeg skips. What FFmpeg would decode to wrong values
without a word is refused. The format of the header is that of OpenEXR's "OpenEXR File Layout".
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from ...checks import InputError
from .planes import first_plane

_MAGIC = b"\x76\x2f\x31\x01"
_DEEP_OR_PARTS = 0x1800  # flags of the version
_TILED = 0x200  # flag of the version
_UINT = 0  # pixel type; FFmpeg gives 0 or 1 for it
_DWAA, _DWAB = 8, 9  # compressions, of which FFmpeg decodes colours only
_CHANNEL_TAIL = 16  # bytes after a channel's name: type, linearity, sampling
_PREFERRED = ("z", "depth", "v", "y", "r")  # last parts of names; grey pictures have R = G = B
_REMEDY = "save it as half or float in one part with ZIP compression"


class _Channel(NamedTuple):
    """A channel in the header."""

    start: int  # where the name starts
    name: str
    pixel_type: int


def read_exr(path: Path) -> np.ndarray:  # [h, w] float32
    """Read the depth channel of an EXR file: the only one, or the first that is named Z, depth, V, Y or R.

    Raises:
        InputError: If the file is no EXR file, FFmpeg cannot decode it, or no channel has such a name.
    """
    try:
        data = bytearray(path.read_bytes())
        attributes, header_end = _attributes(data)
        channels = _channels(data, attributes["channels"])
        compression = data[attributes["compression"]]
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise InputError(f"depth must be a whole EXR file, got {path} ({error}); {_REMEDY}") from error
    wanted = _choose(channels, path)
    flags = int.from_bytes(data[4:8], "little")
    if flags & _DEEP_OR_PARTS or wanted.pixel_type == _UINT or compression in (_DWAA, _DWAB):
        raise InputError(
            "an EXR file of depth must hold half or float in one part that is not deep, without DWAA or DWAB "
            f"compression, got another in {path}; {_REMEDY}"
        )
    if not _is_whole(data, header_end, tiled=bool(flags & _TILED)):
        raise InputError(
            f"depth must be a whole EXR file, got {path}, which ends early; copy or save it again"
        )
    for channel in channels:
        data[channel.start + len(channel.name) - 1] = ord("Y" if channel is wanted else "_")
    context = av.codec.CodecContext.create("exr", "r")
    context.options = {"layer": wanted.name[:-1]}
    try:
        decoded = [*context.decode(av.Packet(bytes(data))), *context.decode(None)]
    except av.error.FFmpegError as error:
        raise InputError(
            f"depth must be an EXR file that FFmpeg can decode, got {path} ({error.strerror}); {_REMEDY}"
        ) from error
    types = {"grayf32le": "<f4", "grayf16le": "<f2"}
    if not decoded or decoded[0].format.name not in types:
        raise InputError(f"depth must be an EXR file that FFmpeg can decode, got {path}; {_REMEDY}")
    return first_plane(decoded[0], types[decoded[0].format.name]).astype(np.float32)


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
    offsets: list[int] = []
    while not offsets or table + 8 * len(offsets) < min(
        offsets
    ):  # the table ends where the first chunk begins
        entry = table + 8 * len(offsets)
        offsets.append(int.from_bytes(data[entry : entry + 8], "little"))
    size_at = max(offsets) + (16 if tiled else 4)  # after the chunk's coordinates
    size = int.from_bytes(data[size_at : size_at + 4], "little")
    return min(offsets) > table and size_at + 4 + size <= len(data)


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


def _choose(channels: list[_Channel], path: Path) -> _Channel:
    """Choose the channel that holds depth."""
    if len(channels) == 1:
        return channels[0]
    for part in _PREFERRED:
        for channel in channels:
            if channel.name.rsplit(".", 1)[-1].lower() == part:
                return channel
    raise InputError(
        "an EXR file of depth must hold one channel, or one named Z, depth, V, Y or R; "
        f"got {', '.join(channel.name for channel in channels) or 'none'} in {path}; rename the channel"
    )
