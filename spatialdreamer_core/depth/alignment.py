"""The scale and shift between two frames' depth, fitted so that neither noise nor moving objects bend it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_FIT_SIDE = 160  # cells, the longer side of the maps that the fit sees
_FIT_ITERATIONS = 6
_LEAST_SHARE = 0.01  # of the frame that must be trusted for a fit along the flow
_LEAST_CORRELATION = 0.3  # below this a slope says nothing
SCALE_LIMIT = 10.0  # largest change of scale within a scene, either way
_NON_AFFINE = 0.02  # what a fit may leave anywhere, as a share of the depth's standard deviation
_PERCENTILES = (0.02, 0.98)  # of a frame, for its range


def fit_scale_shift(
    source: Tensor,  # [1, 1, H, W]
    target: Tensor,  # [1, 1, H, W]
    weight: Tensor,  # [1, 1, H, W] in [0, 1]
    *,
    scale_otherwise: float = 1.0,
) -> tuple[float, float]:
    """Find the scale and shift that bring `source` to `target`, robustly.

    The slope is the ratio of the standard deviations (reduced major axis): that of plain least squares is too
    small wherever the source is noisy, and a chain of such fits flattens depth. Iteratively reweighted with
    Geman and McClure's `1 / (1 + (r / sigma)²)²`, sigma from the median residual r.

    Args:
        source: Map to be aligned.
        target: Map to align it to.
        weight: How much each pixel counts; where less than 1 % of the whole does, all pixels count alike.
        scale_otherwise: Scale where the maps do not tell one, as constant ones.

    Returns:
        Scale (> 0) and shift.
    """
    if float(weight.mean()) < _LEAST_SHARE:
        weight = torch.ones_like(weight)
    cell = math.ceil(max(source.shape[-2:]) / _FIT_SIDE)
    share = F.avg_pool2d(weight, cell, ceil_mode=True)
    pooled = [
        F.avg_pool2d(weight * v, cell, ceil_mode=True) / share.clamp_min(1e-6) for v in (source, target)
    ]
    prior, x, y = (v.detach().flatten().cpu().double() for v in (share, *pooled))
    magnitude = max(float(x.abs().max()), float(y.abs().max()))
    spread = float((prior @ (y - (prior @ y) / prior.sum()).square() / prior.sum()).sqrt())
    least_sigma = max(_NON_AFFINE * spread, 1e-6 * magnitude)
    counts, scale, shift = prior, scale_otherwise, 0.0
    for _ in range(_FIT_ITERATIONS):
        total = counts.sum()
        mean_x, mean_y = (counts @ x) / total, (counts @ y) / total
        dx, dy = x - mean_x, y - mean_y
        xx, yy, xy = (float(counts @ product / total) for product in (dx * dx, dy * dy, dx * dy))
        flat = min(xx, yy) <= (1e-6 * magnitude) ** 2
        if not flat and xy > _LEAST_CORRELATION * math.sqrt(xx * yy):
            scale = min(max(math.sqrt(yy / xx), 1 / SCALE_LIMIT), SCALE_LIMIT)
        else:
            scale = scale_otherwise
        shift = float(mean_y - scale * mean_x)
        residual = (y - scale * x - shift).abs()
        sigma = max(3 * _weighted_median(residual, prior), least_sigma)
        if sigma == 0:
            break
        counts = prior / (1 + (residual / sigma).square()).square()
    return scale, shift


def _weighted_median(values: Tensor, weights: Tensor) -> float:
    """Find the value below which half the weight lies; NumPy sorts in a quarter of torch's time."""
    order = np.argsort(values.numpy())
    total = weights.numpy()[order].cumsum()
    middle = min(int(np.searchsorted(total, total[-1] / 2)), len(order) - 1)
    return float(values[order[middle]])


def frame_range(depth: Tensor) -> tuple[float, float]:  # [1, 1, H, W]
    """Return a frame's low and high percentile."""
    cell = math.ceil(max(depth.shape[-2:]) / _FIT_SIDE)
    values = F.avg_pool2d(depth, cell, ceil_mode=True).flatten().cpu().double()
    low, high = np.quantile(values.numpy(), _PERCENTILES)
    return float(low), float(high)


def typical_range(frames: Iterable[Tensor]) -> tuple[float, float]:  # each [1, 1, H, W]
    """Return the mean range of a few frames, about which that of a single one varies."""
    lows, highs = zip(*map(frame_range, frames), strict=True)
    return fmean(lows), fmean(highs)
