"""Disparity at the frame's left and right edge: what is cut there should not stand in front of the screen.

An object in front of the screen that the frame cuts is hidden by something behind it, which no real window
does, and one eye sees a strip of it that the other does not. Here the disparity in front of the screen is
eased to zero towards the edge; `stereo.window` brings the frame forward instead.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..contracts import check_call, working_dtype
from ..options import Option

BORDER_WIDTH = Option(
    default=5.0,
    low=0.0,
    high=25.0,
    unit="% of width",
    step=0.5,
    name="width_percent",
    kind=float,
    help="Width of the border in which what pops out of the screen sinks back to it.",
)


def ease_borders(
    disparity: Tensor,  # [F, 1, H, W] px
    *,
    width_percent: float = BORDER_WIDTH.default,
) -> Tensor:  # [F, 1, H, W] px
    """Ease disparity in front of the screen to zero towards the left and the right edge.

        d' = d · u² (3 - 2u)   if d > 0, with u = min(1, distance to the nearer edge / border width)

    The outermost pixel has distance 0. What lies behind the screen stays.

    Args:
        disparity: Disparity of the source view; above 0 is in front of the screen.
        width_percent: Width of the border in % of the frame's width, 0 (unchanged) to 25.

    Returns:
        Disparity of the same type.

    Raises:
        InputError: If the disparity breaks its rule (`contracts.TABLE`) or the width is out of range.
    """
    check_call("ease_borders", disparity=disparity)
    BORDER_WIDTH.check(width_percent)
    return sink_borders(disparity, width_percent=width_percent)


def sink_borders(disparity: Tensor, *, width_percent: float) -> Tensor:
    """Like `ease_borders`, without checking its arguments."""
    width = disparity.shape[-1]
    border = width_percent / 100 * width
    if border == 0:
        return disparity
    column = torch.arange(width, device=disparity.device, dtype=working_dtype(disparity))
    u = (torch.minimum(column, width - 1 - column) / border).clamp(max=1)
    eased = (disparity * (u * u * (3 - 2 * u))).to(disparity.dtype)
    return torch.where(disparity > 0, eased, disparity)
