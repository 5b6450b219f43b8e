"""Composite: only holes take the filler's pixels; everything else stays the warped view, bit for bit.

A feather blends the two over some pixels around the holes, for fillers that redraw the whole picture.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..contracts import check_call, working_dtype
from ..dvg.mask_edges import DILATION, FEATHER, grow_hole, soften_hole


def composite(
    warped: Tensor,  # [F, 3, H, W] in [0, 1]
    filled: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    *,
    dilate: int = DILATION.default,
    feather: int = FEATHER.default,
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
        The composite, of the type of `warped`. Inside the dilated hole it equals `filled`, outside of it
        and of its feather `warped`, bit for bit.

    Raises:
        InputError: If a tensor breaks its rule (`contracts.TABLE`), or `dilate` or `feather` is out of range.
    """
    check_call("composite", warped=warped, filled=filled, hole=hole)
    DILATION.check(dilate)
    result = take_filled(warped, filled, hole, dilate=dilate, feather=feather)
    check_call("composite: in holes", filled=result)
    return result


def take_filled(warped: Tensor, filled: Tensor, hole: Tensor, *, dilate: int, feather: int) -> Tensor:
    """Like `composite`, without checking its arguments and what it gives."""
    dtype = working_dtype(warped)
    weight = soften_hole(grow_hole(hole.to(dtype), dilate), feather=feather)
    blended = torch.lerp(warped.to(dtype), filled.to(dtype), weight).to(warped.dtype)
    return torch.where(weight > 0, blended, warped)
