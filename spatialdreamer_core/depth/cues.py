"""Cues to depth in a single frame: position, upright shapes, haze and sky, focus, contrast to the border.

Each is a weak prior; together they decide only where nothing has moved. They are measured on a small frame
and depend on nothing but it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_BINS = 8  # a channel, of the border's colour histogram
_REGION_WIDTH = 112  # pixels; regions are found at this size
_SAME_COLOUR = 9  # of 255, between neighbours of a region, in each channel of CIELAB


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


def support_cue(frame: np.ndarray) -> np.ndarray:  # [h, w, 3] uint8 RGB -> [h, w], to be added to position
    """Raise upright regions towards the nearness of their foot, where they stand on the ground.

    Regions are what mean shift leaves of about one colour. Those taller than wide, or nearly, are taken as
    upright; wide ones are ground, water or sky, and stay.
    """
    height, width = frame.shape[:2]
    size = min(width, _REGION_WIDTH), max(1, round(height * min(1, _REGION_WIDTH / width)))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    flat = cv2.pyrMeanShiftFiltering(small, 4, 12, maxLevel=1, termcrit=(cv2.TERM_CRITERIA_MAX_ITER, 2, 1))
    label, boxes, area = _regions_of_one_colour(flat)
    top, region_width, region_height = boxes[:, 1], boxes[:, 2], boxes[:, 3]
    upright = np.clip(2 * region_height / region_width - 0.7, 0, 1)
    upright *= np.clip(4 * region_height / label.shape[0] - 0.6, 0, 1)  # small ones are texture
    upright *= np.clip(100 * area / label.size - 0.3, 0, 1)
    foot = _nearness(np.minimum(1, (top + region_height) / label.shape[0]))
    own = position_cue(*label.shape)
    rise = (upright[label] * np.maximum(foot[label] - own, 0)).astype(np.float32)
    return cv2.resize(rise, (width, height), interpolation=cv2.INTER_LINEAR)


def _nearness(y: np.ndarray) -> np.ndarray:
    """Map height in the frame, 0 = top to 1 = bottom, to inverse depth."""
    return (0.15 + 0.7 * y**1.3).astype(np.float32)


def _regions_of_one_colour(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Connect neighbours of similar colour.

    Returns:
        Labels [h, w], each region's box (left, top, width, height) [n, 4] and area [n], in pixels.
    """
    height, width = image.shape[:2]
    colour = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.int16)
    # On a grid twice as fine the pixels lie at even places, and what links two of them lies between.
    links = np.zeros((2 * height - 1, 2 * width - 1), np.uint8)
    links[::2, ::2] = 1
    links[::2, 1::2] = np.abs(colour[:, 1:] - colour[:, :-1]).max(-1) < _SAME_COLOUR
    links[1::2, ::2] = np.abs(colour[1:] - colour[:-1]).max(-1) < _SAME_COLOUR
    count, label, boxes, _ = cv2.connectedComponentsWithStats(links, connectivity=4)
    label = label[::2, ::2] - 1  # without missing links, which count as region 0
    return label, (boxes[1:, :4] + 1) // 2, np.bincount(label.ravel(), minlength=count - 1)


def haze_cue(frame: np.ndarray) -> np.ndarray:  # [h, w] uint8 RGB -> [h, w], 0 = hazy or sky, 1 = clear
    """Measure how bluish, and how pale and smooth, each region is: air in between makes it so."""
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
    """Mark what has other colours than the top, left and right border, and lies towards the middle."""
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


def combine_cues(frame: np.ndarray, weights: CueWeights) -> np.ndarray:  # [h, w, 3] uint8 RGB -> [h, w]
    """Add the cues up to one prior for inverse depth, in [0, 1]."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    prior = 0.5 + weights.position * (position_cue(*grey.shape) - 0.5)
    prior += weights.support * support_cue(frame)
    prior += weights.focus * (focus_cue(grey) - 0.5)
    prior += weights.haze * (haze_cue(frame) - 1)
    prior += weights.subject * subject_cue(frame) * (1 - prior)
    return np.clip(prior, 0, 1)
