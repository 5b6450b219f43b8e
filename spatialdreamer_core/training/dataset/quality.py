"""How much a clip has to teach: brightness, motion, sharpness, and whether its flow can be trusted.

All are measured on frames at working size (at most 640 pixels), so that they mean the same for every video.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from torch import Tensor

from ...flow import Motion
from .config import DatasetConfig

_SHARPEST = 0.99  # quantile: sharpness is that of the steepest edges
_MOVING = 0.9  # quantile: motion is that of the fastest tenth, so that one walker in a still scene counts
_LEAST_SLOPE = 0.01  # of the range of brightness; where nothing is steeper there is nothing sharp

DARK, STATIC, BLURRED, FLOW, NO_HOLES = "too dark", "static", "blurred", "failed flow", "no holes"


class FrameQuality(NamedTuple):
    """What is measured of a frame."""

    brightness: float  # 0 to 1, mean
    sharpness: float  # 0 to 1, of the steepest edges
    motion: float | None  # % of the width since the frame before; None for a scene's first frame
    flow_confidence: float | None  # 0 to 1, mean


class Quality(NamedTuple):
    """What is measured of a clip, means over its frames."""

    brightness: float
    motion: float
    sharpness: float
    flow_confidence: float


def measure_frame(
    small: np.ndarray,  # [h, w, 3] uint8, at working size
    to_previous: Motion | None,
) -> FrameQuality:
    """Measure a frame of a scene."""
    luma = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    brightness, sharpness = float(luma.mean()), measure_sharpness(luma)
    if to_previous is None:
        return FrameQuality(brightness, sharpness, None, None)
    confidence = float(to_previous.confidence.float().mean())
    return FrameQuality(brightness, sharpness, _motion(to_previous.flow), confidence)


def measure_sharpness(
    luma: np.ndarray,  # [h, w] float32 in [0, 1]
) -> float:
    """Measure how sharp a picture's edges are, whatever its contrast.

        q99 |Y(x-1) - 2 Y(x) + Y(x+1)| / q99 |Y(x+1) - Y(x-1)|, over rows and columns

    A step has 1, an edge that a Gaussian of s px has blurred about .4 / s. Of the demo clip's frames .86 to
    .92, of a film with motion blur and coarse coding .34 to .65; both blurred by 2 px .13 to .23.
    """
    slopes, bends = [], []
    for plane in (luma, luma.T):
        before, middle, after = plane[:-2], plane[1:-1], plane[2:]
        slopes.append(np.abs(after - before).ravel())
        bends.append(np.abs(after - 2 * middle + before).ravel())
    slope, bend = (float(np.quantile(np.concatenate(parts), _SHARPEST)) for parts in (slopes, bends))
    return min(1.0, bend / slope) if slope > _LEAST_SLOPE else 0.0


def _motion(flow: Tensor) -> float:
    """Measure the motion of the fastest tenth, in % of the width."""
    length = flow.float().norm(dim=0).cpu().numpy()
    return 100 * float(np.quantile(length, _MOVING)) / flow.shape[-1]


def measure_clip(frames: Sequence[FrameQuality]) -> Quality:
    """Average over the frames of a clip; a clip of one frame at the start of a scene has no motion."""
    motions = [frame.motion for frame in frames if frame.motion is not None]
    confidences = [frame.flow_confidence for frame in frames if frame.flow_confidence is not None]
    return Quality(
        brightness=_mean([frame.brightness for frame in frames]),
        motion=_mean(motions),
        sharpness=_mean([frame.sharpness for frame in frames]),
        flow_confidence=_mean(confidences, empty=1.0),
    )


def find_fault(quality: Quality, config: DatasetConfig) -> str | None:
    """Say why a clip is to be left out, or None."""
    if quality.brightness < config.least_brightness:
        return DARK
    if quality.sharpness < config.least_sharpness:
        return BLURRED
    if quality.motion < config.least_motion and config.frames > 1:
        return STATIC
    if quality.flow_confidence < config.least_flow_confidence:
        return FLOW
    return None


def _mean(values: Sequence[float], *, empty: float = 0.0) -> float:
    """Return the mean, rounded so that it reads well."""
    return round(sum(values) / len(values), 5) if values else empty
