"""Depth from a video of 8 to 16 bits, grey or coloured grey, with all of its bits.

Of YUV the luma counts, expanded from limited range (16 to 235 of 255) unless the file says that it uses the
full one; a grey format without that tag uses the full one, as FFmpeg takes it. Of RGB the channels' mean
counts.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import av
import numpy as np

from ...checks import InputError
from .planes import first_plane

_LIMITED_RANGE, _FULL_RANGE = 1, 2  # FFmpeg's AVColorRange
_WHITE = 65535


def read_depth_video(path: Path, skip: int) -> Generator[np.ndarray, None, None]:  # each [h, w] uint16
    """Decode a depth video from a frame on; the frames before are decoded, too.

    Raises:
        InputError: If the file is no video, or cannot be decoded to its end.
    """
    try:
        container = av.open(str(path.absolute()))
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(
            f"depth must be a video, an array or pictures, got {path} ({error.strerror}); "
            "choose another file, or copy it again"
        ) from error
    with closing(container):
        if not container.streams.video:
            raise InputError(f"depth must have a video stream, got {path} without one; choose another file")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        try:
            for index, frame in enumerate(container.decode(stream)):
                if index >= skip:
                    yield _to_grey(frame)
        except av.error.FFmpegError as error:
            raise InputError(
                f"depth must be a video that can be decoded to its end, got {path} ({error.strerror}); "
                "write or copy it again"
            ) from error


def _to_grey(frame: av.VideoFrame) -> np.ndarray:  # [h, w] uint16
    """Convert a frame to brightness, 0 to 65535 at full range."""
    name, bits = frame.format.name, frame.format.components[0].bits
    is_grey = name.startswith("gray") and not name.startswith("grayf")
    if not is_grey and not (name.startswith("yuv") and frame.format.is_planar):
        # Not always rgb48le: from 8 bits it is off by a few steps of 65535.
        format, white = ("rgb24", 255) if bits == 8 else ("rgb48le", _WHITE)
        mean = frame.reformat(format=format).to_ndarray().mean(2, dtype=np.float64)
        return np.rint(mean * (_WHITE / white)).astype(np.uint16)
    dtype = "u1" if bits == 8 else ">u2" if name.endswith("be") else "<u2"
    luma = first_plane(frame, dtype).astype(np.float32)
    is_full = is_grey or name.startswith("yuvj") or frame.color_range == _FULL_RANGE
    if frame.color_range == _LIMITED_RANGE or not is_full:
        unit = 1 << (bits - 8)
        share = (luma - 16 * unit) / (219 * unit)
    else:
        share = luma / ((1 << bits) - 1)
    return np.rint(share.clip(0, 1) * _WHITE).astype(np.uint16)
