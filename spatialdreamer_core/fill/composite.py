"""Composite: only holes take the filler's pixels; everything else stays the warped view, bit for bit.

A feather blends the two over some pixels around the holes, for fillers that redraw the whole picture.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import check_video
from ..dvg import dilate_hole, soft_hole_mask


def composite(
    warped: Tensor,  # [F, 3, H, W] in [0, 1]
    filled: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    *,
    dilate: int = 0,
    feather: int = 0,
) -> Tensor:  # [F, 3, H, W] in [0, 1]
    """Take `filled` inside the dilated hole and `warped` outside of it, and blend them at its edge if asked.

    Args:
        warped: The rendered view.
        filled: The same view with its holes filled; what it shows outside of them and of the feather is
            ignored.
        hole: Hole mask; values above 0.5 are holes.
        dilate: How far the hole is grown to every side, pixels, 0 to 64. It hides rims of the foreground at
            the price of known pixels.
        feather: Width of the blend around the dilated hole, pixels, 0 to 64, see `soft_hole_mask`.

    Returns:
        The composite. Inside the dilated hole it equals `filled`, outside of it and of its feather `warped`,
        bit for bit.

    Raises:
        InputError: If shapes differ, or `dilate` or `feather` is out of range.
    """
    check_video("warped", warped, channels=3)
    check_video("filled", filled, channels=3, like=warped, like_name="warped")
    check_video("hole", hole, channels=1, like=warped, like_name="warped")
    weight = soft_hole_mask(dilate_hole(hole, dilate), feather=feather).to(warped.dtype)
    return torch.where(weight > 0, torch.lerp(warped, filled.to(warped.dtype), weight), warped)
