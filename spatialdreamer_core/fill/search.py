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
        spots = self._follow(self._motion(to_previous), to_previous, memory.disparity)
        real = torch.zeros_like(spots.of, dtype=torch.bool)
        real[self._find_real(spots, memory.disparity, partial(values_at, memory.real))] = True
        earlier, estimate = memory.colour_at(spots.x, spots.y), self.colour.index_select(1, spots.of)
        self.colour[:, spots.of] = torch.where(real, earlier, torch.lerp(estimate, earlier, CARRIED_SHARE))
        self.found[spots.of] = real

    def look_ahead(self, following: Sequence[tuple[Motion, RenderedFrame]]) -> None:
        """Take what the next frames see, the nearest one's first."""
        motion = None
        for towards, frame in following:
            if frame.disparity is None or bool(self.found.all()):
                return
            motion = motion or self._motion(towards)
            spots = self._follow(motion, towards, frame.disparity[0], without=self.found)
            real = self._find_real(spots, frame.disparity[0], partial(_is_known, frame.hole[0]))
            spots = spots.at(real)
            self.colour[:, spots.of] = sample_at(frame.warped, spots.x, spots.y)
            self.found[spots.of] = True

    def _motion(self, towards: Motion) -> BackgroundMotion:
        """Begin to follow the background, through flow of the size of `towards`."""
        size = tuple(towards.flow.shape[-2:])
        if self._start is None or self._start.size != size:
            self._start = BackgroundMotion(self._runs, self._disparity, size)
        return copy(self._start)

    def _follow(
        self,
        motion: BackgroundMotion,
        towards: Motion,
        disparity: Tensor,  # [H, W] px, of the other frame
        *,
        without: Tensor | None = None,  # [N] bool, which hole pixels to leave out
    ) -> _Spots:
        """Follow hole pixels' background on into another frame, as far as that frame shows it there."""
        height, width = disparity.shape
        dx, dy, trusted = motion.follow(towards)
        still = dx.square() + dy.square() < STILL**2
        x = self._runs.column + dx.masked_fill_(still, 0)
        y = self._runs.row + dy.masked_fill_(still, 0)
        inside = trusted & (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
        if without is not None:
            inside &= ~without
        spots = _Spots(torch.arange(len(x), device=x.device), x, y).only(inside)
        seen = values_at(disparity, spots.y.round().long(), spots.x.round().long())
        return spots.only(seen <= self._runs.limit[spots.of])

    def _find_real(
        self,
        spots: _Spots,
        disparity: Tensor,  # [H, W] px, of the other frame
        is_real: Callable[[Tensor, Tensor], Tensor],  # tells of its pixels, by rows and columns
    ) -> Tensor:  # [K] int64
        """Find those of M spots where the other frame shows a real pixel of the background.

        Holes of an unfilled frame are black: a real pixel has none among the four that it is mixed from. Nor
        is it in the soft rim of a foreground, which reaches beyond outlines and holes opened there.
        """
        likely = is_real(spots.y.round().long(), spots.x.round().long())  # most are holes there, too
        index = likely.nonzero()[:, 0]
        spots = spots.at(index)
        beside = spots.x + torch.tensor([[-RIM], [0], [RIM]], device=spots.x.device)
        beside = beside.clamp_(0, disparity.shape[1] - 1)  # [3, M]
        seen = values_at(disparity, spots.y.round().long(), beside.round().long())
        is_background = (seen <= self._runs.limit[spots.of]).all(0)
        corners = torch.stack([beside.floor(), beside.ceil()]).long()  # [2, 3, M]
        rows = torch.stack([spots.y.floor(), spots.y.ceil()]).long()[:, None, None]  # [2, 1, 1, M]
        real = is_background & is_real(rows, corners).flatten(0, 2).all(0)
        return index[real]


class _Spots(NamedTuple):
    """Where M of the hole pixels' background is in another frame."""

    of: Tensor  # [M] int64, which hole pixel
    x: Tensor  # [M] px
    y: Tensor  # [M] px

    def only(self, kept: Tensor) -> _Spots:  # kept: [M] bool
        """Keep some of them."""
        return self.at(kept.nonzero()[:, 0])

    def at(self, index: Tensor) -> _Spots:  # index: [K] int64
        """Keep those of some numbers."""
        return _Spots(*(part.index_select(0, index) for part in self))


def _is_known(hole: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Tell which pixels are none of a mask's holes."""
    return values_at(hole, row, column) < 0.5
