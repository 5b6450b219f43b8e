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

import torch
from torch import Tensor

MAX_EXPONENT = 80.0  # exp(±80) times a few colours fits float32


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
    channels, height, width = values.shape
    target = torch.arange(width, device=values.device, dtype=values.dtype).add(disparity, alpha=sign)
    target = target.clamp(-1, width)
    left = target.detach().floor()
    fraction = target - left
    # The first column and the last two collect what leaves the frame.
    index = left.long() + 1
    sums = values.new_zeros(channels + 2, height, width + 3)
    nearest = None
    if float(disparity.detach().abs().max()) > MAX_EXPONENT:
        nearest = _nearest_disparity(disparity.detach(), index, fraction.detach(), width + 3)
    else:
        importance = disparity.exp()
    for step, share in ((0, 1 - fraction), (1, fraction)):
        column = index + step
        if nearest is not None:
            importance = (disparity - nearest.gather(-1, column)).clamp(-MAX_EXPONENT, 0).exp()
        weight = importance * share
        sums[:channels].scatter_add_(-1, column.expand(channels, -1, -1), values * weight)
        sums[channels : channels + 1].scatter_add_(-1, column, weight)
        sums[channels + 1 :].scatter_add_(-1, column, share)
    sums = sums[..., 1 : width + 1]
    return sums[:channels] / sums[channels : channels + 1].clamp(min=1e-37), sums[channels + 1 :]


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
