"""Cues to depth in a single frame: position, upright shapes, haze and sky, focus, contrast to the border.

Each is a weak prior; together they decide only where nothing has moved. They are measured on a small frame
and depend on nothing but it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .regions import Regions, find_regions

_FILLING_WIDTH = 112  # pixels; enclosed parts are filled at this size
_ENCLOSED = 17  # pixels of that size, the longest extent that is filled
_BINS = 8  # a channel, of the border's colour histogram


@dataclass(frozen=True)
class CueWeights:
    """How much each cue counts in a frame without motion."""

    position: float = 1.0  # lower is nearer
    support: float = 0.7  # what stands upright is as near as its foot
    haze: float = 0.45  # bluish, pale and smooth is far
    focus: float = 0.20  # sharp is nearer
    subject: float = 0.45  # unlike the frame's border is nearer


def position_cue(height: int, width: int) -> np.ndarray:  # [h, w]
    """Rise from 0.15 at the top to 0.85 at the bottom, slowly in the upper third."""
    y = (np.arange(height, dtype=np.float32) + 0.5) / height
    return np.broadcast_to(_nearness(y)[:, None], (height, width)).copy()


def support_cue(
    frame: np.ndarray,  # [h, w, 3] uint8 RGB
    *,
    regions: Regions | None = None,  # of the frame; None finds them
) -> np.ndarray:  # [h, w], to be added to position
    """Raise upright regions towards the nearness of their foot, where they stand on the ground.

    Regions taller than wide, or nearly, are taken as upright; wide ones are ground, water or sky, and stay.
    """
    height, width = frame.shape[:2]
    regions = regions or find_regions(frame)
    label = regions.label
    top, region_height = regions.boxes[:, 1], regions.boxes[:, 3]
    upright = regions.upright() * np.clip(
        4 * region_height / label.shape[0] - 0.6, 0, 1
    )  # small ones are texture
    upright *= np.clip(100 * regions.area / label.size - 0.3, 0, 1)
    foot = _nearness(np.minimum(1, (top + region_height) / label.shape[0]))
    own = position_cue(*label.shape)
    rise = (upright[label] * np.maximum(foot[label] - own, 0)).astype(np.float32)
    return cv2.resize(rise, (width, height), interpolation=cv2.INTER_LINEAR)


def _nearness(y: np.ndarray) -> np.ndarray:
    """Map height in the frame, 0 = top to 1 = bottom, to inverse depth."""
    return (0.15 + 0.7 * y**1.3).astype(np.float32)


def haze_cue(frame: np.ndarray) -> np.ndarray:  # [h, w] uint8 RGB -> [h, w], 0 = hazy or sky, 1 = clear
    """Measure how bluish, and how pale and smooth, each region is: the air in between makes it so."""
    blurred = cv2.blur(frame, (5, 5), borderType=cv2.BORDER_REFLECT).astype(np.float32) / 255
    red, green, blue = cv2.split(blurred)
    bluish = np.clip((blue - np.maximum(red, green * 0.9)) * 3, 0, 1)
    brightest = cv2.max(cv2.max(red, green), blue)
    darkest = cv2.min(cv2.min(red, green), blue)
    height = frame.shape[0]
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height
    bluish *= np.clip(1.5 - 1.5 * y, 0, 1)
    bright = np.clip((darkest - 0.55) * 4, 0, 1) * np.clip((brightest - 0.6) * 4, 0, 1)
    sky = bright * np.clip(1.3 - 2 * y, 0, 1)
    return 1 - np.maximum(bluish, sky)


def focus_cue(grey: np.ndarray) -> np.ndarray:  # [h, w] uint8 -> [h, w], 0 = blurred, 1 = sharp
    """Compare fine detail with coarse detail: the ratio falls with defocus, whatever the contrast."""
    values = grey.astype(np.float32) / 255
    once = cv2.GaussianBlur(values, (0, 0), 1.0)
    twice = cv2.GaussianBlur(once, (0, 0), 2.5)
    window = (17, 17)
    fine = cv2.boxFilter((values - once) ** 2, -1, window, borderType=cv2.BORDER_REFLECT)
    coarse = cv2.boxFilter((once - twice) ** 2, -1, window, borderType=cv2.BORDER_REFLECT)
    # A box filter's running sums leave -1e-17 where all is flat, which has no root.
    ratio = np.sqrt(np.maximum(fine, 0) / (np.maximum(coarse, 0) + np.float32(2e-4)))
    return ratio / (ratio + np.float32(0.5))


def subject_cue(frame: np.ndarray) -> np.ndarray:  # [h, w, 3] uint8 RGB -> [h, w], 1 = unlike the border
    """Mark what differs in colour from the top, left and right border and lies towards the middle."""
    height, width = frame.shape[:2]
    smooth = cv2.blur(frame, (7, 7), borderType=cv2.BORDER_REFLECT)
    bins = (smooth // (256 // _BINS)).astype(np.int32)
    index = (bins[..., 0] * _BINS + bins[..., 1]) * _BINS + bins[..., 2]
    margin_y, margin_x = max(1, height // 10), max(1, width // 12)
    border = np.concatenate(
        [index[:margin_y].ravel(), index[:, :margin_x].ravel(), index[:, -margin_x:].ravel()]
    )
    size = _BINS**3
    inside = np.bincount(index.ravel(), minlength=size).astype(np.float32)
    outside = np.bincount(border, minlength=size).astype(np.float32) * (index.size / border.size)
    cube = np.stack([outside, inside]).reshape(2, _BINS, _BINS, _BINS)
    steps = ((0.25, 0), (0.5, 1), (0.25, 2))
    for axis in (1, 2, 3):  # neighbouring colours count too, so that a bin's edge makes no edge in depth
        padded = np.pad(cube, [(1, 1) if k == axis else (0, 0) for k in range(4)])
        shifted = [weight * np.take(padded, range(shift, shift + _BINS), axis) for weight, shift in steps]
        cube = shifted[0] + shifted[1] + shifted[2]
    likeness = (cube[0] / (cube[0] + cube[1] + index.size * 1e-3)).ravel()
    x = (np.arange(width, dtype=np.float32) + 0.5) / width
    y = (np.arange(height, dtype=np.float32) + 0.5) / height
    middle = np.clip(2.5 - 4 * np.abs(x - 0.5), 0, 1) * np.clip(4 * y[:, None], 0, 1)
    return np.clip(1 - 2 * likeness[index], 0, 1).astype(np.float32) * middle


def combine_cues(
    frame: np.ndarray,  # [h, w, 3] uint8 RGB
    weights: CueWeights,
    *,
    regions: Regions | None = None,  # of the frame; None finds them
) -> np.ndarray:  # [h, w]
    """Add the cues up to one prior for inverse depth, in [0, 1]."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    prior = 0.5 + weights.position * (position_cue(*grey.shape) - 0.5)
    prior += weights.support * support_cue(frame, regions=regions)
    prior += weights.focus * (focus_cue(grey) - 0.5)
    prior += weights.haze * (haze_cue(frame) - 1)
    prior += weights.subject * subject_cue(frame) * (1 - prior)
    return np.clip(prior, 0, 1)


def fill_enclosed(depth: np.ndarray) -> np.ndarray:  # [h, w] float32
    """Raise small parts that lie deeper than what surrounds them: a mouth is no hole in a face.

    A part is filled up to the lower of two closings, along the rows and along the columns, so that a gap
    between two things stays open where it is open to the sky or to the ground.
    """
    height, width = depth.shape
    scale = min(1.0, _FILLING_WIDTH / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(depth, size, interpolation=cv2.INTER_AREA)
    row, column = np.ones((1, _ENCLOSED), np.uint8), np.ones((_ENCLOSED, 1), np.uint8)
    closed = [cv2.morphologyEx(small, cv2.MORPH_CLOSE, kernel) for kernel in (row, column)]
    rise = cv2.resize(cv2.min(*closed) - small, (width, height), interpolation=cv2.INTER_LINEAR)
    return depth + rise
