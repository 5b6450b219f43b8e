"""Dynamic floating window: black bars bring the frame's left and right edge in front of what they cut.

A point of disparity d lies at x in the left view and at x - d in the right one. The frame's edges have
disparity 0, so a near object that they cut stands in front of what hides it. A bar of width b at the left
edge of the left view puts that edge to x = b on the left and x = 0 on the right: disparity b, in front of the
screen. At the right edge the bar belongs to the right view. With b as large as the disparity of the nearest
thing there, that thing is behind the frame again. The same sides are masked by 3D editing tools, see
http://www.dashwood3d.com/help/stereo3d-virtual-floating-windows/.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..checks import InputError, check_cuts, check_type
from ..contracts import check_call, working_dtype
from .percentiles import percentile

MAX_BAR_PERCENT = 3.0  # % of the width: the widest bar, and the band at each edge that it looks at
_NEAREST = 0.95  # share of the band's pixels that end up behind the edge: small things do not move it
_RATE = 0.1  # share of a new frame in a bar's width: half of a step is done after 7 frames


class FloatingWindow(NamedTuple):
    """Widths of the two bars for each frame."""

    left: Tensor  # [F] px, at the left edge of the left view
    right: Tensor  # [F] px, at the right edge of the right view


class FloatingWindowTracker:
    """Follows the bars' widths over a film, without jumps, in constant memory. Reset it at cuts."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the scene: the next frame gets its own widths."""
        self._widths: Tensor | None = None  # [2, 1] px, of the left and of the right bar

    def step(
        self,
        disparity: Tensor,  # [1, 1, H, W] px
    ) -> FloatingWindow:
        """Take the scene's next frame: the whole disparity between the two views. Return its bars.

        Raises:
            InputError: If the disparity breaks its rule (`contracts.TABLE`).
        """
        check_call("FloatingWindowTracker.step", disparity=disparity)
        return self.advance(disparity)

    def advance(self, disparity: Tensor) -> FloatingWindow:
        """Like `step`, without checking its argument. The widths stay on the disparity's device."""
        limit = MAX_BAR_PERCENT / 100 * disparity.shape[-1]
        band = max(1, round(limit))
        nearest = [
            percentile(edge, _NEAREST).view(1) for edge in (disparity[..., :band], disparity[..., -band:])
        ]
        widths = torch.stack(nearest).clamp(0, limit)
        if self._widths is not None:
            widths = torch.lerp(self._widths, widths, _RATE)
        self._widths = widths
        left, right = widths.to(disparity.dtype)
        return FloatingWindow(left, right)


def floating_window(
    disparity: Tensor,  # [F, 1, H, W] px
    *,
    cuts: Sequence[int] = (),
) -> FloatingWindow:
    """Find the bars that keep what a clip's left and right edges cut behind the frame.

    Each is as wide as the 95th percentile of disparity in front of the screen within the outermost 3 % of the
    width, at most 3 % of the width, and follows changes slowly: half of a step is done after 7 frames.

    Args:
        disparity: The whole disparity between the two views; above 0 is in front of the screen.
        cuts: The frames with which a new scene begins, see `find_cuts`.

    Raises:
        InputError: If the disparity breaks its rule (`contracts.TABLE`), or a cut is no frame of it.
    """
    check_call("floating_window", disparity=disparity)
    check_cuts(cuts, len(disparity))
    tracker = FloatingWindowTracker()
    windows = []
    for t, frame in enumerate(disparity.split(1)):
        if t in cuts:
            tracker.reset()
        windows.append(tracker.advance(frame))
    return FloatingWindow(*(torch.cat(bars) for bars in zip(*windows, strict=True)))


def apply_floating_window(
    left: Tensor,  # [F, 3, H, W] in [0, 1]
    right: Tensor,  # [F, 3, H, W] in [0, 1]
    window: FloatingWindow,
) -> tuple[Tensor, Tensor]:  # twice [F, 3, H, W] in [0, 1]
    """Draw the bars: black over the left edge of the left view and over the right edge of the right one.

    A bar's last pixel is as dark as the share of it that the bar covers, so that bars grow smoothly.

    Raises:
        InputError: If a view or a bar breaks its rule (`contracts.TABLE`), or the window is that of another
            number of frames.
    """
    check_call("apply_floating_window", left=left, right=right)
    check_type("window", window, FloatingWindow)
    check_call("apply_floating_window: bars", window__left=window.left, window__right=window.right)
    if len(window.left) != len(left):
        raise InputError(
            f"`window` must hold bars for each frame of `left` ({len(left)}), got {len(window.left)}; "
            "make it from the same clip's disparity"
        )
    return draw_window(left, right, window)


def draw_window(left: Tensor, right: Tensor, window: FloatingWindow) -> tuple[Tensor, Tensor]:
    """Like `apply_floating_window`, without checking its arguments."""
    dtype = working_dtype(left)
    column = torch.arange(left.shape[-1], device=left.device, dtype=dtype)
    uncovered_left, uncovered_right = (
        (distance + 1 - bar[:, None].to(column)).clamp(0, 1)[:, None, None]
        for distance, bar in ((column, window.left), (column.flip(0), window.right))
    )
    return (left * uncovered_left).to(left.dtype), (right * uncovered_right).to(right.dtype)
