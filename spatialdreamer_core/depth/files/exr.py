"""Depth from an OpenEXR file, decoded by FFmpeg.

FFmpeg decodes channels named R, G, B, A or Y. Depth comes under other names, such as Z (OpenEXR's own
convention) or ViewLayer.Depth.Z (Blender), so the header handed to FFmpeg names the wanted channel Y, in a
layer of its own, and gives the others names that FFmpeg skips. The format of the header is that of OpenEXR's
"OpenEXR File Layout".
"""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from ...checks import InputError
from .planes import first_plane

_MAGIC = b"\x76\x2f\x31\x01"
_FIRST_ATTRIBUTE = 8  # bytes: magic number and version
_CHANNEL_TAIL = 16  # bytes after a channel's name: type, linearity, sampling
_PREFERRED = ("z", "depth", "v", "y", "r")  # last parts of names; grey pictures have R = G = B


def read_exr(path: Path) -> np.ndarray:  # [h, w] float32
    """Read the depth channel of an EXR file: the only one, or the first that is named Z, depth, V, Y or R.

    Raises:
        InputError: If the file is no EXR file, FFmpeg cannot decode it, or no channel has such a name.
    """
    data = bytearray(path.read_bytes())
    try:
        names = _channels(data)
    except (ValueError, IndexError) as error:
        raise InputError(
            f"depth must be an EXR file with one part, got {path} ({error}); save it again"
        ) from error
    layer = _select(data, names, path)
    context = av.codec.CodecContext.create("exr", "r")
    context.options = {"layer": layer}
    try:
        frames = [*context.decode(av.Packet(bytes(data))), *context.decode(None)]
    except av.error.FFmpegError as error:
        raise InputError(
            f"depth must be an EXR file that FFmpeg can decode, got {path} ({error.strerror}); "
            "save it as half or float with ZIP compression"
        ) from error
    if not frames:
        raise InputError(f"depth must be a whole EXR file, got {path}; copy or save it again")
    return _plane(frames[0], path)


def _channels(data: bytearray) -> list[tuple[int, str]]:
    """List the channels of an EXR file: where the name starts, and the name."""
    if data[:4] != _MAGIC:
        raise ValueError("it does not begin as one")
    position = _FIRST_ATTRIBUTE
    while data[position]:
        name, position = _text(data, position)
        _, position = _text(data, position)  # the type
        size = int.from_bytes(data[position : position + 4], "little")
        position += 4
        if name == "channels":
            channels, end = [], position + size - 1
            while position < end:
                channel, after = _text(data, position)
                channels.append((position, channel))
                position = after + _CHANNEL_TAIL
            return channels
        position += size
    raise ValueError("it lists no channels")


def _text(data: bytearray, position: int) -> tuple[str, int]:
    """Read a text that ends in 0; return it and where the next thing begins."""
    end = data.index(0, position)
    return data[position:end].decode("latin-1"), end + 1


def _select(data: bytearray, channels: list[tuple[int, str]], path: Path) -> str:
    """Rename the channels so that FFmpeg decodes the one that holds depth; return the layer to ask it for."""
    last_parts = [name.rsplit(".", 1)[-1].lower() for _, name in channels]
    wanted = next((last_parts.index(part) for part in _PREFERRED if part in last_parts), None)
    if len(channels) == 1:
        wanted = 0
    if wanted is None:
        raise InputError(
            "an EXR file of depth must hold one channel, or one named Z, depth, V, Y or R; "
            f"got {', '.join(name for _, name in channels) or 'none'} in {path}; rename the channel"
        )
    for index, (start, name) in enumerate(channels):
        data[start + len(name) - 1] = ord("Y" if index == wanted else "_")
    return channels[wanted][1][:-1]


def _plane(frame: av.VideoFrame, path: Path) -> np.ndarray:
    """Return the values of a decoded frame of one channel."""
    types = {"grayf32le": "<f4", "grayf16le": "<f2", "gray16le": "<u2"}
    dtype = types.get(frame.format.name)
    if dtype is None:
        raise InputError(
            f"depth must be an EXR file of half or float, got {frame.format.name} in {path}; save it as float"
        )
    return first_plane(frame, dtype).astype(np.float32)
