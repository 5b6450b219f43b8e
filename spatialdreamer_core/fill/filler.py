"""The filler contract: (left, warped, hole) -> the warped view without holes, whichever filler runs.

A filler is opened once for each film and eye, and takes the rendered frames of one scene after another. A
frame comes back when the filler has seen enough of the next ones: fast fill looks a few frames ahead, a
diffusion filler finishes a window at a time. A clip is a loop over the stream (`fill_holes`), so that clips
and films are filled by the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..contracts import check_call
from ..dvg.eyes import Eye, eye_sign
from ..dvg.outlines import find_seen
from ..dvg.zbuffer import bring_motion
from ..flow import Flow, Motion
from ..flow.motion import check_flow
from .checked_stream import CheckedStream


class RenderedFrame(NamedTuple):
    """One frame of a rendered view, as a filler takes it.

    Disparity and flow may only improve the result: a filler must work without them.
    """

    left: Tensor  # [3, H, W] in [0, 1], the source view
    warped: Tensor  # [3, H, W] in [0, 1], the rendered view
    hole: Tensor  # [1, H, W], 1 = hole
    disparity: Tensor | None = None  # [1, H, W] px, in the rendered view
    to_previous: Motion | None = None  # None at the scene's first frame
    to_next: Motion | None = None  # None at the scene's last frame


class FillStream(Protocol):
    """Fills the frames of one view, scene by scene, in bounded memory."""

    def push(self, frame: RenderedFrame) -> list[Tensor]:  # of [3, H, W] in [0, 1]
        """Take a scene's next frame; return the frames that are finished by it, in order."""
        ...

    def finish(self) -> list[Tensor]:  # of [3, H, W] in [0, 1]
        """Return the scene's other frames, in order; the next frame begins a new scene."""
        ...


class Filler(Protocol):
    """What fills holes; holds models and settings, and no state of a film.

    Only `open` must be there: without them `refines_holes` is False and `reach` 0.
    """

    @property
    def refines_holes(self) -> bool:
        """Whether it redraws regions and wants masks that are steady over time (`refine_hole_mask`).

        A filler that only paints what was not seen takes the warp's own holes.
        """
        return False

    @property
    def reach(self) -> int | None:
        """How far from holes it may change pixels, px; None: everywhere, as it gives its whole view.

        All other pixels of its frames are those of `warped`, bit for bit.
        """
        return 0

    def open(self, *, eye: Eye, size: tuple[int, int]) -> FillStream:
        """Begin a film, or an eye of it: views of `eye`, of height and width `size`. Must be cheap."""
        ...


def fill_holes(
    filler: Filler,
    *,
    left: Tensor,  # [F, 3, H, W] in [0, 1]
    warped: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    disparity: Tensor | None = None,  # [F, 1, H, W] px
    flow: Flow | None = None,  # of the source view's F frames
    eye: Eye = "right",
    on_frame: Callable[[int], None] | None = None,
) -> Tensor:  # [F, 3, H, W] in [0, 1]
    """Fill the holes of a clip, which is one scene.

    Args:
        filler: Any filler.
        left: The source view.
        warped: The rendered view.
        hole: Its hole mask; values above 0.5 are holes.
        disparity: The disparity that rendered the view.
        flow: The source view's flow. Without disparity it has no meaning.
        eye: The rendered eye.
        on_frame: Called with the number of finished frames; may raise to interrupt.

    Returns:
        The filled view, of the type of `warped`.

    Raises:
        InputError: If an argument breaks its rule (`contracts.TABLE`), the eye is unknown, or the filler does
            not return a frame of the same size for each one.
    """
    eye_sign(eye)
    check_call("fill_holes", warped=warped, hole=hole, left=left, disparity=disparity)
    if flow is not None:
        check_flow(flow, like=warped)
    filled = torch.empty_like(warped)
    stream = CheckedStream(filler, eye=eye, size=(warped.shape[-2], warped.shape[-1]))
    done = 0
    for frame in _fill_all(stream, _rendered_frames(left, warped, hole, disparity, flow, eye)):
        filled[done] = frame
        done += 1
        if on_frame is not None:
            on_frame(done)
    return filled


def _fill_all(stream: FillStream, frames: Iterator[RenderedFrame]) -> Iterator[Tensor]:
    """Fill the frames of one scene."""
    for frame in frames:
        yield from stream.push(frame)
    yield from stream.finish()


def _rendered_frames(
    left: Tensor,
    warped: Tensor,
    hole: Tensor,
    disparity: Tensor | None,
    flow: Flow | None,
    eye: Eye,
) -> Iterator[RenderedFrame]:
    """Yield a clip's frames, with disparity and motion in the rendered view."""
    for t in range(len(warped)):
        seen = to_previous = to_next = None
        if disparity is not None:
            columns, carried = find_seen(disparity[t : t + 1], eye=eye)
            seen = carried[0]
            if flow is not None:
                to_previous, to_next = (
                    None if motion is None else bring_motion(motion, columns)
                    for motion in (flow.to_previous(t), flow.to_next(t))
                )
        yield RenderedFrame(left[t], warped[t], hole[t], seen, to_previous, to_next)
