"""Denoise a matrix of views and frames by rows and columns in turn (S2VG, arXiv 2508.08048, section 3.2).

A cell [v, t] holds the latents of frame t as view v shows it; view 0 is the source. A *row* is one moment in
all views, as if a camera moved sideways; a *column* is one view over time. The model knows videos, and takes
either for one. At each noise level a pass denoises all columns, the next one all rows, which are read from
the first view to the last one and, where asked for, the other way round every second time; between two passes
the level is resampled, so that each direction answers to what the other one has found (`svd.known_latents`).
Below a noise level of choice the last view alone is refined over time.

The cells stay where they are, on the CPU: only one row or column is with the model at a time. One that is
known throughout, as that of the source view, is never denoised.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Literal

import torch
from torch import Tensor

from ..svd.finite_check import FiniteCheck
from ..svd.known_latents import KnownLatents, run_levels
from ..svd.schedule import frame_noise
from .config import MAX_VIEWS
from .progress import OnCells

PICTURE_NOISE = 1  # the stream of `frame_noise` that is for conditions

Way = Literal["columns", "rows", "rows_back"]
Order = Literal["both", "columns", "rows"]
Reinject = Callable[[Tensor, Collection[int]], KnownLatents]
"""(clean estimate [V, F, C, h, w], views to look at) -> what is known of all views."""


@dataclass(frozen=True)
class Sequence:
    """A row or a column that is to be denoised."""

    way: Way
    index: int  # the row's frame, or the column's view


Denoise = Callable[[Sequence, Tensor, float, Tensor], Tensor]
"""(sequence, noisy [N, C, h, w] in its order, sigma, the first cell's last estimate [C, h, w]) -> clean."""


@dataclass(frozen=True)
class Passes:
    """How often each noise level is denoised, and in which direction."""

    matrix: int = 1  # at levels where rows and columns are denoised
    last_view: int = 1  # at those below
    last_view_from: float = 0.0  # sigma below which the last view alone is refined
    both_ways: bool = False  # whether rows are also read from the last view to the first
    order: Order = "both"  # or one direction alone

    def of_matrix(self, sigma: float, views: int, frames: int) -> bool:
        """Tell whether a level is one of the whole matrix; where there is no time, all are."""
        return min(views, frames) == 1 or self.order == "rows" or sigma >= self.last_view_from

    def count(self, sigma: float, views: int, frames: int) -> int:
        """Return how often a level is denoised."""
        return self.matrix if self.of_matrix(sigma, views, frames) else self.last_view

    def ways(self, views: int, frames: int) -> list[Way]:
        """List the directions of the passes over the matrix, which are repeated."""
        back: Way = "rows_back" if self.both_ways else "rows"
        if views == 1 or self.order == "columns":
            return ["columns"]
        return ["rows", back] if frames == 1 or self.order == "rows" else ["columns", "rows", "columns", back]


def matrix_noise(
    seed: int,
    frames: range,  # of the film
    *,
    views: int,
    shape: tuple[int, int, int],
    draw: int = 0,
) -> Tensor:  # [V, F, C, h, w]
    """Draw the noise of a matrix; a cell's depends on its frame and its view, counted from the last one.

    Args:
        seed: Seed of the run.
        frames: Absolute indices of the frames.
        views: How many there are.
        shape: Of a cell [C, h, w].
        draw: 0 for what sampling begins with, n for the n-th resampling.
    """
    channels, height, width = shape
    noise = []
    for view in range(views):
        stream = draw * MAX_VIEWS + views - 1 - view
        stream += stream >= PICTURE_NOISE
        noise.append(frame_noise(seed, frames, height=height, width=width, channels=channels, stream=stream))
    return torch.stack(noise)


def diffuse_matrix(
    denoise: Denoise,
    noise: Callable[[int], Tensor],  # [V, F, C, h, w] of a draw, see `matrix_noise`
    sigmas: list[float],  # falling to 0
    *,
    known: KnownLatents,  # [V, F, C, h, w]
    passes: Passes = Passes(),
    reinject: Reinject | None = None,
    reinject_at: Collection[float] = (),
    on_step: OnCells | None = None,
) -> Tensor:  # [V, F, C, h, w] on the CPU
    """Take a matrix from the first noise level to the last.

    Args:
        denoise: Returns the clean estimate of a sequence.
        noise: Draws noise for all cells.
        sigmas: Noise levels.
        known: What is known of the cells.
        passes: How often and in which order rows and columns are denoised.
        reinject: Makes known latents anew from the estimate, of these views.
        reinject_at: The levels after whose first pass it does.
        on_step: Called after each row and column; may raise to interrupt.

    Raises:
        InputError: If the model gives NaN.
    """
    views, frames = known.latents.shape[:2]
    fixed = (known.weight == 1).flatten(2).all(2)  # [V, F]
    finite, clean, held = FiniteCheck(), known.put_back(torch.zeros_like(known.latents)), known
    if bool(fixed.all()):
        return clean
    plan = _plan(sigmas, passes, fixed)
    done, total = 0, sum(map(len, plan))
    levels_reinjected = set()

    def estimate(noisy: Tensor, sigma: float, count: int) -> Tensor:
        nonlocal clean, held, done
        clean = clean.clone()  # the one before belongs to the step
        for sequence in plan[count]:
            found = denoise(sequence, _cells(noisy, sequence), sigma, _cells(clean, sequence)[0])
            finite.ask(found)
            known = KnownLatents(*(_cells(part, sequence) for part in held))
            _put_cells(clean, sequence, known.put_back(found.to(clean)))
            done += 1
            if on_step is not None:
                on_step(done, total, clean)
        if reinject is not None and sigma in reinject_at and sigma not in levels_reinjected:
            levels_reinjected.add(sigma)
            whole = passes.of_matrix(sigma, views, frames)
            held = reinject(clean, [view for view in range(views) if whole or view == views - 1])
            clean = held.put_back(clean)
        return clean

    noisy = run_levels(
        estimate,
        clean + sigmas[0] * noise(0),
        sigmas,
        passes=lambda sigma: passes.count(sigma, views, frames),
        noise=noise,
    )
    finite.answer()
    return noisy


def count_steps(sigmas: list[float], passes: Passes, *, views: int, frames: int, finished: int = 0) -> int:
    """Count the rows and columns of a matrix of which the first view and the first frames are known.

    Args:
        sigmas: Noise levels.
        passes: How often and in which order rows and columns are denoised.
        views: How many there are; one alone is not known.
        frames: How many there are.
        finished: Frames that are known in all views.
    """
    fixed = torch.zeros(views, frames, dtype=torch.bool)
    fixed[:, :finished] = True
    fixed[0] |= views > 1
    return sum(map(len, _plan(sigmas, passes, fixed)))


def _plan(sigmas: list[float], passes: Passes, fixed: Tensor) -> list[list[Sequence]]:
    """List the sequences of each pass: those that are not known throughout."""
    views, frames = fixed.shape
    columns = [Sequence("columns", view) for view in range(views) if not bool(fixed[view].all())]
    rows = [frame for frame in range(frames) if not bool(fixed[:, frame].all())]
    ways, plan = cycle(passes.ways(views, frames)), []
    for sigma in sigmas[:-1]:
        count = passes.count(sigma, views, frames)
        if not passes.of_matrix(sigma, views, frames):
            plan += [[Sequence("columns", views - 1)]] * count
            continue
        for way in islice(ways, count):
            plan.append(columns if way == "columns" else [Sequence(way, frame) for frame in rows])
    return plan


def _cells(matrix: Tensor, sequence: Sequence) -> Tensor:  # [N, ...]
    """Return the cells of a sequence in its order; those of a row that is read backwards are a copy."""
    if sequence.way == "columns":
        return matrix[sequence.index]
    row = matrix[:, sequence.index]
    return row if sequence.way == "rows" else row.flip(0)


def _put_cells(matrix: Tensor, sequence: Sequence, cells: Tensor) -> None:
    """Put the cells of a sequence back."""
    if sequence.way == "columns":
        matrix[sequence.index] = cells
    else:
        matrix[:, sequence.index] = cells if sequence.way == "rows" else cells.flip(0)
