"""Fast fill: holes filled without any weights, from the background beside them and from other frames.

A hole shows background. Where this background was visible in an earlier frame (earlier fills are carried
along, so what was seen once is kept while it stays in a hole), or will be in one of the next few, its true
pixels are taken, found by the motion of the background beside the hole (`motion.py`). The rest is estimated
from the background side of the hole, and blended with what was estimated there before, so that it does not
flicker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..checks import InputError, check_video
from ..dvg.eyes import Eye
from ..dvg.zbuffer import gather_columns, source_columns
from ..flow import flow_confidence
from .runs import find_runs
from .search import BackgroundSearch, SeenFrame
from .spatial import fill_from_background
from .views import ViewFlow, ViewFrame, carry_flow

LOOK_AHEAD = 3  # frames in which a hole's background is looked for


class FastFill:
    """Fills a stream of views, one frame at a time, with constant memory.

    Args:
        eye: The eye that the views were rendered for.
        overwrite: Whether the frames' own tensors are filled, which saves the time and memory of copies.
    """

    def __init__(self, *, eye: Eye = "right", overwrite: bool = False) -> None:
        self._eye: Eye = eye
        self._overwrite = overwrite
        self._memory: SeenFrame | None = None

    def reset(self) -> None:
        """Forget everything: a new scene begins."""
        self._memory = None

    def step(
        self,
        frame: ViewFrame,
        *,
        to_previous: ViewFlow | None = None,
        following: Sequence[tuple[ViewFlow, ViewFrame]] = (),
    ) -> Tensor:  # [3, H, W] in [0, 1]
        """Fill one frame.

        Args:
            frame: The frame to fill. Without disparity other frames do not help.
            to_previous: Flow towards the frame of the last call, or None to ignore it.
            following: The next frames, not yet filled, in order, each with the flow towards it from the frame
                before it.

        Returns:
            The view with its holes filled; all other pixels are the view's own.
        """
        hole = frame.hole[0] > 0.5
        filled, disparity = frame.view, None if frame.disparity is None else frame.disparity[0]
        if not self._overwrite:
            filled, disparity = filled.clone(), None if disparity is None else disparity.clone()
        runs = find_runs(hole, disparity, eye=self._eye)
        real = ~hole
        if len(runs.row):
            filled[:, runs.row, runs.column] = filled[:, runs.row, runs.source]
            colour = fill_from_background(filled, hole, runs)
            if disparity is not None:
                search = BackgroundSearch(runs, disparity, colour)
                if to_previous is not None and self._memory is not None:
                    search.look_back(self._memory, to_previous)
                search.look_ahead(following)
                colour = search.colour
                real[runs.row, runs.column] = search.found
            filled[:, runs.row, runs.column] = colour
        if disparity is not None:
            disparity[runs.row, runs.column] = runs.disparity.to(disparity.dtype)
            self._memory = SeenFrame(filled, disparity, real)
        return filled


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
    window: deque[_Prepared] = deque()
    for t in range(len(view)):
        while len(window) <= LOOK_AHEAD and t + len(window) < len(view):
            window.append(_prepare(view, hole, disparity, flow, t + len(window), eye))
        current = window.popleft()
        filled[t] = filler.step(
            current.frame,
            to_previous=current.to_previous,
            following=chain(current.to_next, [(later.to_next, later.frame) for later in window]),
        )
        if on_frame is not None:
            on_frame(t + 1)
    return filled


class _Prepared(NamedTuple):
    """A frame of a clip with its motion."""

    frame: ViewFrame
    to_previous: ViewFlow | None
    to_next: ViewFlow | None


def _prepare(
    view: Tensor,
    hole: Tensor,
    disparity: Tensor | None,
    flow: tuple[Tensor, Tensor] | None,
    t: int,
    eye: Eye,
) -> _Prepared:
    """Gather what belongs to frame t of a clip."""
    if disparity is None:
        return _Prepared(ViewFrame(view[t], hole[t], None), None, None)
    columns = source_columns(disparity[t : t + 1], eye=eye)
    frame = ViewFrame(view[t], hole[t], gather_columns(disparity[t : t + 1], columns)[0])
    to_previous = to_next = None
    if flow is not None:
        forward, backward = flow
        if t > 0:
            there, back = backward[t - 1 : t], forward[t - 1 : t]
            to_previous = carry_flow(there, flow_confidence(there, back), columns)
        if t + 1 < len(view):
            there, back = forward[t : t + 1], backward[t : t + 1]
            to_next = carry_flow(there, flow_confidence(there, back), columns)
    return _Prepared(frame, to_previous, to_next)


def chain(
    to_next: ViewFlow | None,
    later: Sequence[tuple[ViewFlow | None, ViewFrame]],
) -> list[tuple[ViewFlow, ViewFrame]]:
    """Pair each of the following frames with the flow towards it, up to where the flow ends.

    Args:
        to_next: Flow from the current frame to the next one, or None where a scene ends.
        later: The following frames, each after its own flow to the next one.
    """
    following = []
    for flow_onwards, frame in later:
        if to_next is None:
            break
        following.append((to_next, frame))
        to_next = flow_onwards
    return following
