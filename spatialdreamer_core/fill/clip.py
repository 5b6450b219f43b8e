"""Filling a clip: a loop over a filler's stream, so that clips and films are filled by the same code."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..contracts import check_call
from ..dvg.eyes import Eye, eye_sign
from ..dvg.outlines import find_seen
from ..dvg.zbuffer import bring_motions
from ..flow import Flow
from ..flow.motion import check_flow
from .checked_stream import CheckedStream
from .filler import Filler, FillStream, RenderedFrame


def fill_holes(
    filler: Filler,
    *,
    left: Tensor,  # [F, 3, H, W] in [0, 1]
    warped: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    disparity: Tensor | None = None,  # [F, 1, H, W] px
    flow: Flow | None = None,  # of the source view's F frames
    eye: Eye = "right",
    shift: float = 0.0,
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
        shift: What convergence has taken off the disparity, px: convergence · divergence / 100 · width.
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
    for frame in _fill_all(stream, _rendered_frames(left, warped, hole, disparity, flow, eye, shift)):
        filled[done] = frame
        done += 1
        if on_frame is not None:
            on_frame(done)
    stream.close()
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
    shift: float,
) -> Iterator[RenderedFrame]:
    """Yield a clip's frames, with disparity and motion in the rendered view."""
    for t in range(len(warped)):
        seen = to_previous = to_next = None
        if disparity is not None:
            columns, carried = find_seen(disparity[t : t + 1], eye=eye)
            seen = carried[0]
            if flow is not None:
                to_previous, to_next = bring_motions([flow.to_previous(t), flow.to_next(t)], columns)
        yield RenderedFrame(left[t], warped[t], hole[t], seen, to_previous, to_next, shift)
