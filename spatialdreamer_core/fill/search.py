"""The search for a hole's background in other frames: where it is seen, its true pixels are taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

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

    colour: Tensor  # [3, H, W]
    disparity: Tensor  # [H, W] px
    real: Tensor  # [H, W] bool: a real pixel, neither a hole nor an estimate


class BackgroundSearch:
    """The search for a frame's hidden background in other frames."""

    def __init__(self, runs: HoleRuns, disparity: Tensor, colour: Tensor) -> None:
        self.colour = colour  # [3, N], estimates, replaced by what is found
        self.found = torch.zeros_like(runs.row, dtype=torch.bool)  # [N]
        self._runs = runs
        self._disparity = disparity

    def look_back(self, memory: SeenFrame, to_previous: Motion) -> None:
        """Take what an earlier frame saw, and blend estimates with the ones made there."""
        motion = BackgroundMotion(self._runs, self._disparity, to_previous.flow.shape[-2:])
        everything = torch.arange(len(self._runs.row), device=self.colour.device)
        earlier, valid, real = self._look_up(memory, *motion.follow(to_previous), everything)
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
            motion = motion or BackgroundMotion(self._runs, self._disparity, towards.flow.shape[-2:])
            other = SeenFrame(frame.warped, frame.disparity[0], frame.hole[0] < 0.5)
            colour, valid, real = self._look_up(other, *motion.follow(towards), missing)
            seen = valid & real
            self.colour[:, missing[seen]] = colour[:, seen]
            self.found[missing[seen]] = True

    def _look_up(
        self,
        other: SeenFrame,
        dx: Tensor,  # [N] px
        dy: Tensor,  # [N] px
        trusted: Tensor,  # [N] bool
        wanted: Tensor,  # [M] int64, which of the N hole pixels
    ) -> tuple[Tensor, Tensor, Tensor]:  # [3, M], [M] bool, [M] bool
        """Follow hole pixels' background into another frame.

        Returns:
            Its colour there, whether the background is what is found there, and whether it is a real pixel.
        """
        height, width = other.disparity.shape
        dx, dy, valid = dx[wanted], dy[wanted], trusted[wanted]
        still = dx.square() + dy.square() < STILL**2
        x = self._runs.column[wanted] + dx.masked_fill(still, 0)
        y = self._runs.row[wanted] + dy.masked_fill(still, 0)
        valid = valid & (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
        row, column = y.clamp(0, height - 1), x.clamp(0, width - 1)
        near_row = row.round().long()
        valid &= other.disparity[near_row, column.round().long()] <= self._runs.limit[wanted]
        # Holes of an unfilled frame are black: a real pixel has none among the four that it is mixed from.
        # Nor is it in the soft rim of a foreground, which reaches beyond outlines and holes opened there.
        real = torch.ones_like(valid)
        for offset in (-RIM, 0, RIM):
            beside = (column + offset).clamp(0, width - 1)
            real &= other.disparity[near_row, beside.round().long()] <= self._runs.limit[wanted]
            for corner_row in (row.floor().long(), row.ceil().long()):
                for corner_column in (beside.floor().long(), beside.ceil().long()):
                    real &= other.real[corner_row, corner_column]
        return sample_at(other.colour, x, y), valid, real
