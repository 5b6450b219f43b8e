"""What the motion cues do pixel by pixel: lengths of vectors, looking up along flow, comparing colours."""

from __future__ import annotations

import cv2
import numpy as np


def length(vectors: np.ndarray) -> np.ndarray:  # [..., 2] -> [...]
    """Return the lengths of vectors."""
    return np.sqrt(vectors[..., 0] ** 2 + vectors[..., 1] ** 2)


def largest_channel(values: np.ndarray) -> np.ndarray:  # [h, w, 3] -> [h, w]
    """Return the largest of the three channels."""
    first, second, third = cv2.split(values)
    return cv2.max(cv2.max(first, second), third)


def look_up(
    values: np.ndarray,  # [h, w] or [h, w, C] float32
    flow: np.ndarray,  # [h, w, 2] pixels
    *,
    outside: float | None = None,
) -> np.ndarray:
    """Sample a map of another frame where flow points to; beyond the frame its border or `outside` counts."""
    height, width = flow.shape[:2]
    x = np.arange(width, dtype=np.float32) + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    if outside is None:
        return cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.remap(values, x, y, cv2.INTER_LINEAR, borderValue=(outside,) * 4)


def fit_difference(
    image: np.ndarray,  # [h, w, 3] float32 in [0, 1]
    previous: np.ndarray,  # [h, w, 3]
    flow: np.ndarray,  # [h, w, 2], to the previous frame
    background: np.ndarray,  # [h, w, 2], the background's motion to the previous frame
) -> np.ndarray:  # [h, w], sum of absolute differences of the three channels
    """Ask the pixels how much better the flow to the previous frame fits them than the background's.

    Flow spreads from moving objects over what lies beside them; there the background's fits better (< 0).
    """
    with_flow, with_background = (
        cv2.transform(cv2.absdiff(look_up(previous, motion), image), np.ones((1, 3), np.float32))
        for motion in (flow, background)
    )
    return cv2.blur(with_background - with_flow, (5, 5), borderType=cv2.BORDER_REFLECT)


def rise(value: float, low: float, high: float) -> float:
    """Map a number linearly: 0 up to `low`, 1 from `high` on."""
    return float(np.clip((value - low) / (high - low), 0, 1))


def correlation(
    first: np.ndarray,  # [h, w]
    second: np.ndarray,  # [h, w]
    weight: np.ndarray | None = None,  # [h, w], at least 0
) -> float:
    """Pearson's correlation of two maps, 0 if one is flat."""
    weight = np.ones_like(first) if weight is None else weight / (float(weight.mean()) + 1e-6)
    first, second = (values - float((weight * values).mean()) for values in (first, second))
    norm = float(np.sqrt((weight * first**2).sum() * (weight * second**2).sum()))
    return float((weight * first * second).sum()) / norm if norm > 1e-6 * first.size else 0.0
