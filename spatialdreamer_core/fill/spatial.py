"""Fill holes of one frame from their background side.

A mix of two estimates, each blind to the foreground beside the hole: the nearest background pixel of the
row, smoothed down the columns (keeps horizontal structure), and a pull-push pyramid (smooth, keeps the
surroundings' colour; Gortler et al., "The Lumigraph", 1996). Close to the background the row is right; with
the distance r from it the pyramid's share grows:

    s = ½ · (1 - exp(-r / 6 px))

The mean of both is 0.3 dB worse in inner holes of stereo pairs; with a slower growth borders lose
(`benchmarks.warp`).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..contracts import working_dtype
from .runs import HoleRuns

SMOOTHING = 2.0  # px, standard deviation along the column
MIXING_LENGTH = 6.0  # px from the background, in which the pyramid's share grows to 63 % of its half


def fill_from_background(
    extended: Tensor,  # [3, H, W] in [0, 1]
    hole: Tensor,  # [H, W] bool
    runs: HoleRuns,
) -> Tensor:  # [3, N] in [0, 1], colours of the hole pixels
    """Estimate the colours of a frame's hole pixels, in the order of `runs`.

    Args:
        extended: The view, its holes holding the nearest background pixel of their row (`runs.source`).
        hole: Its holes.
        runs: What is known about them.
    """
    smoothed = _smooth_columns(extended, runs)
    pulled = _pull_push(extended, ~(hole | runs.foreground), runs)
    distance = (runs.column - runs.source).abs().to(smoothed.dtype)
    return torch.lerp(smoothed, pulled, 0.5 * (1 - torch.exp(-distance / MIXING_LENGTH)))


def _smooth_columns(extended: Tensor, runs: HoleRuns) -> Tensor:
    """Take a Gaussian mean over each hole pixel's neighbours in its column, without foreground."""
    height = extended.shape[-2]
    allowed = (~runs.foreground).to(extended.dtype)
    total = extended.new_zeros(3, len(runs.row))
    norm = extended.new_zeros(len(runs.row))
    reach = round(2 * SMOOTHING)
    for offset in range(-reach, reach + 1):
        row = (runs.row + offset).clamp(0, height - 1)
        weight = allowed[row, runs.column] * float(torch.exp(torch.tensor(-0.5 * (offset / SMOOTHING) ** 2)))
        total += extended[:, row, runs.column] * weight
        norm += weight
    return total / norm


def _pull_push(view: Tensor, usable: Tensor, runs: HoleRuns) -> Tensor:
    """Average usable pixels down a pyramid, fill each level from the coarser one, look up the holes."""
    height, width = usable.shape
    # The finest level takes every second pixel: a fill is smooth, and the full size costs five times as much.
    weight = usable[::2, ::2].to(view.dtype)
    level = torch.cat([view[:, ::2, ::2] * weight, weight[None]])[None]
    levels = [level]
    while max(level.shape[-2:]) > 1:
        level = _halve(level)
        levels.append(level)
    filled = levels[-1][:, :3] / levels[-1][:, 3:].clamp(min=1e-6)
    for level in reversed(levels[1:-1]):
        coarse = F.interpolate(filled, level.shape[-2:], mode="bilinear", align_corners=False)
        filled = level[:, :3] + (1 - level[:, 3:]) * coarse
    # The finest level, most of the work, is needed at holes alone.
    x, y = (runs.column + 0.5) * (weight.shape[1] / width), (runs.row + 0.5) * (weight.shape[0] / height)
    finest = sample_at(levels[0][0], x - 0.5, y - 0.5)
    if len(levels) == 1:
        return finest[:3] / finest[3:].clamp(min=1e-6)
    coarse_height, coarse_width = filled.shape[-2:]
    x, y = x * (coarse_width / weight.shape[1]), y * (coarse_height / weight.shape[0])
    return finest[:3] + (1 - finest[3:]) * sample_at(filled[0], x - 0.5, y - 0.5)


def sample_at(
    image: Tensor,  # [C, H, W]
    x: Tensor,  # [N] px, pixel centres at integers
    y: Tensor,  # [N] px
) -> Tensor:  # [C, N]
    """Sample an image bilinearly at positions, beyond the border as at it."""
    height, width = image.shape[-2:]
    grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)[None, None]
    dtype = working_dtype(image)
    found = F.grid_sample(image[None].to(dtype), grid.to(dtype), padding_mode="border", align_corners=False)
    return found[0, :, 0]


def _halve(level: Tensor) -> Tensor:
    """Average down to half the size, rounded up; 2x2 pooling where that is the same is 5 times faster."""
    height, width = level.shape[-2:]
    if height % 2 == 0 and width % 2 == 0:
        return F.avg_pool2d(level, 2)
    return F.interpolate(level, ((height + 1) // 2, (width + 1) // 2), mode="area")
