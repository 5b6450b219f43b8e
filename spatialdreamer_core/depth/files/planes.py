"""The values of a decoded frame's planes: luma, grey or the only channel, and chroma."""

from __future__ import annotations

import numpy as np
from av.video.plane import VideoPlane


def plane_values(plane: VideoPlane, dtype: str) -> np.ndarray:  # [h, w] of dtype, a view
    """Return a plane without the padding of its rows."""
    values = np.frombuffer(memoryview(plane), dtype)
    return values.reshape(-1, plane.line_size // values.itemsize)[: plane.height, : plane.width]
