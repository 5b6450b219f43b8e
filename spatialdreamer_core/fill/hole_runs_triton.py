"""The hole runs of `hole_runs.py` as GPU kernels, whose lists never leave the device.

How many hole pixels and runs there are is known on the device alone, and asking for it would make the caller
wait. So lists are as long as they can get, their true lengths lie in `counts`, and the kernels that work on
them run a fixed number of programs that go through a list in turn, up to its true length. Rows claim their
parts of the lists as they come, each row's part in the row's order: nothing depends on the order of rows.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..dvg.eyes import Eye
from .hole_runs import FOREGROUND_REACH

HOLE, FOREGROUND = tl.constexpr(1), tl.constexpr(2)  # in `DeviceRuns.marks`; 0 is a pixel that colours holes
BLOCK = 256  # pixels of a list at once
ROWS, ROW_BLOCK = 4, 256  # rows and columns that are searched at once
RUN_BLOCK = 32  # runs at once
PROGRAMS_PER_PROCESSOR = 8  # of 128 threads
_REACH = tl.constexpr(FOREGROUND_REACH)


class DeviceRuns(NamedTuple):
    """`HoleRuns` on the device, in lists of P = H W hole pixels and R = H ⌈W / 2⌉ runs, their bounds."""

    counts: Tensor  # [2] int32, hole pixels and runs
    marks: Tensor  # [H, W] uint8: HOLE, FOREGROUND or 0
    run_at: Tensor  # [H, W] int32, a hole pixel's run
    pixel: Tensor  # [P] int32, row · W + column
    first: Tensor  # [R] int32, row · W + column of each run's first pixel
    right: Tensor  # [R] int32, the column after each run's last pixel
    seam: Tensor  # [R] int32: background column + 1, negative to the run's left; 0 without any
    room: Tensor  # [R] px, int32
    limit: Tensor  # [R] px
    disparity: Tensor  # [R] px, of the background

    @classmethod
    def allocate(cls, height: int, width: int, device: torch.device) -> DeviceRuns:
        """Make lists for a frame of any holes."""
        whole = functools.partial(torch.empty, dtype=torch.int32, device=device)
        pixels, run_count = height * width, height * ((width + 1) // 2)
        return cls(
            counts=whole(2),
            marks=torch.empty(height, width, dtype=torch.uint8, device=device),
            run_at=whole(height, width),
            pixel=whole(pixels),
            first=whole(run_count),
            right=whole(run_count),
            seam=whole(run_count),
            room=whole(run_count),
            limit=torch.empty(run_count, device=device),
            disparity=torch.empty(run_count, device=device),
        )

    @property
    def pixel_programs(self) -> int:
        """How many programs go through the pixels."""
        return programs(len(self.pixel), BLOCK, self.pixel.device)

    @property
    def run_programs(self) -> int:
        """How many programs go through the runs."""
        return programs(len(self.first), RUN_BLOCK, self.pixel.device)


def programs(length: int, block: int, device: torch.device) -> int:
    """Count the programs that go through a list of at most this length; the interpreter runs them in turn."""
    return min(triton.cdiv(length, block), _programs_at_once(device))


@functools.cache
def _programs_at_once(device: torch.device) -> int:
    """Count the programs that run side by side."""
    if device.type != "cuda":
        return 2
    return PROGRAMS_PER_PROCESSOR * torch.cuda.get_device_properties(device).multi_processor_count


def find_runs_triton(
    runs: DeviceRuns,  # filled in
    hole: Tensor,  # [H, W] contiguous, above 0.5 = hole
    disparity: Tensor | None,  # [H, W] px, float32, contiguous
    real: Tensor,  # [H, W] bool, filled in: where no hole is
    *,
    eye: Eye,
) -> None:
    """Find runs as `find_runs` does."""
    height, width = hole.shape
    runs.counts.zero_()
    _list_holes[(triton.cdiv(height, ROWS),)](
        hole,
        runs.marks,
        real,
        runs.run_at,
        runs.pixel,
        runs.first,
        runs.right,
        runs.counts,
        height,
        width,
        ROWS,
        ROW_BLOCK,
    )
    _measure_runs[(runs.run_programs,)](
        runs.marks if disparity is None else disparity,
        runs.marks,
        runs.first,
        runs.right,
        runs.seam,
        runs.room,
        runs.limit,
        runs.disparity,
        runs.counts,
        width,
        -1 if eye == "right" else 1,
        disparity is not None,
        RUN_BLOCK,
    )


@triton.jit
def _list_holes(
    hole: tl.tensor,  # [H, W]
    marks: tl.tensor,  # [H, W] uint8, result
    real: tl.tensor,  # [H, W] bool, result
    run_at: tl.tensor,  # [H, W], result
    pixels: tl.tensor,  # [P], result
    first: tl.tensor,  # [R], result
    right: tl.tensor,  # [R], result
    counts: tl.tensor,  # [2], result
    height: tl.tensor,
    width: tl.tensor,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """List the hole pixels and the runs of some rows."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    begin = (row * width)[:, None]
    block = tl.arange(0, BLOCK)[None, :]
    holes = tl.zeros([ROWS], tl.int32)
    starts = tl.zeros([ROWS], tl.int32)
    for start in range(0, width, BLOCK):
        column = start + block
        inside = (row < height)[:, None] & (column < width)
        at = begin + column
        here = tl.load(hole + at, mask=inside, other=0.0) > 0.5
        before = tl.load(hole + at - 1, mask=inside & (column > 0), other=0.0) > 0.5
        holes += tl.sum(here.to(tl.int32), axis=1)
        starts += tl.sum((here & ~before).to(tl.int32), axis=1)
        tl.store(marks + at, here.to(tl.uint8), mask=inside)
        tl.store(real + at, ~here, mask=inside)
    # A program claims its part of each list for all of its rows: the rows begin one after the other in it.
    next_pixel = (
        tl.atomic_add(counts, tl.sum(holes, axis=0), sem="relaxed") + tl.cumsum(holes, axis=0) - holes
    )
    next_run = tl.atomic_add(counts + 1, tl.sum(starts, axis=0), sem="relaxed")
    next_run += tl.cumsum(starts, axis=0) - starts
    for start in range(0, width, BLOCK):
        column = start + block
        inside = (row < height)[:, None] & (column < width)
        at = begin + column
        here = tl.load(hole + at, mask=inside, other=0.0) > 0.5
        before = tl.load(hole + at - 1, mask=inside & (column > 0), other=0.0) > 0.5
        after = tl.load(hole + at + 1, mask=inside & (column + 1 < width), other=0.0) > 0.5
        is_hole = here.to(tl.int32)
        is_start = (here & ~before).to(tl.int32)
        run = next_run[:, None] + tl.cumsum(is_start, axis=1) - 1
        tl.store(pixels + next_pixel[:, None] + tl.cumsum(is_hole, axis=1) - 1, at, mask=here)
        tl.store(run_at + at, run, mask=here)
        tl.store(first + run, at, mask=here & ~before)
        tl.store(right + run, column + 1, mask=here & ~after)
        next_pixel += tl.sum(is_hole, axis=1)
        next_run += tl.sum(is_start, axis=1)


@triton.jit
def _measure_runs(
    disparity: tl.tensor,  # [H, W] px; anything if there is none
    marks: tl.tensor,  # [H, W] uint8, foreground is added
    first: tl.tensor,  # [R]
    right: tl.tensor,  # [R]
    seam: tl.tensor,  # [R], result
    room: tl.tensor,  # [R], result
    limit: tl.tensor,  # [R], result
    background: tl.tensor,  # [R], result
    counts: tl.tensor,  # [2]
    width: tl.tensor,
    ramp: tl.tensor,  # without disparity: its slope instead
    WITH_DISPARITY: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Find each run's background side and how far it reaches, and mark the foreground on both sides."""
    count = tl.load(counts + 1)
    steps = tl.arange(0, _REACH)[None, :]
    for start in range(tl.program_id(0) * BLOCK, count, tl.num_programs(0) * BLOCK):
        run = start + tl.arange(0, BLOCK)
        exists = run < count
        pixel = tl.load(first + run, mask=exists, other=0)
        row = pixel // width
        left_end = pixel % width - 1
        right_end = tl.load(right + run, mask=exists, other=1)
        left_seen = _disparity_at(disparity, row, left_end, exists, width, ramp, WITH_DISPARITY)
        right_seen = _disparity_at(disparity, row, right_end, exists, width, ramp, WITH_DISPARITY)
        without = (left_end < 0) & (right_end >= width)
        is_left = left_seen <= right_seen
        middle = (left_seen + right_seen) / 2
        # Known pixels on either side, up to the next run, the frame's border, or foreground.
        earlier, later = exists & (run > 0), run + 1 < count
        before = tl.load(first + run - 1, mask=earlier, other=-1)
        follows = earlier & (before >= row * width) & (before < pixel)
        to_left = left_end + 1 - tl.load(right + run - 1, mask=follows, other=0)
        after = tl.load(first + run + 1, mask=later, other=-1)
        followed = later & (after > pixel) & (after < (row + 1) * width)
        to_right = tl.where(followed, after - row * width, width) - right_end
        beside = left_end[:, None] - steps
        clear = _mark_foreground(disparity, marks, row, beside, exists, middle, width, ramp, WITH_DISPARITY)
        to_left = tl.minimum(to_left, clear)
        beside = right_end[:, None] + steps
        clear = _mark_foreground(disparity, marks, row, beside, exists, middle, width, ramp, WITH_DISPARITY)
        to_right = tl.minimum(to_right, clear)
        side = tl.where(is_left, -left_end - 1, right_end + 1)
        tl.store(seam + run, tl.where(without, 0, side), mask=exists)
        tl.store(room + run, tl.where(is_left, to_left, to_right), mask=exists)
        tl.store(limit + run, middle, mask=exists)
        nearest = tl.where(is_left, left_seen, right_seen)
        tl.store(background + run, tl.where(without, 0.0, nearest), mask=exists)


@triton.jit
def _mark_foreground(
    disparity: tl.tensor,
    marks: tl.tensor,
    row: tl.tensor,
    beside: tl.tensor,  # [runs, _REACH], columns from a run's end outwards
    exists: tl.tensor,
    limit: tl.tensor,
    width: tl.tensor,
    ramp: tl.tensor,
    WITH_DISPARITY: tl.constexpr,
) -> tl.tensor:
    """Mark known pixels beside runs as foreground; returns how many columns are free of it, at most W."""
    steps = tl.arange(0, _REACH)[None, :]
    row, exists = row[:, None], exists[:, None]
    seen = _disparity_at(disparity, row, beside, exists, width, ramp, WITH_DISPARITY)
    is_foreground = exists & (beside >= 0) & (beside < width) & (seen > limit[:, None])
    pixel = row * width + beside
    known = tl.load(marks + pixel, mask=is_foreground, other=HOLE) != HOLE
    tl.store(marks + pixel, FOREGROUND, mask=is_foreground & known)
    return tl.min(tl.where(is_foreground, steps, width), axis=1)


@triton.jit
def _disparity_at(
    disparity: tl.tensor,
    row: tl.tensor,
    column: tl.tensor,
    exists: tl.tensor,
    width: tl.tensor,
    ramp: tl.tensor,
    WITH_DISPARITY: tl.constexpr,
) -> tl.tensor:
    """Look disparity up, inf outside of the frame."""
    inside = exists & (column >= 0) & (column < width)
    if WITH_DISPARITY:
        return tl.load(disparity + row * width + column, mask=inside, other=float("inf"))
    return tl.where(inside, (ramp * column).to(tl.float32), float("inf"))
