"""Composite: only holes take the filler's pixels; everything else stays the warped view, bit for bit."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import check_range, check_video

MAX_DILATION = 64  # px


def composite(
    warped: Tensor,  # [F, 3, H, W] in [0, 1]
    filled: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    *,
    dilate: int = 0,
) -> Tensor:  # [F, 3, H, W] in [0, 1]
    """Take `filled` inside the dilated hole and `warped` outside of it.

    Args:
        warped: The rendered view.
        filled: The same view with its holes filled; what it shows outside of them is ignored.
        hole: Hole mask; values above 0.5 are holes.
        dilate: How far the hole is grown to every side, pixels, 0 to 64. It hides rims of the foreground at
            the price of known pixels.

    Returns:
        The composite. Outside the dilated hole it equals `warped` bit for bit.

    Raises:
        InputError: If shapes differ or `dilate` is out of range.
    """
    check_video("warped", warped, channels=3)
    check_video("filled", filled, channels=3, like=warped, like_name="warped")
    check_video("hole", hole, channels=1, like=warped, like_name="warped")
    check_range("dilate", dilate, 0, MAX_DILATION, "px")
    inside = (hole > 0.5).to(warped.dtype)
    if dilate:
        inside = F.max_pool2d(inside, 2 * int(dilate) + 1, stride=1, padding=int(dilate))
    return torch.where(inside > 0.5, filled.to(warped.dtype), warped)
