"""The values of a decoded frame's planes: luma, grey or the only channel, and chroma."""

from __future__ import annotations

import numpy as np
from av.video.plane import VideoPlane


def plane_values(plane: VideoPlane, dtype: str, *, channels: int = 1) -> np.ndarray:
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
