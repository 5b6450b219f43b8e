"""Fast fill: holes filled without any weights, from the background beside them and from other frames.

A hole shows background. Where this background was visible in an earlier frame (earlier fills are carried
along, so what was seen once is kept while it stays in a hole), or will be in one of the next few, its true
pixels are taken, found by the motion of the background beside the hole (`motion.py`). The rest is estimated
from the background side of the hole (`spatial.py`), gets the background's texture (`texture.py`), and is
blended with what was estimated there before, so that it does not flicker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..checks import InputError, check_range, check_type
from ..contracts import check_call, working_dtype
from ..dvg.eyes import Eye, eye_sign
from ..dvg.outlines import find_seen
from ..flow.consistency import compare_flows
from .runs import find_runs
from .search import BackgroundSearch, SeenFrame
from .spatial import fill_from_background
from .texture import TEXTURE, add_texture
from .views import ViewFlow, ViewFrame, bring_flow

LOOK_AHEAD = 3  # frames in which a hole's background is looked for


class FastFill:
    """Fills a stream of views, one frame at a time, with constant memory.

    Args:
        eye: The eye that the views were rendered for.
        texture: How much of the background's texture estimates take on, 0 (smooth) to 1.
        overwrite: Whether the frames' own tensors are filled, which saves the time and memory of copies. It
            is for whoever has made them: what they hold is not checked.

    Raises:
        InputError: If the eye is unknown, or `texture` is out of range.
    """

    def __init__(self, *, eye: Eye = "right", texture: float = TEXTURE, overwrite: bool = False) -> None:
        eye_sign(eye)
        check_range("texture", texture, 0, 1)
        self._eye: Eye = eye
        self._texture = texture
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

        Raises:
            InputError: If a tensor breaks its rule (`contracts.TABLE`), or the size changes within a scene.
        """
        if not self._overwrite:
            self._check(frame, to_previous, following)
        return self._fill(frame, to_previous, following)

    def _check(
        self,
        frame: ViewFrame,
        to_previous: ViewFlow | None,
        following: Sequence[tuple[ViewFlow, ViewFrame]],
    ) -> None:
        """Check what `step` is given."""
        flows = [*([] if to_previous is None else [to_previous]), *(towards for towards, _ in following)]
        frames = [frame, *(later for _, later in following)]
        for given in frames:
            check_type("frame", given, ViewFrame)
            check_call("FastFill.step", view=given.view, hole=given.hole, disparity=given.disparity)
        for towards in flows:
            check_type("flow", towards, ViewFlow)
            check_call("FastFill.step: flow", flow=towards.flow, confidence=towards.confidence)
        sizes = {tuple(given.view.shape[-2:]) for given in frames}
        if self._memory is not None:
            sizes.add(tuple(self._memory.view.shape[-2:]))
        if len(sizes) > 1:
            raise InputError(
                f"frames of a scene must have one size, got heights and widths {sorted(sizes)}; resize them, "
                "or call reset() where another video begins"
            )

    def _fill(
        self,
        frame: ViewFrame,
        to_previous: ViewFlow | None,
        following: Sequence[tuple[ViewFlow, ViewFrame]],
    ) -> Tensor:  # [3, H, W] in [0, 1]
        """Do as `step`, for what is known to be right."""
        hole = frame.hole[0] > 0.5
        dtype, copied = working_dtype(frame.view), not self._overwrite
        filled = frame.view.to(dtype, copy=copied)
        disparity = None if frame.disparity is None else frame.disparity[0].to(dtype, copy=copied)
        runs = find_runs(hole, disparity, eye=self._eye)
        real = ~hole
        if len(runs.row):
            filled[:, runs.row, runs.column] = filled[:, runs.row, runs.source]
            colour = fill_from_background(filled, hole, runs)
            if self._texture > 0:
                colour = add_texture(colour, filled, runs, strength=self._texture)
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
        if filled.dtype == frame.view.dtype:
            return filled
        return frame.view.copy_(filled) if self._overwrite else filled.to(frame.view.dtype)


def fast_fill(
    view: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    *,
    left: Tensor | None = None,  # [F, 3, H, W] in [0, 1]
    disparity: Tensor | None = None,  # [F, 1, H, W] px
    flow: tuple[Tensor, Tensor] | None = None,  # two of [F-1, 2, H, W] px
    eye: Eye = "right",
    texture: float = TEXTURE,
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
        texture: How much of the background's texture takes part in what no frame shows: 0 (smooth, most like
            the truth on average) to 1 (as sharp as the background, and often elsewhere than the truth's).
        on_frame: Called with the number of finished frames; may raise to interrupt.

    Returns:
        The filled view, of the type of `view`; outside of holes it equals `view`.

    Raises:
        InputError: If an argument breaks its rule (`contracts.TABLE`), the eye is unknown, or `texture` is
            out of range.
    """
    filler = FastFill(eye=eye, texture=texture)
    check_call("fast_fill", view=view, hole=hole, left=left, disparity=disparity)
    if flow is not None:
        _check_flow(flow, view)
    filled = torch.empty_like(view)
    window: deque[_Prepared] = deque()
    for t in range(len(view)):
        while len(window) <= LOOK_AHEAD and t + len(window) < len(view):
            window.append(_prepare(view, hole, disparity, flow, t + len(window), eye))
        current = window.popleft()
        filled[t] = filler._fill(
            current.frame,
            current.to_previous,
            chain(current.to_next, [(later.to_next, later.frame) for later in window]),
        )
        if on_frame is not None:
            on_frame(t + 1)
    return filled


def _check_flow(flow: tuple[Tensor, Tensor], view: Tensor) -> None:
    """Check that a clip's flow is a forward and a backward one of its length and size."""
    expected = [len(view) - 1, 2, *view.shape[-2:]]
    parts = flow if isinstance(flow, (tuple, list)) else [flow]
    got = [list(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in parts]
    if got != [expected, expected]:
        raise InputError(
            f"`flow` must hold one forward and one backward flow for each pair of neighbouring frames, "
            f"shape {expected}, got {' and '.join(map(str, got))}; estimate it from the same frames"
        )
    check_call("fast_fill: flow", view=view, flow_forward=flow[0], flow_backward=flow[1])


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
    columns, seen = find_seen(disparity[t : t + 1], eye=eye)
    frame = ViewFrame(view[t], hole[t], seen[0])
    to_previous = to_next = None
    if flow is not None:
        forward, backward = flow
        if t > 0:
            there, back = backward[t - 1 : t], forward[t - 1 : t]
            to_previous = bring_flow(there, compare_flows(there, back), columns)
        if t + 1 < len(view):
            there, back = forward[t : t + 1], backward[t : t + 1]
            to_next = bring_flow(there, compare_flows(there, back), columns)
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
