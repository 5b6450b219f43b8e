"""Row-wise softmax splatting: forward warping whose overlaps are blended by nearness.

A pixel x goes to x + sign · d and lands on the two columns around it with bilinear weights b; where several
land, their mean is weighted by b · exp(d) (softmax splatting, Niklaus and Liu 2020, arXiv 2003.05534, with
the disparity as importance; an exponent of 1 per pixel separates layers). A softmax does not depend on the
reference that its exponents are taken from, so any reference gives the same result in any chunk of a clip:
0 where no exponent can overflow, else the nearest disparity that reaches each column.

The readable twin is `reference.splat_rows_reference`; `tests/…/dvg/test_splat.py` compares values and
gradients. On a GPU it is a part of the warp's kernel (`warp_triton.py`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MAX_EXPONENT = 80.0  # exp(±80) times a few colours fits float32
LEAST_WEIGHT = 1e-37


class Landing(NamedTuple):
    """Where the pixels of some rows land; columns are counted in `width + 3` bins, the frame's from 1 on."""

    first: Tensor  # [1, H, W] int64, the bin that a pixel lands in together with the next bin
    fraction: Tensor  # [1, H, W], share of the next bin; the first one has the rest


def land(
    disparity: Tensor,  # [1, H, W] px
    *,
    sign: int,
) -> Landing:
    """Find where each pixel lands; -1 is the right eye's sign, +1 the left's."""
    width = disparity.shape[-1]
    first = torch.arange(1, width + 1, device=disparity.device, dtype=disparity.dtype)
    return _find_bins(first.add(disparity, alpha=sign), width)


def land_at(
    target: Tensor,  # [...] px
    width: int,
) -> Landing:  # [...] each
    """Find the bins of positions in rows of a width."""
    return _find_bins(target + 1, width)


def _find_bins(position: Tensor, width: int) -> Landing:
    """Do so for positions that are counted as bins are."""
    # The first bin and the last two collect what leaves the frame.
    position = position.clamp(0, width + 1)
    # To int64 in two steps, which take half of the time.
    return Landing(position.detach().int().long(), position.frac())


def splat_rows(
    values: Tensor,  # [C, H, W] float32
    disparity: Tensor,  # [1, H, W] px, float32
    *,
    sign: int,
    landing: Landing | None = None,
    out: Tensor | None = None,  # [C, H, W]
) -> tuple[Tensor, Tensor]:  # [C, H, W], [1, H, W]
    """Splat one frame along its rows.

    Args:
        values: What is carried along, one row of it staying one row.
        disparity: Displacement and importance of each pixel, pixels.
        sign: -1 for the right eye (x' = x - d), +1 for the left one.
        landing: What `land` gives for this disparity, if it is there already.
        out: What the blended values are written into, without gradients.

    Returns:
        The blended values (0 where nothing lands) and the coverage, the sum of the bilinear weights alone.
    """
    first, fraction = land(disparity, sign=sign) if landing is None else landing
    share = (1 - fraction, fraction)
    weight = _weigh(disparity, first, share)
    total = _add_up((values * weight[0], values * weight[1]), first)
    weights = _add_up(weight, first).clamp_(min=LEAST_WEIGHT)
    blended = torch.div(total[..., 1:-2], weights[..., 1:-2], out=out)
    return blended, _add_up(share, first)[..., 1:-2]


def _weigh(
    disparity: Tensor,  # [1, H, W]
    first: Tensor,  # [1, H, W] int64
    share: tuple[Tensor, Tensor],  # two of [1, H, W]
) -> tuple[Tensor, Tensor]:  # two of [1, H, W]
    """Multiply each pixel's bilinear shares by its importance exp(d)."""
    low, high = disparity.detach().aminmax()
    if max(-float(low), float(high)) <= MAX_EXPONENT:
        importance = disparity.exp()
        return importance * share[0], importance * share[1]
    nearest = _nearest_disparity(disparity.detach(), first, share[1].detach())
    weights = [
        (disparity - there.gather(-1, first)).clamp(-MAX_EXPONENT, 0).exp() * part
        for there, part in zip((nearest, nearest[..., 1:]), share, strict=True)
    ]
    return weights[0], weights[1]


def _add_up(
    values: tuple[Tensor, Tensor],  # two of [C, H, W]: what each pixel gives to its first and second bin
    first: Tensor,  # [1, H, W] int64
) -> Tensor:  # [C, H, W + 3]
    """Sum what lands in each bin of a row."""
    channels, height, width = values[0].shape
    sums = values[0].new_zeros(channels, height, width + 3)
    index = first.expand(channels, -1, -1)
    sums.scatter_add_(-1, index, values[0])
    sums[..., 1:].scatter_add_(-1, index, values[1])
    return sums


def _nearest_disparity(
    disparity: Tensor,  # [1, H, W]
    first: Tensor,  # [1, H, W] int64
    fraction: Tensor,  # [1, H, W], share of the second bin
) -> Tensor:  # [1, H, W + 3]
    """Find the largest disparity that reaches each bin."""
    height, width = disparity.shape[-2:]
    nearest = disparity.new_full((1, height, width + 3), -torch.inf)
    nearest.scatter_reduce_(-1, first, disparity, "amax")
    reaching = disparity.masked_fill(fraction == 0, -torch.inf)
    nearest[..., 1:].scatter_reduce_(-1, first, reaching, "amax")
    return nearest
