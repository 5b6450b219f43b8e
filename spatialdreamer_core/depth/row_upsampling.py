"""`upsample_depth` for some rows at a time: a large photo's depth does not fit into memory at full size.

Each row is what `upsample_depth` gives for the whole picture, up to rounding: interpolation is done along the
rows first, and the filters that follow look at a known number of rows about each.
"""

from __future__ import annotations

import cv2
import numpy as np

from .edges import snap_edges, steepen_edges
from .estimate import GUIDE_EPSILON, GUIDE_RADIUS, check_plane, working_frame, working_size
from .guided_filter import ColourGuide

_MEDIAN_REACH = 2  # rows that `snap_edges` looks at after its window


class RowUpsampler:
    """Brings one picture's depth to the picture's size, some rows at a time.

    Args:
        depth: Inverse depth, [h, w] float32, not larger than the picture.
        size: (height, width) of the picture.
        guide: The picture, [height, width, 3] uint8 or uint16 RGB: edges move to those of its colours, see
            `upsample_depth`. None: they stay where they are.

    Raises:
        InputError: If an argument breaks its rule, see `upsample_depth`.
    """

    def __init__(self, depth: np.ndarray, size: tuple[int, int], *, guide: np.ndarray | None = None) -> None:
        check_plane(depth, size, guide)
        self._size = height, width = size
        self._guide = guide
        self._is_whole = guide is None and depth.shape == size
        self._planes = [depth]
        self._radius = max(1, round(width / depth.shape[1]))
        if guide is not None:
            small_size = working_size(height, width)
            small = working_frame(guide).astype(np.float32) / 255
            coefficients = ColourGuide(small, radius=GUIDE_RADIUS, epsilon=GUIDE_EPSILON).coefficients(depth)
            self._planes = list(cv2.split(coefficients))
            self._radius = max(2, round(2 * width / small_size[1])) + _MEDIAN_REACH
        if not self._is_whole:
            self._planes = [
                cv2.resize(plane, (width, plane.shape[0]), interpolation=cv2.INTER_LINEAR)
                for plane in self._planes
            ]

    def rows(self, top: int, bottom: int) -> np.ndarray:  # [bottom - top, W] float32
        """Return the rows of the picture's depth from `top` to before `bottom`."""
        if self._is_whole:
            return self._planes[0][top:bottom]
        height = self._size[0]
        first, last = max(0, top - self._radius), min(height, bottom + self._radius)
        if self._guide is None:
            raised = self._interpolate(self._planes[0], first, last)
            raised = steepen_edges(raised, radius=self._radius)
        else:
            guide = self._guide[first:last]
            scale = 1 / np.iinfo(guide.dtype).max
            raised = self._interpolate(self._planes[3], first, last)
            for channel in range(3):
                slope = self._interpolate(self._planes[channel], first, last)
                raised += slope * (guide[..., channel] * np.float32(scale))
            raised = snap_edges(np.clip(raised, 0, 1), radius=self._radius - _MEDIAN_REACH)
        return raised[top - first : bottom - first]

    def _interpolate(self, plane: np.ndarray, first: int, last: int) -> np.ndarray:
        """Interpolate between the rows of a plane as `cv2.resize` does."""
        count = plane.shape[0]
        position = (np.arange(first, last, dtype=np.float32) + 0.5) * (count / self._size[0]) - 0.5
        position = position.clip(0, count - 1)
        upper = np.floor(position).astype(int)
        share = (position - upper)[:, None].astype(np.float32)
        lower = np.minimum(upper + 1, count - 1)
        return plane[upper] * (1 - share) + plane[lower] * share
