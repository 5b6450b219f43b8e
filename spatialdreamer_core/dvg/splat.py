"""Row-wise softmax splatting: forward warping whose overlaps are blended by nearness.

A pixel x goes to x + sign · d and lands on the two columns around it with bilinear weights b; where several
land, their mean is weighted by b · exp(d) (softmax splatting, Niklaus and Liu 2020, arXiv 2003.05534, with
the disparity as importance; an exponent of 1 per pixel separates layers). A softmax does not depend on the
reference that its exponents are taken from, so any reference gives the same result in any chunk of a clip:
0 where no exponent can overflow, else the nearest disparity that reaches each column.

The readable twin is `reference.splat_rows_reference`; `tests/…/dvg/test_splat.py` compares values and
gradients.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MAX_EXPONENT = 80.0  # exp(±80) times a few colours fits float32
LEAST_WEIGHT = 1e-37


class Landing(NamedTuple):
    """Where the pixels of some rows land; columns are counted in `width + 3` bins, the frame's from 1 on."""

    bins: tuple[Tensor, Tensor]  # two of [1, H, W] int64, the bins that a pixel lands in
    share: tuple[Tensor, Tensor]  # two of [1, H, W], bilinear weight in each of the two
    weight: tuple[Tensor, Tensor]  # two of [1, H, W], the same times the importance exp(d)


def land(
    disparity: Tensor,  # [1, H, W] px, float32
    *,
    sign: int,
) -> Landing:
    """Find where each pixel lands and how much it counts there; -1 is the right eye's sign, +1 the left's."""
    width = disparity.shape[-1]
    target = torch.arange(width, device=disparity.device, dtype=disparity.dtype).add(disparity, alpha=sign)
    target = target.clamp(-1, width)
    left = target.detach().floor()
    fraction = target - left
    # The first bin and the last two collect what leaves the frame.
    index = left.long() + 1
    share = (1 - fraction, fraction)
    low, high = disparity.detach().aminmax()
    if max(-float(low), float(high)) <= MAX_EXPONENT:
        importance = disparity.exp()
        return Landing((index, index + 1), share, (importance * share[0], importance * share[1]))
    nearest = _nearest_disparity(disparity.detach(), index, fraction.detach(), width + 3)
    first, second = (
        (disparity - nearest.gather(-1, index + step)).clamp(-MAX_EXPONENT, 0).exp() for step in (0, 1)
    )
    return Landing((index, index + 1), share, (first * share[0], second * share[1]))


def add_up(
    values: tuple[Tensor, Tensor],  # two of [C, H, W]: what each pixel gives to its first and second bin
    bins: tuple[Tensor, Tensor],  # of `Landing`
) -> Tensor:  # [C, H, W + 3]
    """Sum what lands in each bin of a row."""
    channels, height, width = values[0].shape
    sums = values[0].new_zeros(channels, height, width + 3)
    for index, value in zip(bins, values, strict=True):
        sums.scatter_add_(-1, index.expand(channels, -1, -1), value)
    return sums


def splat_rows(
    values: Tensor,  # [C, H, W] float32
    disparity: Tensor,  # [1, H, W] px, float32
    *,
    sign: int,
) -> tuple[Tensor, Tensor]:  # [C, H, W], [1, H, W]
    """Splat one frame along its rows.

    Args:
        values: What is carried along, one row of it staying one row.
        disparity: Displacement and importance of each pixel, pixels.
        sign: -1 for the right eye (x' = x - d), +1 for the left one.

    Returns:
        The blended values (0 where nothing lands) and the coverage, the sum of the bilinear weights alone.
    """
    landing = land(disparity, sign=sign)
    total = add_up((values * landing.weight[0], values * landing.weight[1]), landing.bins)
    weight, coverage = add_up(landing.weight, landing.bins), add_up(landing.share, landing.bins)
    return (total / weight.clamp(min=LEAST_WEIGHT))[..., 1:-2], coverage[..., 1:-2]


def _nearest_disparity(
    disparity: Tensor,  # [1, H, W]
    index: Tensor,  # [1, H, W], first of the two columns that a pixel lands on
    fraction: Tensor,  # [1, H, W], share of the second one
    columns: int,
) -> Tensor:  # [1, H, columns]
    """Find the largest disparity that reaches each column."""
    nearest = disparity.new_full((*disparity.shape[:-1], columns), -torch.inf)
    nearest.scatter_reduce_(-1, index, disparity, "amax")
    reaching = disparity.masked_fill(fraction == 0, -torch.inf)
    return nearest.scatter_reduce_(-1, index + 1, reaching, "amax")
