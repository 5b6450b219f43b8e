"""From inverse depth to disparity.

d = (depth - convergence) · divergence / 100 · W, in pixels of the current width W. The right eye sees a
pixel at x - d, the left eye at x + d; larger d is nearer, and d > 0 is in front of the screen. `divergence`
and `convergence` mean what they mean in iw3.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..contracts import check_call
from ..options import Option

DIVERGENCE = Option(
    default=2.5,
    low=0.0,
    high=20.0,
    unit="% of width",
    step=0.1,
    name="divergence",
    kind=float,
    help="3D strength: total disparity range between the two eyes. 1 to 3 suits most screens.",
)
CONVERGENCE = Option(
    default=0.5,
    low=0.0,
    high=1.0,
    step=0.01,
    metavar="DEPTH",
    name="convergence",
    kind=float,
    help="The depth that lies on the screen: 0 is the farthest, 1 the nearest. What is nearer pops out of "
    "the screen, what is farther lies behind it.",
)


class Placement(NamedTuple):
    """How a frame's depth becomes disparity, where that is its own: a film's may change with its scenes."""

    divergence: float  # % of the width
    convergence: float  # depth in [0, 1]
    foreground_scale: float  # see `depth.DepthShaping`


def depth_to_disparity(
    depth: Tensor,  # [F, 1, H, W] in [0, 1], 1 = near
    *,
    divergence: float = DIVERGENCE.default,
    convergence: float = CONVERGENCE.default,
) -> Tensor:  # [F, 1, H, W] px
    """Convert inverse depth to the total disparity between the two eyes.

    Args:
        depth: Inverse depth.
        divergence: Total disparity range in % of the width, 0 to 20.
        convergence: The depth that lies on the screen, 0 (all in front) to 1 (all behind).

    Returns:
        Disparity in pixels of the current width, float32.

    Raises:
        InputError: If a number is out of range, or the depth is not finite or not in [0, 1].
    """
    check_call("depth_to_disparity", depth=depth)
    DIVERGENCE.check(divergence)
    CONVERGENCE.check(convergence)
    return to_disparity(depth.float().clamp(0, 1), divergence=divergence, convergence=convergence)


def to_disparity(depth: Tensor, *, divergence: float, convergence: float) -> Tensor:
    """Like `depth_to_disparity`, without checking its arguments."""
    return depth.float().sub(convergence).mul_(divergence / 100 * depth.shape[-1])


def convergence_shift(width: int, *, divergence: float, convergence: float) -> float:
    """Return what convergence takes off the disparities of a view, px: with it added none is negative.

    Args:
        width: Of the view, px.
        divergence: Disparity range in % of the width.
        convergence: The depth that lies on the screen, 0 to 1.
    """
    return convergence * divergence / 100 * width


def looks_inverted(
    depth: Tensor,  # [F, 1, H, W] in [0, 1]
) -> bool:
    """Tell whether a depth clip probably has far = 1: its lower part is clearly farther than its upper part.

    In almost every shot the ground in front lies below what is far away. Correlation with the row below -0.5
    on the clip's mean depth is taken as inverted; it is a hint to be reported, never acted upon.

    Raises:
        InputError: If the depth breaks its rule (`contracts.TABLE`).
    """
    check_call("looks_inverted", depth=depth)
    rows = depth.detach().float().mean(dim=(0, 1, 3))
    rows = rows - rows.mean()
    position = torch.linspace(-1, 1, len(rows), device=rows.device)
    norm = rows.norm() * position.norm()
    spread = float(rows.abs().mean())
    return len(rows) > 1 and spread > 0.02 and float((rows * position).sum() / norm) < -0.5
