"""Frames of two pictures, side by side or one above the other, put together as they lie in memory."""

from __future__ import annotations

import av
import numpy as np


def join_frames(
    first: av.VideoFrame,
    second: av.VideoFrame,
    *,
    stacked: bool,
) -> av.VideoFrame:
    """Put two frames of one format and size beside each other; no value changes.

    Args:
        first: The left one, or the upper one.
        second: The other one.
        stacked: Whether they lie one above the other.

    Both sides have to be even, or chroma of a pixel would belong to both.
    """
    width, height = (1, 2) if stacked else (2, 1)
    joined = av.VideoFrame(width * first.width, height * first.height, first.format.name)
    for half, frame in enumerate((first, second)):
        for target, source in zip(frame_planes(joined), frame_planes(frame), strict=True):
            rows, columns = source.shape
            top, left = (half * rows, 0) if stacked else (0, half * columns)
            target[top : top + rows, left : left + columns] = source
    return joined


def frame_planes(frame: av.VideoFrame) -> list[np.ndarray]:  # each [h, bytes of a row] uint8
    """Return a frame's planes in its own memory."""
    components = frame.format.components
    planes = []
    for number, plane in enumerate(frame.planes):
        pixel = sum((part.bits + 7) // 8 for part in components if part.plane == number)
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        planes.append(rows[: plane.height, : plane.width * pixel])
    return planes
