"""The search for a hole's background in other frames: where it is seen, its true pixels are taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..dvg.nonzero_pixels import values_at
from ..flow import Motion
from .filler import RenderedFrame
from .hole_runs import HoleRuns
from .motion import BackgroundMotion
from .spatial import sample_at

CARRIED_SHARE = 0.85  # of an earlier estimate in the new one
RIM = 2  # px beside an outline or a hole, where colours of two surfaces may be mixed
STILL = 0.1  # px; smaller motion counts as none, so that carried pixels are not resampled again and again


class SeenFrame(NamedTuple):
    """A frame in which background is looked for."""

    colour: Tensor  # [3, H, W], floats or bytes
    disparity: Tensor  # [H, W] px
    real: Tensor  # [H, W] bool: a real pixel, neither a hole nor an estimate
    rest: Tensor | None = None  # [3, H, W] int8, 1/256: what bytes lack of colours that were filled in

    def colour_at(self, x: Tensor, y: Tensor) -> Tensor:  # two of [N] px -> [3, N]
        """Sample the colours; what is carried from frame to frame must not be rounded in each."""
        colour = sample_at(self.colour, x, y)
        return colour if self.rest is None else colour.add_(sample_at(self.rest, x, y), alpha=1 / 256)


class BackgroundSearch:
    """The search for a frame's hidden background in other frames."""

    def __init__(self, runs: HoleRuns, disparity: Tensor, colour: Tensor) -> None:
        self.colour = colour  # [3, N] float, estimates, replaced by what is found
        self.found = torch.zeros_like(runs.row, dtype=torch.bool)  # [N]
        self._runs = runs
        self._disparity = disparity
        self._start: BackgroundMotion | None = None

    def look_back(self, memory: SeenFrame, to_previous: Motion) -> None:
        """Take what an earlier frame saw, and blend estimates with the ones made there."""
        moved = self._motion(to_previous).follow(to_previous)
        everything = torch.arange(len(self._runs.row), device=self.colour.device)
        earlier, valid, real = self._look_up(
            memory.colour_at, memory.disparity, partial(values_at, memory.real), *moved, everything
        )
        blended = torch.lerp(self.colour, earlier, CARRIED_SHARE)
        self.colour = torch.where(valid, torch.where(real, earlier, blended), self.colour)
        self.found = valid & real

    def look_ahead(self, following: Sequence[tuple[Motion, RenderedFrame]]) -> None:
        """Take what the next frames see, the nearest one's first."""
        motion = None
        for towards, frame in following:
            missing = (~self.found).nonzero()[:, 0]
            if not len(missing) or frame.disparity is None:
                return
            motion = motion or self._motion(towards)
            colour, valid, real = self._look_up(
                partial(sample_at, frame.warped),
                frame.disparity[0],
                partial(_is_known, frame.hole[0]),
                *motion.follow(towards),
                missing,
            )
            seen = valid & real
            self.colour[:, missing[seen]] = colour[:, seen]
            self.found[missing[seen]] = True

    def _motion(self, towards: Motion) -> BackgroundMotion:
        """Begin to follow the background, through flow of the size of `towards`."""
        size = tuple(towards.flow.shape[-2:])
        if self._start is None or self._start.size != size:
            self._start = BackgroundMotion(self._runs, self._disparity, size)
        return copy(self._start)

    def _look_up(
        self,
        colour_at: Callable[[Tensor, Tensor], Tensor],  # samples the other frame, by columns and rows
        disparity: Tensor,  # [H, W] px, of the other frame
        is_real: Callable[[Tensor, Tensor], Tensor],  # tells of its pixels, by rows and columns
        dx: Tensor,  # [N] px
        dy: Tensor,  # [N] px
        trusted: Tensor,  # [N] bool
        wanted: Tensor,  # [M] int64, which of the N hole pixels
    ) -> tuple[Tensor, Tensor, Tensor]:  # [3, M], [M] bool, [M] bool
        """Follow hole pixels' background into another frame.

        Returns:
            Its colour there, whether the background is what is found there, and whether it is a real pixel.
        """
        height, width = disparity.shape
        dx, dy, valid = dx[wanted], dy[wanted], trusted[wanted]
        still = dx.square() + dy.square() < STILL**2
        x = self._runs.column[wanted] + dx.masked_fill(still, 0)
        y = self._runs.row[wanted] + dy.masked_fill(still, 0)
        valid = valid & (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
        row, column = y.clamp(0, height - 1), x.clamp(0, width - 1)
        beside = column + torch.tensor([[-RIM], [0], [RIM]], device=column.device)
        beside = beside.clamp_(0, width - 1)  # [3, M]
        seen = values_at(disparity, row.round().long(), beside.round().long())
        is_background = seen <= self._runs.limit[wanted]
        valid &= is_background[1]
        # Holes of an unfilled frame are black: a real pixel has none among the four that it is mixed from.
        # Nor is it in the soft rim of a foreground, which reaches beyond outlines and holes opened there.
        corners = torch.stack([beside.floor(), beside.ceil()]).long()  # [2, 3, M]
        corner_rows = torch.stack([row.floor(), row.ceil()]).long()[:, None, None]  # [2, 1, 1, M]
        real = is_background.all(0) & is_real(corner_rows, corners).flatten(0, 2).all(0)
        return colour_at(x, y), valid, real


def _is_known(hole: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Tell which pixels are none of a mask's holes."""
    return values_at(hole, row, column) < 0.5
