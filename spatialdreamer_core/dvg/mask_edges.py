"""Edges of hole masks: dilation, and a soft mask for compositing.

A filler is given the dilated mask when rims of the foreground should be redrawn too; the soft mask only
blends, and never replaces the binary one, which says what is known.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..contracts import check_call, working_dtype
from ..options import Option

DILATION = Option(
    default=0,
    low=0,
    high=64,
    unit="px",
    name="dilate",
    kind=int,
    help="Pixels by which holes grow to every side, diagonals included.",
)
FEATHER = Option(
    default=0,
    low=0,
    high=64,
    unit="px",
    name="feather",
    kind=int,
    help="Pixels around holes over which two views are blended; 0 is a hard edge.",
)


def dilate_hole(
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    pixels: int,
) -> Tensor:  # [F, 1, H, W], binary
    """Grow holes to every side, diagonals included.

    Args:
        hole: Hole mask; values above 0.5 are holes.
        pixels: How far, 0 to 64.

    Raises:
        InputError: If the mask breaks its rule (`contracts.TABLE`) or `pixels` is out of range.
    """
    check_call("dilate_hole", hole=hole)
    DILATION.check(pixels)
    return grow_hole(hole, pixels)


def grow_hole(hole: Tensor, pixels: int) -> Tensor:
    """Like `dilate_hole`, without checking its arguments."""
    if not pixels:
        return (hole > 0.5).to(hole.dtype)
    grown = (hole > 0.5).to(working_dtype(hole))
    size = 2 * int(pixels) + 1
    for kernel in ((size, 1), (1, size)):  # a square's maximum is that of its columns' maxima
        grown = F.max_pool2d(grown, kernel, stride=1, padding=(kernel[0] // 2, kernel[1] // 2))
    return grown.to(hole.dtype)


def soft_hole_mask(
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    *,
    feather: int,
) -> Tensor:  # [F, 1, H, W] in [0, 1]
    """Let the hole mask fall smoothly to 0 outside of the holes.

        s = u² (3 - 2u),  u = max(0, 1 - distance to the nearest hole / (feather + 1))

    The distance is Euclidean, between pixel centres: holes stay 1, and 0 is reached feather + 1 px from them.

    Args:
        hole: Hole mask; values above 0.5 are holes.
        feather: Width of the slope, pixels, 0 (binary) to 64.

    Raises:
        InputError: If the mask breaks its rule (`contracts.TABLE`) or `feather` is out of range.
    """
    check_call("soft_hole_mask", hole=hole)
    return soften_hole(hole, feather=feather)


def soften_hole(hole: Tensor, *, feather: int) -> Tensor:
    """Like `soft_hole_mask`, without checking the mask."""
    FEATHER.check(feather)
    reach = int(feather) + 1
    # Frame by frame: the passes over one frame stay in the caches.
    return torch.cat([_soften(frame, reach) for frame in hole.split(1)])


def _soften(hole: Tensor, reach: int) -> Tensor:
    """Soften one frame's mask; 0 is reached at the distance `reach`."""
    squared = torch.where(hole > 0.5, 0, reach * reach).to(torch.int16)  # at most 3 · 65²
    squared = _nearest(_nearest(squared, reach, axis=-1), reach, axis=-2)
    u = (1 - squared.float().sqrt() / reach).clamp(min=0)
    return (u * u * (3 - 2 * u)).to(hole.dtype)


def _nearest(squared: Tensor, reach: int, *, axis: int) -> Tensor:
    """Do one axis of the squared distance transform: the minimum of squared(p + o) + o² over |o| < reach."""
    nearest = squared.clone()
    length = squared.shape[axis]
    for offset in range(1, min(reach, length)):
        rest = length - offset
        for to, source in ((0, offset), (offset, 0)):
            target = nearest.narrow(axis, to, rest)
            torch.minimum(target, squared.narrow(axis, source, rest) + offset * offset, out=target)
    return nearest
