"""Cleaning a warped view plane by plane, back to front: isolated pixels and cracks (S2VG's multi-plane warp).

What is seen in the view is split by its disparity into planes: half of them below the median, half above
it, evenly spaced. A pixel with almost no neighbour of its plane is one that the disparity's errors have torn
off: it becomes a hole. A gap of at most two pixels with one plane on both sides is a crack in that plane, and
takes the mean colour of its pixels beside the gap; where two planes could close a gap, the nearer one does.

S2VG's own code interpolates over all pixels of a plane's rim, which widens objects by a pixel; here known
pixels keep their colours, and thin things, such as hairs, stay.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LEAST_NEIGHBOURS = 2  # of eight, of its own plane, that a pixel has unless it is torn off


def clean_planes(
    view: Tensor,  # [3, H, W] in [0, 1]
    hole: Tensor,  # [1, H, W], 1 = hole
    seen: Tensor,  # [1, H, W] px, the disparity of what is seen
    *,
    planes: int,
) -> tuple[Tensor, Tensor]:  # [3, H, W], black in holes, and [1, H, W]
    """Clean a frame of a warped view.

    Args:
        view: The view.
        hole: Its holes.
        seen: As `forward_warp_with_disparity` returns it.
        planes: How many planes there are, at least 1.
    """
    known = ~(hole > 0.5)
    if not bool(known.any()):
        return view, hole
    plane = torch.bucketize(seen, _limits(seen[known], planes))  # 0 is the farthest
    masks = [known & (plane == index) for index in range(planes)]
    masks = [mask & (_sum_around(mask) - 1 >= LEAST_NEIGHBOURS) for mask in masks]
    kept = torch.stack(masks).any(0)
    cleaned = torch.where(kept, view, torch.zeros_like(view))
    filled = kept.clone()
    for mask in masks:
        crack = _close(mask) & ~kept
        mean = _sum_around(view * mask) / _sum_around(mask).clamp(min=1).to(view)
        cleaned = torch.where(crack, mean, cleaned)
        filled |= crack
    return cleaned, (~filled).to(hole.dtype)


def _limits(disparity: Tensor, planes: int) -> Tensor:  # [planes - 1] px
    """Return the disparities that part the planes."""
    low, middle, high = disparity.min(), disparity.median(), disparity.max()
    below = planes // 2
    steps = [low + (middle - low) * (n / below) for n in range(1, below + 1)]
    steps += [middle + (high - middle) * (n / (planes - below)) for n in range(1, planes - below)]
    return torch.stack(steps[: planes - 1]) if planes > 1 else disparity.new_empty(0)


def _sum_around(values: Tensor) -> Tensor:  # [C, H, W]
    """Sum the 3x3 pixels around each; the frame's border goes on outside."""
    padded = F.pad(values.float()[None], (1, 1, 1, 1), mode="replicate")[0]
    return 9 * F.avg_pool2d(padded, 3, stride=1)


def _close(mask: Tensor) -> Tensor:  # [1, H, W] bool
    """Close gaps of at most two pixels, but none at the frame's sides, beyond which nothing is known."""
    grown = F.max_pool2d(mask.float(), 3, stride=1, padding=1)
    grown = F.pad(F.pad(grown[None], (0, 0, 1, 1), mode="replicate")[0], (1, 1, 0, 0))
    return -F.max_pool2d(-grown, 3, stride=1) > 0.5
