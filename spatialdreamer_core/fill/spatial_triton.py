"""The estimates of `spatial.py` as GPU kernels: each hole pixel mixes its column's mean and the pyramid."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .hole_runs_triton import BLOCK, FOREGROUND, DeviceRuns
from .pyramid_triton import level_sizes, sample_plane
from .spatial import LEAST_SMOOTHING, MIXING_LENGTH, MOST_SMOOTHING, PYRAMID_SHARE, SMOOTHING_GROWTH

_LEAST, _MOST = tl.constexpr(LEAST_SMOOTHING), tl.constexpr(MOST_SMOOTHING)
_GROWTH = tl.constexpr(SMOOTHING_GROWTH)
_SHARE, _LENGTH = tl.constexpr(PYRAMID_SHARE), tl.constexpr(MIXING_LENGTH)
_TINY = tl.constexpr(torch.finfo(torch.float32).tiny)


def extend_triton(
    view: Tensor,  # [3, H, W] float32, contiguous
    runs: DeviceRuns,
) -> None:
    """Give a view's holes the nearest background pixel of their row, in place."""
    _extend[(runs.pixel_programs,)](
        view, runs.run_at, runs.pixel, runs.seam, runs.counts, *runs.marks.shape, BLOCK
    )


def estimate_triton(
    colour: Tensor,  # [3, P] float32, filled in
    extended: Tensor,  # [3, H, W] float32, contiguous
    runs: DeviceRuns,
    pyramid: Tensor,  # see `pull_push_triton`
) -> None:
    """Estimate the colours of hole pixels as `fill_from_background` does."""
    height, width = runs.marks.shape
    _estimate[(runs.pixel_programs,)](
        colour,
        extended,
        runs.marks,
        runs.run_at,
        runs.pixel,
        runs.seam,
        pyramid,
        runs.counts,
        height,
        width,
        *level_sizes(height, width)[0],
        BLOCK,
    )


@triton.jit
def _extend(
    view: tl.tensor,  # [3, H, W], changed
    run_at: tl.tensor,  # [H, W]
    pixels: tl.tensor,  # [P]
    seam: tl.tensor,  # [R]
    counts: tl.tensor,  # [2]
    height: tl.tensor,
    width: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Copy each hole pixel's background pixel into it."""
    count = tl.load(counts)
    plane = height * width
    for start in range(tl.program_id(0) * BLOCK, count, tl.num_programs(0) * BLOCK):
        at = start + tl.arange(0, BLOCK)
        exists = at < count
        pixel = tl.load(pixels + at, mask=exists, other=0)
        end = tl.load(seam + tl.load(run_at + pixel, mask=exists, other=0), mask=exists, other=0)
        source = pixel - pixel % width + tl.abs(end) - 1
        has_source = exists & (end != 0)
        for channel in tl.static_range(3):
            colour = tl.load(view + channel * plane + source, mask=has_source, other=0.0)
            tl.store(view + channel * plane + pixel, colour, mask=has_source)


@triton.jit
def _estimate(
    colour: tl.tensor,  # [3, P], result
    extended: tl.tensor,  # [3, H, W]
    marks: tl.tensor,  # [H, W]
    run_at: tl.tensor,  # [H, W]
    pixels: tl.tensor,  # [P]
    seam: tl.tensor,  # [R]
    level: tl.tensor,  # [4, level_height, level_width], the pyramid's second level
    counts: tl.tensor,  # [2]
    height: tl.tensor,
    width: tl.tensor,
    level_height: tl.tensor,
    level_width: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Estimate the hole pixels of block program, program + programs, ..."""
    count = tl.load(counts)
    plane = height * width
    for start in range(tl.program_id(0) * BLOCK, count, tl.num_programs(0) * BLOCK):
        at = start + tl.arange(0, BLOCK)
        exists = at < count
        pixel = tl.load(pixels + at, mask=exists, other=0)
        row, column = pixel // width, pixel % width
        end = tl.load(seam + tl.load(run_at + pixel, mask=exists, other=0), mask=exists, other=0)
        distance = tl.where(end == 0, 0, tl.abs(column + 1 - tl.abs(end))).to(tl.float32)
        sigma = tl.minimum(_LEAST + _GROWTH * distance, _MOST)
        slope = -0.5 / (sigma * sigma)
        total = (
            tl.zeros([BLOCK], tl.float32),  # red
            tl.zeros([BLOCK], tl.float32),  # green
            tl.zeros([BLOCK], tl.float32),  # blue
            tl.zeros([BLOCK], tl.float32),  # weight
        )
        own = extended + column
        # Rows above and below, and how many rows each stands for, as in `spatial.py`.
        total = _add_row(total, own, marks + column, row, exists, height, width, slope, 0, 1.0)
        total = _add_rows(total, own, marks + column, row, exists, height, width, slope, 1, 1.0)
        total = _add_rows(total, own, marks + column, row, exists, height, width, slope, 2, 1.5)
        total = _add_rows(total, own, marks + column, row, exists, height, width, slope, 4, 2.5)
        total = _add_rows(total, own, marks + column, row, exists, height, width, slope, 7, 3.5)
        total = _add_rows(total, own, marks + column, row, exists, height, width, slope, 11, 4.5)
        total = _add_rows(total, own, marks + column, row, exists, height, width, slope, 16, 2.5)
        norm = tl.maximum(total[3], _TINY)
        share = _SHARE * (1 - tl.exp(-distance / _LENGTH))
        half_height, half_width = (height + 1) // 2, (width + 1) // 2
        x = (column + 0.5) * (half_width / width)
        y = (row + 0.5) * (half_height / height)
        coarse_x = x * (level_width / half_width) - 0.5
        coarse_y = y * (level_height / half_height) - 0.5
        finest = _sample_finest(extended, marks, x - 0.5, y - 0.5, height, width, exists)
        for channel in tl.static_range(3):
            coarse = level + channel * level_height * level_width
            coarse = sample_plane(coarse, coarse_x, coarse_y, level_height, level_width, exists)
            pulled = finest[channel] + (1 - finest[3]) * coarse
            smoothed = total[channel] / norm
            tl.store(colour + channel * plane + at, smoothed + share * (pulled - smoothed), mask=exists)


@triton.jit
def _add_rows(
    total: tl.tuple,
    column: tl.tensor,
    marks: tl.tensor,
    row: tl.tensor,
    exists: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    slope: tl.tensor,
    REACH: tl.constexpr,
    ROWS: tl.constexpr,
) -> tl.tuple:
    """Add two rows, one above and one below, to the weighted sums of a column."""
    total = _add_row(total, column, marks, row, exists, height, width, slope, -REACH, ROWS)
    return _add_row(total, column, marks, row, exists, height, width, slope, REACH, ROWS)


@triton.jit
def _add_row(
    total: tl.tuple,
    column: tl.tensor,
    marks: tl.tensor,
    row: tl.tensor,
    exists: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    slope: tl.tensor,
    DOWN: tl.constexpr,
    ROWS: tl.constexpr,
) -> tl.tuple:
    """Add a row, beyond the border the one at it, where it is no foreground."""
    offset = tl.minimum(tl.maximum(row + DOWN, 0), height - 1) * width
    used = exists & (tl.load(marks + offset, mask=exists, other=FOREGROUND) != FOREGROUND)
    weight = tl.where(used, ROWS * tl.exp(slope * (DOWN * DOWN)), 0.0)
    plane = height * width
    red = total[0] + weight * tl.load(column + offset, mask=used, other=0.0)
    green = total[1] + weight * tl.load(column + plane + offset, mask=used, other=0.0)
    blue = total[2] + weight * tl.load(column + 2 * plane + offset, mask=used, other=0.0)
    return red, green, blue, total[3] + weight


@triton.jit
def _sample_finest(
    view: tl.tensor,
    marks: tl.tensor,
    x: tl.tensor,  # px of the finest level
    y: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    exists: tl.tensor,
) -> tl.tuple:
    """Sample the pyramid's finest level, every second pixel of the view: colour times weight, weight."""
    last_column, last_row = (width + 1) // 2 - 1, (height + 1) // 2 - 1
    x = tl.minimum(tl.maximum(x, 0.0), last_column)
    y = tl.minimum(tl.maximum(y, 0.0), last_row)
    left, top = x.to(tl.int32), y.to(tl.int32)
    across, down = x - left, y - top
    plane = height * width
    red = tl.zeros(x.shape, tl.float32)
    green = tl.zeros(x.shape, tl.float32)
    blue = tl.zeros(x.shape, tl.float32)
    weight = tl.zeros(x.shape, tl.float32)
    for lower in tl.static_range(2):
        for farther in tl.static_range(2):
            share = (down if lower else 1 - down) * (across if farther else 1 - across)
            pixel = 2 * tl.minimum(top + lower, last_row) * width
            pixel += 2 * tl.minimum(left + farther, last_column)
            usable = exists & (tl.load(marks + pixel, mask=exists, other=1) == 0)
            red += share * tl.load(view + pixel, mask=usable, other=0.0)
            green += share * tl.load(view + plane + pixel, mask=usable, other=0.0)
            blue += share * tl.load(view + 2 * plane + pixel, mask=usable, other=0.0)
            weight += tl.where(usable, share, 0.0)
    return red, green, blue, weight
