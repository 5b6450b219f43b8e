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

from ..checks import InputError
from ..contracts import check_call
from ..dvg.eyes import Eye, eye_sign
from ..dvg.outlines import find_seen
from ..dvg.zbuffer import bring_motion
from ..flow import Flow, Motion
from ..flow.motion import check_flow


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
    """What fills holes; holds models and settings, and no state of a film."""

    refines_holes: bool
    """Whether it redraws regions and wants masks that are steady over time (`refine_hole_mask`). A filler
    that only paints what was not seen takes the warp's own holes."""

    def open(self, *, eye: Eye, size: tuple[int, int]) -> FillStream:
        """Begin a film, or an eye of it: views of `eye`, of height and width `size`. Must be cheap."""
        ...


def check_filler(filler: object) -> None:
    """Check that an argument is a filler, as far as can be told before the work.

    Raises:
        InputError: If it is none.
    """
    is_filler = callable(getattr(filler, "open", None)) and hasattr(filler, "refines_holes")
    if isinstance(filler, type) or not is_filler:
        got = f"the class {filler.__name__}" if isinstance(filler, type) else type(filler).__name__
        raise InputError(
            f"`filler` must be a filler, an object with `refines_holes` and `open`, got {got}; make one, "
            "such as FastFill()"
        )


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


class CheckedStream:
    """A filler's stream, held to the contract: a frame of the same size for each one, in the end all of them.

    Args:
        filler: Any filler.
        eye: The rendered eye.
        size: Height and width of the views.
    """

    def __init__(self, filler: Filler, *, eye: Eye, size: tuple[int, int]) -> None:
        check_filler(filler)
        self._stream = filler.open(eye=eye, size=size)
        self._name = type(filler).__name__
        self._shape = (3, *size)
        self._waiting = 0

    def push(self, frame: RenderedFrame) -> list[Tensor]:  # of [3, H, W] in [0, 1]
        """Like `FillStream.push`, with checks.

        Raises:
            InputError: If the filler breaks the contract.
        """
        self._waiting += 1
        return self._checked(self._stream.push(frame))

    def finish(self) -> list[Tensor]:  # of [3, H, W] in [0, 1]
        """Like `FillStream.finish`, with checks.

        Raises:
            InputError: If the filler breaks the contract.
        """
        frames = self._checked(self._stream.finish())
        if self._waiting:
            raise InputError(
                f"a filler must return every frame, but {self._name} kept {self._waiting} at the end of a "
                "scene; mend it or use another filler"
            )
        return frames

    def _checked(self, frames: list[Tensor]) -> list[Tensor]:
        """Count frames that a filler has finished, and check what they are."""
        if not isinstance(frames, (list, tuple)):
            raise InputError(
                f"a filler must return a list of the frames that are finished, but {self._name} returned "
                f"{type(frames).__name__}; mend it or use another filler"
            )
        self._waiting -= len(frames)
        if self._waiting < 0:
            raise InputError(
                f"a filler must return one frame for each that it takes, but {self._name} returned "
                f"{-self._waiting} more; mend it or use another filler"
            )
        for frame in frames:
            shape = tuple(frame.shape) if isinstance(frame, Tensor) else type(frame).__name__
            if shape != self._shape:
                raise InputError(
                    f"a filler must return frames [3, H, W] of the view's size, {self._shape}, but "
                    f"{self._name} returned {shape}; mend it or use another filler"
                )
            if not frame.is_floating_point() or not torch.stack(frame.detach().aminmax()).isfinite().all():
                got = "values that are not finite" if frame.is_floating_point() else frame.dtype
                raise InputError(
                    f"a filler must return finite floats in [0, 1], but {self._name} returned {got}; mend it "
                    "or use another filler"
                )
        return frames


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
