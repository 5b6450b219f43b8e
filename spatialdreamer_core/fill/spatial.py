"""Fill holes of one frame from their background side.

A mix of two estimates, each blind to the foreground beside the hole: the nearest background pixel of the
row, smoothed down the columns (keeps horizontal structure), and a pull-push pyramid (smooth, keeps the
surroundings' colour; Gortler et al., "The Lumigraph", 1996). What the row shows is worth less the farther it
is continued. So with the distance r from the background the smoothing widens and the pyramid's share s grows:

    sigma = min(2 + r / 4, 8) px        s = .38 · (1 - exp(-r / 2 px))

Fitted on stereo pairs and on synthetic clips by least squares over distance: against a sigma of 2 px and a
share that grows to one half, inner holes keep their PSNR and borders win .2 dB (`benchmarks.warp`). The share
is a compromise: at .25 pairs would win another .2 dB, and synthetic borders and steadiness ask for .45.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..contracts import working_dtype
from ..dvg.interleaved import Pixels, weigh_pixels
from .hole_runs import HoleRuns

LEAST_SMOOTHING, MOST_SMOOTHING = 2.0, 8.0  # px, standard deviation along the column
SMOOTHING_GROWTH = 0.25  # px more of it a px from the background
PYRAMID_SHARE = 0.38
MIXING_LENGTH = 2.0  # px from the background, in which the pyramid's share grows to 63 % of its most
# Rows above and below that the smoothing looks at, denser where it counts, and how many rows each stands for.
_ROWS = {0: 1.0, 1: 1.0, 2: 1.5, 4: 2.5, 7: 3.5, 11: 4.5, 16: 2.5}


def fill_from_background(
    extended: Tensor,  # [3, H, W] in [0, 1], or uint8
    hole: Tensor,  # [H, W] bool
    runs: HoleRuns,
) -> Tensor:  # [3, N] float, colours of the hole pixels, in the view's range
    """Estimate the colours of a frame's hole pixels, in the order of `runs`.

    Args:
        extended: The view, its holes holding the nearest background pixel of their row (`runs.source`).
        hole: Its holes.
        runs: What is known about them.
    """
    distance = (runs.column - runs.source).abs().to(working_dtype(extended))
    smoothed = _smooth_columns(extended, runs, distance)
    pulled = _pull_push(extended, hole, runs)
    return torch.lerp(smoothed, pulled, PYRAMID_SHARE * (1 - torch.exp(-distance / MIXING_LENGTH)))


def _smooth_columns(extended: Tensor, runs: HoleRuns, distance: Tensor) -> Tensor:
    """Take a Gaussian mean over each hole pixel's column, without foreground."""
    sigma = (LEAST_SMOOTHING + SMOOTHING_GROWTH * distance).clamp(max=MOST_SMOOTHING)
    slope = -0.5 / sigma.square()
    taps = []
    for reach, rows in _ROWS.items():
        weight = rows * torch.exp(slope * reach**2)
        taps += [(down, 0, weight) for down in {-reach, reach}]
    return mean_around(extended, runs.foreground, runs.row, runs.column, taps)


def mean_around(
    image: Tensor,  # [3, H, W], floats or bytes
    excluded: Tensor,  # [H, W] bool
    row: Tensor,  # [N] int64
    column: Tensor,  # [N] int64
    taps: Iterable[tuple[int, int, Tensor | float]],  # rows down, columns right, weight: one, or [N]
) -> Tensor:  # [3, N] float
    """Take a weighted mean around each of N pixels, beyond the border as at it; 0 where all are excluded."""
    height, width = excluded.shape
    # One index into the flat image: gathering by row and column takes four times as long on the CPU.
    pixels, barred = Pixels(image), excluded.flatten()
    dtype = working_dtype(image)
    total = image.new_zeros(len(image), len(row), dtype=dtype)
    norm = image.new_zeros(len(row), dtype=dtype)
    for down, right, weight in taps:
        at_row = (row + down).clamp(0, height - 1) if down else row
        at_column = (column + right).clamp(0, width - 1) if right else column
        index = torch.add(at_column, at_row, alpha=width)
        share = barred.index_select(0, index).logical_not_().to(dtype) * weight
        total.addcmul_(pixels.colours_at(index), share)
        norm += share
    return total / norm.clamp(min=torch.finfo(dtype).tiny)


def _pull_push(view: Tensor, hole: Tensor, runs: HoleRuns) -> Tensor:
    """Average usable pixels down a pyramid, fill each level from the coarser one, look up the holes."""
    height, width = hole.shape
    # The finest level takes every second pixel: a fill is smooth, and the full size costs five times as much.
    usable = ~(hole[::2, ::2] | runs.foreground[::2, ::2])
    level = weigh_pixels(view, usable)[None]
    levels = [level]
    while max(level.shape[-2:]) > 1:
        level = _halve(level)
        levels.append(level)
    filled = levels[-1][:, :3] / levels[-1][:, 3:].clamp(min=1e-6)
    for level in reversed(levels[1:-1]):
        coarse = _enlarge(filled, level.shape[-2:])
        filled = coarse.mul_(1 - level[:, 3:]).add_(level[:, :3])
    # The finest level, most of the work, is needed at holes alone.
    x, y = (runs.column + 0.5) * (usable.shape[1] / width), (runs.row + 0.5) * (usable.shape[0] / height)
    finest = sample_at(levels[0][0], x - 0.5, y - 0.5)
    if len(levels) == 1:
        return finest[:3] / finest[3:].clamp(min=1e-6)
    coarse_height, coarse_width = filled.shape[-2:]
    x, y = x * (coarse_width / usable.shape[1]), y * (coarse_height / usable.shape[0])
    return finest[:3] + (1 - finest[3:]) * sample_at(filled[0], x - 0.5, y - 0.5)


def _enlarge(
    level: Tensor,  # [1, 3, h, w]
    size: Sequence[int],  # (height, width)
) -> Tensor:  # [1, 3, height, width]
    """Interpolate a level bilinearly; on the CPU OpenCV does so in a tenth of the time."""
    if level.device.type != "cpu" or level.requires_grad:
        return F.interpolate(level, tuple(size), mode="bilinear", align_corners=False)
    planes = [
        cv2.resize(plane, (size[1], size[0]), interpolation=cv2.INTER_LINEAR) for plane in level[0].numpy()
    ]
    return torch.from_numpy(np.stack(planes))[None]


def sample_at(
    image: Tensor,  # [C, H, W], floats or bytes
    x: Tensor,  # [N] px, pixel centres at integers
    y: Tensor,  # [N] px
) -> Tensor:  # [C, N] float
    """Sample an image bilinearly at positions, beyond the border as at it."""
    if not image.is_floating_point():
        return _sample_bytes(image, x, y)
    height, width = image.shape[-2:]
    grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)[None, None]
    dtype = working_dtype(image)
    found = F.grid_sample(image[None].to(dtype), grid.to(dtype), padding_mode="border", align_corners=False)
    return found[0, :, 0]


def _sample_bytes(image: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Do so where bringing all of the image to floats, as `grid_sample` needs it, costs most of the time."""
    height, width = image.shape[-2:]
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    left, top = x.long(), y.long()
    to_right, down = x - left, y - top
    right, pixels = (left + 1).clamp_(max=width - 1), Pixels(image)
    rows = []
    for row in (top, (top + 1).clamp_(max=height - 1)):
        before, after = (pixels.colours_at(torch.add(column, row, alpha=width)) for column in (left, right))
        rows.append(torch.lerp(before, after, to_right))
    return torch.lerp(rows[0], rows[1], down)


def _halve(level: Tensor) -> Tensor:
    """Average down to half the size, rounded up; even sizes by sums, a fifth of the time of any pooling."""
    height, width = level.shape[-2:]
    if height % 2 == 0 and width % 2 == 0:
        pixels = level[0].permute(1, 2, 0)
        if pixels.is_contiguous() and not pixels.requires_grad and pixels.device.type == "cpu":
            halves = cv2.resize(pixels.numpy(), (width // 2, height // 2), interpolation=cv2.INTER_AREA)
            return torch.from_numpy(np.stack(cv2.split(halves)))[None]
        rows = level[..., ::2, :] + level[..., 1::2, :]
        return (rows[..., ::2] + rows[..., 1::2]).mul_(0.25)
    return F.interpolate(level, ((height + 1) // 2, (width + 1) // 2), mode="area")
