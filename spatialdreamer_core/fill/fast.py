"""Fast fill: holes filled without any weights, from the background beside them and from other frames.

A hole shows background. Where the flow says that this background was visible in the next frame, or in an
earlier one (earlier fills are carried along, so what was seen once is kept while it stays in a hole), its
true pixels are taken. The rest is estimated from the background side of the hole, and blended with what was
estimated there before, so that it does not flicker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..checks import InputError, check_video
from ..dvg.eyes import Eye
from ..dvg.zbuffer import gather_columns, source_columns
from ..flow import flow_confidence
from .runs import HoleRuns, find_runs
from .spatial import fill_from_background, sample_at

CARRIED_SHARE = 0.85  # of an earlier estimate in the new one
STILL = 0.1  # px; smaller motion counts as none, so that carried pixels are not resampled again and again


class ViewFlow(NamedTuple):
    """Flow of a rendered view towards another frame; may be smaller than the view."""

    flow: Tensor  # [2, h, w] px of its own size
    confidence: Tensor  # [1, h, w] in [0, 1]


class ViewFrame(NamedTuple):
    """A rendered view as the fill needs it."""

    view: Tensor  # [3, H, W] in [0, 1]
    hole: Tensor  # [1, H, W], 1 = hole
    disparity: Tensor | None  # [1, H, W] px, in the rendered view


class _Memory(NamedTuple):
    """What is carried from frame to frame."""

    filled: Tensor  # [3, H, W]
    disparity: Tensor | None  # [1, H, W] px, with the background's disparity in holes
    seen: Tensor  # [1, H, W] bool: a real pixel, not an estimate


class FastFill:
    """Fills a stream of views, one frame at a time, with constant memory.

    Args:
        eye: The eye that the views were rendered for.
    """

    def __init__(self, *, eye: Eye = "right") -> None:
        self._eye: Eye = eye
        self._memory: _Memory | None = None

    def reset(self) -> None:
        """Forget everything: a new scene begins."""
        self._memory = None

    def step(
        self,
        frame: ViewFrame,
        *,
        to_previous: ViewFlow | None = None,
        to_next: ViewFlow | None = None,
        following: ViewFrame | None = None,
    ) -> Tensor:  # [3, H, W] in [0, 1]
        """Fill one frame.

        Args:
            frame: The frame to fill.
            to_previous: Flow towards the frame of the last call, or None to ignore it.
            to_next: Flow towards `following`, or None to ignore it.
            following: The next frame, not yet filled.

        Returns:
            The view with its holes filled; all other pixels are the view's own.
        """
        hole = frame.hole[0] > 0.5
        disparity = None if frame.disparity is None else frame.disparity[0]
        runs = find_runs(hole, disparity, eye=self._eye)
        filled = frame.view.clone()
        seen = (~hole)[None]
        if len(runs.row):
            filled[:, runs.row, runs.column] = frame.view[:, runs.row, runs.source]
            colour = fill_from_background(filled, hole, runs)
            colour, is_seen = self._from_other_frames(colour, runs, to_previous, to_next, following)
            filled[:, runs.row, runs.column] = colour
            seen[0, runs.row, runs.column] = is_seen
        if disparity is not None:
            disparity = disparity.clone()
            disparity[runs.row, runs.column] = runs.disparity.to(disparity.dtype)
        self._memory = _Memory(filled, None if disparity is None else disparity[None], seen)
        return filled

    def _from_other_frames(
        self,
        colour: Tensor,  # [3, N]
        runs: HoleRuns,
        to_previous: ViewFlow | None,
        to_next: ViewFlow | None,
        following: ViewFrame | None,
    ) -> tuple[Tensor, Tensor]:  # [3, N], [N] bool
        """Replace estimates by what other frames saw; tell which pixels are real afterwards."""
        seen = torch.zeros_like(runs.row, dtype=torch.bool)
        if to_next is not None and following is not None:
            known = _Memory(following.view, following.disparity, following.hole < 0.5)
            found, valid, is_real = _look_up(known, to_next, runs)
            seen = valid & is_real
            colour = torch.where(seen, found, colour)
        if to_previous is not None and self._memory is not None:
            found, valid, is_real = _look_up(self._memory, to_previous, runs)
            real = valid & is_real
            blended = torch.lerp(colour, found, CARRIED_SHARE)
            colour = torch.where(real, found, torch.where(valid & ~seen, blended, colour))
            seen = seen | real
        return colour, seen


def _look_up(
    other: _Memory,
    towards: ViewFlow,
    runs: HoleRuns,
) -> tuple[Tensor, Tensor, Tensor]:  # [3, N], [N] bool, [N] bool
    """Follow each hole pixel's background into another frame.

    Returns:
        Its colour there, whether the background is what is found there, and whether it is a real pixel.
    """
    height, width = other.filled.shape[-2:]
    flow_height, flow_width = towards.flow.shape[-2:]
    # A hole has no flow of its own: it moves like the background beside it.
    flow_row = runs.row * flow_height // height
    flow_column = runs.source * flow_width // width
    dx = towards.flow[0, flow_row, flow_column] * (width / flow_width)
    dy = towards.flow[1, flow_row, flow_column] * (height / flow_height)
    still = dx.square() + dy.square() < STILL**2
    x = runs.column + dx.masked_fill(still, 0)
    y = runs.row + dy.masked_fill(still, 0)

    valid = towards.confidence[0, flow_row, flow_column] > 0.5
    valid &= (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    near_row = y.round().long().clamp(0, height - 1)
    near_column = x.round().long().clamp(0, width - 1)
    if other.disparity is not None:
        valid &= other.disparity[0, near_row, near_column] <= runs.limit

    found = sample_at(other.filled, x, y)
    # Holes of an unfilled frame are black: a real pixel has none among the four that it is mixed from.
    row, column = y.clamp(0, height - 1), x.clamp(0, width - 1)
    is_real = torch.ones_like(valid)
    for corner_row in (row.floor().long(), row.ceil().long()):
        for corner_column in (column.floor().long(), column.ceil().long()):
            is_real &= other.seen[0, corner_row, corner_column]
    return found, valid, is_real


def fast_fill(
    view: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    *,
    left: Tensor | None = None,  # [F, 3, H, W] in [0, 1]
    disparity: Tensor | None = None,  # [F, 1, H, W] px
    flow: tuple[Tensor, Tensor] | None = None,  # two of [F-1, 2, H, W] px
    eye: Eye = "right",
    on_frame: Callable[[int], None] | None = None,
) -> Tensor:  # [F, 3, H, W] in [0, 1]
    """Fill the holes of rendered views without any weights.

    Args:
        view: The rendered view.
        hole: Its hole mask; values above 0.5 are holes.
        left: The source view. Every filler takes it; this one needs only its shape to be right.
        disparity: The disparity that rendered the view. Without it the background is assumed on the side that
            the eye looks behind, and no foreground is kept from colouring the holes.
        flow: The source view's forward and backward flow. With it, and with `disparity`, holes take true
            pixels from neighbouring frames and do not flicker.
        eye: The rendered eye.
        on_frame: Called with the number of finished frames; may raise to interrupt.

    Returns:
        The filled view; outside of holes it equals `view`.

    Raises:
        InputError: If a shape does not fit.
    """
    check_video("view", view, channels=3)
    check_video("hole", hole, channels=1, like=view, like_name="view")
    if left is not None:
        check_video("left", left, channels=3, like=view, like_name="view")
    if disparity is not None:
        check_video("disparity", disparity, channels=1, like=view, like_name="view")
    if flow is not None:
        expected = (len(view) - 1, 2, *view.shape[-2:])
        if flow[0].shape != expected or flow[1].shape != expected:
            raise InputError(
                f"`flow` must hold one forward and one backward flow for each pair of neighbouring frames, "
                f"shape {list(expected)}, got {list(flow[0].shape)} and {list(flow[1].shape)}; "
                "estimate it from the same frames"
            )

    filler = FastFill(eye=eye)
    filled = torch.empty_like(view)
    frame, columns = _view_frame(view, hole, disparity, 0, eye)
    for t in range(len(view)):
        following, next_columns = None, None
        if t + 1 < len(view):
            following, next_columns = _view_frame(view, hole, disparity, t + 1, eye)
        to_previous = to_next = None
        if flow is not None and columns is not None:
            forward, backward = flow
            if t > 0:
                there, back = backward[t - 1 : t], forward[t - 1 : t]
                to_previous = carry_flow(there, flow_confidence(there, back), columns)
            if t + 1 < len(view):
                there, back = forward[t : t + 1], backward[t : t + 1]
                to_next = carry_flow(there, flow_confidence(there, back), columns)
        filled[t] = filler.step(frame, to_previous=to_previous, to_next=to_next, following=following)
        if following is not None:
            frame, columns = following, next_columns
        if on_frame is not None:
            on_frame(t + 1)
    return filled


def _view_frame(
    view: Tensor, hole: Tensor, disparity: Tensor | None, t: int, eye: Eye
) -> tuple[ViewFrame, Tensor | None]:
    """Gather what belongs to frame t of a clip, and the source columns of its pixels."""
    if disparity is None:
        return ViewFrame(view[t], hole[t], None), None
    columns = source_columns(disparity[t : t + 1], eye=eye)
    return ViewFrame(view[t], hole[t], gather_columns(disparity[t : t + 1], columns)[0]), columns


def carry_flow(
    flow: Tensor,  # [1, 2, h, w] px
    confidence: Tensor,  # [1, 1, h, w] in [0, 1]
    columns: Tensor,  # [1, 1, h, w] int64, of `source_columns`
) -> ViewFlow:
    """Bring one frame's flow and its confidence from the source view into the rendered one."""
    carried = gather_columns(torch.cat([flow, confidence], dim=1), columns)[0]
    return ViewFlow(carried[:2], carried[2:])
