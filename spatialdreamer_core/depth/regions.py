"""Regions of about one colour, and a map's mean in each."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_WIDTH = 112  # pixels; regions are found at this size
_SAME_COLOUR = 9  # of 255, between neighbours of a region, in each channel of CIELAB


@dataclass(frozen=True)
class Regions:
    """A frame after mean shift, divided into connected regions of about one colour."""

    label: np.ndarray  # [h, w] int, of a small size
    boxes: np.ndarray  # [n, 4], left, top, width, height in pixels of that size
    area: np.ndarray  # [n], pixels of that size

    def average(
        self,
        values: tuple[np.ndarray, ...],  # each [h, w]
        weight: np.ndarray,  # [h, w], at least 0
    ) -> tuple[np.ndarray, ...]:  # each [h, w] float32
        """Return for each pixel its region's weighted mean of each map, 0 without weight, and mean weight."""
        flat, count = self.label.ravel(), len(self.area)
        planes = (weight, *(entry * weight for entry in values))
        sums = [np.bincount(flat, plane.ravel(), minlength=count) for plane in planes]
        means = [products / np.maximum(sums[0], 1e-6) for products in sums[1:]]
        return tuple(entry.astype(np.float32)[self.label] for entry in (*means, sums[0] / self.area))

    def upright(self) -> np.ndarray:  # [n] float32 in [0, 1]
        """Tell which regions are taller than wide, or nearly; wide ones are ground, water or sky."""
        return np.clip(2 * self.boxes[:, 3] / self.boxes[:, 2] - 0.7, 0, 1).astype(np.float32)


def find_regions(frame: np.ndarray) -> Regions:  # [h, w, 3] uint8 RGB
    """Find a frame's regions."""
    height, width = frame.shape[:2]
    size = min(width, _WIDTH), max(1, round(height * min(1, _WIDTH / width)))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    flat = cv2.pyrMeanShiftFiltering(small, 4, 12, maxLevel=1, termcrit=(cv2.TERM_CRITERIA_MAX_ITER, 2, 1))
    height, width = flat.shape[:2]
    colour = cv2.cvtColor(flat, cv2.COLOR_RGB2LAB).astype(np.int16)
    # On a grid twice as fine, pixels lie at even positions and the links between them at odd ones.
    links = np.zeros((2 * height - 1, 2 * width - 1), np.uint8)
    links[::2, ::2] = 1
    links[::2, 1::2] = np.abs(colour[:, 1:] - colour[:, :-1]).max(-1) < _SAME_COLOUR
    links[1::2, ::2] = np.abs(colour[1:] - colour[:-1]).max(-1) < _SAME_COLOUR
    count, label, boxes, _ = cv2.connectedComponentsWithStats(links, connectivity=4)
    label = label[::2, ::2] - 1  # without missing links, which count as region 0
    return Regions(label, (boxes[1:, :4] + 1) // 2, np.bincount(label.ravel(), minlength=count - 1))
