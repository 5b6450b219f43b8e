"""A window of a matrix: pictures and holes of a number of frames in all views, and how it is denoised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..svd.schedule import karras_sigmas
from ..svd.windows import Region
from .config import FrameMatrixConfig
from .diffuse import Passes
from .progress import Progress


@dataclass(frozen=True)
class Callbacks:
    """What is called while a window is filled; each may raise to interrupt."""

    progress: Progress  # after each row and column
    on_wait: Callable[[], None] | None = None  # before the UNet works on a region, and while the VAE works

    def on_frame(self, done: int) -> None:
        """Take a call of the VAE, or one before the UNet works on a region."""
        if self.on_wait is not None:
            self.on_wait()


@dataclass(frozen=True)
class Window:
    """A window of views, on the canvas.

    Attributes:
        pictures: All views, filled for a start; the first is the source unless there is one alone.
        hole: Their holes; finished frames have none.
        first_frame: Index of the first frame in the film.
        view_motion: Motion bucket of rows.
    """

    pictures: Tensor  # [V, F, 3, H, W] float16 in [0, 1]
    hole: Tensor  # [V, F, 1, H, W] bool
    first_frame: int
    view_motion: int

    def cut_frames(self, frames: range) -> Window:
        """Return some of the frames."""
        pictures, hole = (part[:, frames.start : frames.stop] for part in (self.pictures, self.hole))
        return Window(pictures, hole, self.first_frame + frames.start, self.view_motion)

    def after(
        self,
        finished: Tensor | None,  # [V, n, 3, H, W]
    ) -> Window:
        """Return the window with finished frames before its own."""
        if finished is None:
            return self
        count = finished.shape[1]
        blank = torch.zeros_like(self.hole[:, :1]).expand(-1, count, -1, -1, -1)
        pictures = torch.cat([finished, self.pictures], dim=1)
        hole = torch.cat([blank, self.hole], dim=1)
        return Window(pictures, hole, self.first_frame - count, self.view_motion)

    def cut(self, region: Region) -> Window:
        """Return a region, px, of the window."""
        pictures, hole = (region.cut_frame(part) for part in (self.pictures, self.hole))
        return Window(pictures, hole, self.first_frame, self.view_motion)


def schedule(config: FrameMatrixConfig) -> tuple[list[float], Passes]:
    """Return the noise levels of settled options, falling to 0, and the passes at each."""
    assert config.steps is not None, "settled"
    assert config.passes is not None
    passes = Passes(
        config.passes,
        config.passes,
        config.last_view_from,
        both_ways=config.rows == "both_ways",
        order=config.order,
    )
    return karras_sigmas(config.steps).tolist(), passes
