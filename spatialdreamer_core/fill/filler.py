"""The filler contract: (left, warped, hole) -> the warped view without holes, whichever filler runs.

A filler is opened once for each film and eye, and takes the rendered frames of one scene after another. A
frame comes back when the filler has seen enough of the next ones: fast fill looks a few frames ahead, a
diffusion filler finishes a window at a time. A clip is a loop over the stream (`clip.py`), so that clips and
films are filled by the same code.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from ..dvg.eyes import Eye
from ..flow import Motion


class RenderedFrame(NamedTuple):
    """One frame of a rendered view, as a filler takes it.

    Disparity, flow and shift may only improve the result: a filler must work without them. On
    the CPU a film of 8 bits gives views of bytes, 0 to 255, and bool masks to fillers that take them
    (`Filler.takes_bytes`).
    """

    left: Tensor  # [3, H, W] in [0, 1], the source view; or uint8
    warped: Tensor  # [3, H, W] in [0, 1], the rendered view; or uint8
    hole: Tensor  # [1, H, W], 1 = hole; or bool
    disparity: Tensor | None = None  # [1, H, W] px, in the rendered view
    to_previous: Motion | None = None  # None at the scene's first frame
    to_next: Motion | None = None  # None at the scene's last frame
    shift: float = 0.0  # px, what convergence has taken off the disparities: with it none is negative


class FillStream(Protocol):
    """Fills the frames of one view, scene by scene, in bounded memory.

    If it has a method close(), that is called once, when the film or clip is done.
    """

    def push(self, frame: RenderedFrame) -> list[Tensor]:  # of [3, H, W] in [0, 1], or uint8 as `warped`
        """Take a scene's next frame; return the frames that are finished by it, in order.

        If a device's memory runs out, it must forget the frame, which is pushed again when there is more.
        """
        ...

    def finish(self) -> list[Tensor]:  # of [3, H, W] in [0, 1]
        """Return the scene's other frames, in order; the next frame begins a new scene."""
        ...


class Filler(Protocol):
    """What fills holes; holds models and settings, and no state of a film.

    Only `open` must be there: without them `refines_holes` is False, `takes_bytes` False and `reach` 0.
    """

    @property
    def refines_holes(self) -> bool:
        """Whether it redraws regions and wants masks that are steady over time (`refine_hole_mask`).

        A filler that only paints what was not seen takes the warp's own holes.
        """
        return False

    @property
    def takes_bytes(self) -> bool:
        """Whether it also takes frames of bytes (`RenderedFrame`), which saves most of their memory."""
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
