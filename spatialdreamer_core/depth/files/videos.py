"""Depth from a video of 8 to 16 bits, grey or coloured grey, with all of its bits.

Of YUV the luma counts, expanded from limited range (16 to 235 of 255) unless the file says that it uses the
full one; a grey format without that tag uses the full one, as FFmpeg takes it. Of RGB the channels' mean
counts. A video in colour is refused. Floats, as those of PFM, stay as they are: they may be metres, or
disparities of thousands. A video that is stored turned is turned upright, as players do.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import av
import numpy as np
from av.video.plane import VideoPlane

from ...checks import InputError
from ...media import ONE_THREAD, film_stream, open_media
from ...parsing import parsing
from .colours import check_equal_channels, check_grey, thin_out
from .sizes import MAX_PIXELS, check_frame_size

_LIMITED_RANGE, _FULL_RANGE = 1, 2  # FFmpeg's AVColorRange
_WHITE = 65535
_FLOATS = ("grayf", "yaf", "gbrpf", "gbrapf", "rgbf", "rgbaf")  # FFmpeg's pixel formats
_BYTES_PER_PIXEL = 32  # the pictures that a decoder keeps
_MAX_PARALLEL_PIXELS = 2**25  # an 8K frame; of larger ones, one a thread is too much


def read_depth_video(path: Path, skip: int) -> Generator[np.ndarray, None, None]:  # each [h, w]
    """Decode a depth video from a frame on; the frames before are decoded, too.

    Raises:
        InputError: If the file is no video, is in colour or too large, or cannot be decoded to its end.
    """
    with open_media(path, name="depth") as container:
        stream = film_stream(container)
        if stream is None:
            raise InputError(f"depth must have a video stream, got {path} without one; choose another file")
        with parsing(
            path, rule="depth must be a video that can be decoded to its end", remedy="write or copy it again"
        ):
            context = stream.codec_context
            if context is None:
                raise ValueError("FFmpeg has no decoder for it")
            check_frame_size(
                path, width=context.width, height=context.height, bytes_per_pixel=_BYTES_PER_PIXEL
            )
            context.options = {"max_pixels": str(MAX_PIXELS)}  # for frames that are larger than the header
            is_large = context.width * context.height > _MAX_PARALLEL_PIXELS
            stream.thread_type = "SLICE" if is_large else "AUTO"
            quarter_turns = None
            for index, frame in enumerate(container.decode(stream)):
                if quarter_turns is None:  # a film is turned upright, too
                    quarter_turns = round(-frame.rotation / 90) % 4
                if index >= skip:
                    grey = _to_grey(frame, f"frame {index} of {path}")
                    yield np.ascontiguousarray(np.rot90(grey, -quarter_turns))


def _to_grey(frame: av.VideoFrame, where: str) -> np.ndarray:  # [h, w] uint16, or float32
    """Convert a frame to brightness, 0 to 65535 at full range; floats are only reduced to one channel."""
    name, bits = frame.format.name, frame.format.components[0].bits
    if name.startswith(_FLOATS):
        return _floats_to_grey(frame, where)
    is_grey = name.startswith("gray")
    if not is_grey and not (name.startswith("yuv") and frame.format.is_planar):
        # Not always rgb48le: from 8 bits it is off by a few steps of 65535.
        format, white = ("rgb24", 255) if bits == 8 else ("rgb48le", _WHITE)
        rgb = frame.reformat(format=format, **ONE_THREAD).to_ndarray()
        check_equal_channels(rgb, where, white=white)
        return np.rint(rgb.mean(2, dtype=np.float64) * (_WHITE / white)).astype(np.uint16)
    dtype = "u1" if bits == 8 else ">u2" if name.endswith("be") else "<u2"
    if not is_grey:
        blue, red = (
            thin_out(_plane_values(plane, dtype)).astype(np.float32) / (1 << bits) - 0.5
            for plane in frame.planes[1:3]
        )
        check_grey(blue, red, where)
    luma = _plane_values(frame.planes[0], dtype).astype(np.float32)
    is_full = is_grey or name.startswith("yuvj") or frame.color_range == _FULL_RANGE
    if frame.color_range == _LIMITED_RANGE or not is_full:
        unit = 1 << (bits - 8)
        share = (luma - 16 * unit) / (219 * unit)
    else:
        share = luma / ((1 << bits) - 1)
    return np.rint(share.clip(0, 1) * _WHITE).astype(np.uint16)


def _floats_to_grey(frame: av.VideoFrame, where: str) -> np.ndarray:  # [h, w] float32
    """Reduce a frame of floats to one channel."""
    name, size = frame.format.name, 2 if "f16" in frame.format.name else 4
    dtype = f"{'>' if name.endswith('be') else '<'}f{size}"
    if frame.format.is_planar or name.startswith("grayf"):
        planes = [_plane_values(plane, dtype) for plane in frame.planes[: 3 if name.startswith("gb") else 1]]
    else:
        channels = len(frame.format.components)
        pixels = _plane_values(frame.planes[0], dtype, channels=channels)
        planes = list(np.moveaxis(pixels, -1, 0)[: 3 if channels > 2 else 1])
    if len(planes) == 1:
        return planes[0].astype(np.float32)
    check_equal_channels(np.stack([thin_out(plane) for plane in planes], axis=-1), where)
    return np.stack(planes).mean(axis=0, dtype=np.float64).astype(np.float32)


def _plane_values(plane: VideoPlane, dtype: str, *, channels: int = 1) -> np.ndarray:
    """Return a plane, [h, w] or [h, w, channels] of dtype, a view without the padding of its rows.

    Args:
        plane: The plane; its rows may be stored from the bottom up, as those of PFM are.
        dtype: The type of its values.
        channels: How many of them a pixel has.
    """
    values = np.frombuffer(memoryview(plane), dtype)
    rows = values.reshape(plane.height, -1)[:, : plane.width * channels]
    rows = rows[::-1] if plane.line_size < 0 else rows
    return rows if channels == 1 else rows.reshape(plane.height, plane.width, channels)
