"""The values of a decoded frame's first plane: luma, grey, or the only channel."""

from __future__ import annotations

import av
import numpy as np


def first_plane(frame: av.VideoFrame, dtype: str) -> np.ndarray:  # [h, w] of dtype, a view
    """Return the first plane without the padding of its rows."""
    plane = frame.planes[0]
    values = np.frombuffer(memoryview(plane), dtype)
    return values.reshape(-1, plane.line_size // values.itemsize)[: frame.height, : frame.width]
