"""The search of `search.py` and the motion of `motion.py` as GPU kernels: two launches a frame looked into.

Where a run's background went is found anew for each frame, through all frames before it: keeping the place of
each of its points would cost more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..dvg.hole_masks_triton import round_half_even
from ..flow import Motion
from .hole_runs_triton import BLOCK, RUN_BLOCK, DeviceRuns
from .motion import LEAST_POINTS
from .pyramid_triton import sample_plane
from .search import CARRIED_SHARE, RIM, STILL

_CARRIED, _RIM, _STILL = (tl.constexpr(value) for value in (CARRIED_SHARE, RIM, STILL))
_LEAST = tl.constexpr(LEAST_POINTS)


class Moved(NamedTuple):
    """How far each run's background has moved, pixels of the view; NaN where that cannot be trusted."""

    x: Tensor  # [R]
    y: Tensor  # [R]

    @classmethod
    def allocate(cls, runs: DeviceRuns) -> Moved:
        """Make room for all runs."""
        return cls(torch.empty_like(runs.limit), torch.empty_like(runs.limit))


def follow_triton(
    moved: Moved,  # filled in
    runs: DeviceRuns,
    disparity: Tensor,  # [H, W] px, float32, contiguous
    motions: Sequence[Motion],  # contiguous, 1 to 3: from the frame on, each from where the last one ends
) -> None:
    """Follow the background of runs to another frame, as `BackgroundMotion` does."""
    assert 1 <= len(motions) <= 3, len(motions)
    steps = [motions[min(i, len(motions) - 1)] for i in range(3)]
    _follow[(runs.run_programs,)](
        *moved,
        disparity,
        runs.first,
        runs.seam,
        runs.limit,
        runs.disparity,
        runs.counts,
        *(step.flow for step in steps),
        *(step.confidence for step in steps),
        *disparity.shape,
        *(size for step in steps for size in step.flow.shape[-2:]),
        len(motions),
        RUN_BLOCK,
    )


def look_up_triton(
    colour: Tensor,  # [3, P] float32, the estimates, replaced by what is found
    real: Tensor,  # [H, W] bool, set where a real pixel is found
    runs: DeviceRuns,
    moved: Moved,  # to the other frame
    other: tuple[Tensor, Tensor, Tensor],  # contiguous [3, H, W], [H, W], [H, W]; `ahead`: with its holes
    *,
    ahead: bool,
) -> None:
    """Look hole pixels up in an earlier frame, blending estimates, or those still missing in a later one."""
    _look_up[(runs.pixel_programs,)](
        colour,
        real,
        *other,
        runs.run_at,
        runs.pixel,
        runs.limit,
        *moved,
        runs.counts,
        *real.shape,
        ahead,
        BLOCK,
    )


@triton.jit(do_not_specialize=["height_1", "width_1", "height_2", "width_2", "height_3", "width_3"])
def _follow(
    moved_x: tl.tensor,  # [R], result
    moved_y: tl.tensor,  # [R], result
    disparity: tl.tensor,  # [H, W] px
    first: tl.tensor,  # [R]
    seam: tl.tensor,  # [R]
    limit: tl.tensor,  # [R]
    background: tl.tensor,  # [R]
    counts: tl.tensor,  # [2]
    flow_1: tl.tensor,  # [2, height_1, width_1]
    flow_2: tl.tensor,
    flow_3: tl.tensor,
    confidence_1: tl.tensor,  # [height_1, width_1]
    confidence_2: tl.tensor,
    confidence_3: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    height_1: tl.tensor,
    width_1: tl.tensor,
    height_2: tl.tensor,
    width_2: tl.tensor,
    height_3: tl.tensor,
    width_3: tl.tensor,
    STEPS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Follow fifteen points beside each run of block program, program + programs, ..., and take medians."""
    count = tl.load(counts + 1)
    point = tl.arange(0, 16)[None, :]
    sideways = point % 5
    sideways = tl.where(sideways < 4, 6 * (sideways + 1), 32)  # 6, 12, 18, 24, 32 px, as in `motion.py`
    upwards = 3 * (point // 5) - 3
    for start in range(tl.program_id(0) * BLOCK, count, tl.num_programs(0) * BLOCK):
        run = start + tl.arange(0, BLOCK)
        exists = run < count
        pixel = tl.load(first + run, mask=exists, other=0)
        end = tl.load(seam + run, mask=exists, other=0)
        source = tl.where(end == 0, pixel % width, tl.abs(end) - 1)
        x = (source * width_1 // width)[:, None] + tl.where(end < 0, -1, 1)[:, None] * sideways
        y = (pixel // width * height_1 // height)[:, None] + upwards
        inside = exists[:, None] & (point < 15) & (x >= 0) & (x < width_1) & (y >= 0) & (y < height_1)
        at = tl.where(inside, y, 0) * height // height_1 * width + tl.where(inside, x, 0) * width // width_1
        seen = tl.load(disparity + at, mask=inside, other=0.0)
        most = tl.load(limit + run, mask=exists, other=0.0)
        least = 2 * tl.load(background + run, mask=exists, other=0.0) - most
        valid = inside & (seen <= most[:, None]) & (seen >= least[:, None])
        start_x, start_y = x.to(tl.float32), y.to(tl.float32)
        now_x, now_y, valid = _step(flow_1, confidence_1, start_x, start_y, valid, height_1, width_1)
        if STEPS > 1:
            now_x, now_y, valid = _step(flow_2, confidence_2, now_x, now_y, valid, height_2, width_2)
        if STEPS > 2:
            now_x, now_y, valid = _step(flow_3, confidence_3, now_x, now_y, valid, height_3, width_3)
        trusted = tl.sum(valid.to(tl.int32), axis=1) >= _LEAST
        dx = _median(now_x - start_x, valid) * (width / width_1)
        dy = _median(now_y - start_y, valid) * (height / height_1)
        tl.store(moved_x + run, tl.where(trusted, dx, float("nan")), mask=exists)
        tl.store(moved_y + run, tl.where(trusted, dy, float("nan")), mask=exists)


@triton.jit
def _step(
    flow: tl.tensor,
    confidence: tl.tensor,
    x: tl.tensor,
    y: tl.tensor,
    valid: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Move points along a flow, those where it can be trusted."""
    column = round_half_even(tl.minimum(tl.maximum(x, 0.0), width - 1)).to(tl.int32)
    row = round_half_even(tl.minimum(tl.maximum(y, 0.0), height - 1)).to(tl.int32)
    at = row * width + column
    valid = valid & (tl.load(confidence + at, mask=valid, other=0.0).to(tl.float32) > 0.5)
    x += tl.load(flow + at, mask=valid, other=0.0).to(tl.float32)
    y += tl.load(flow + height * width + at, mask=valid, other=0.0).to(tl.float32)
    return x, y, valid


@triton.jit
def _median(values: tl.tensor, valid: tl.tensor) -> tl.tensor:
    """Take the lower median of each row's valid values; 0 without any."""
    values = tl.where(valid, values, float("inf"))
    point = tl.arange(0, 16)
    one, other = values[:, :, None], values[:, None, :]
    is_before = (other < one) | ((other == one) & (point[None, None, :] < point[None, :, None]))
    place = tl.sum(is_before.to(tl.int32), axis=2)
    middle = (tl.sum(valid.to(tl.int32), axis=1) - 1) // 2
    return tl.sum(tl.where(valid & (place == middle[:, None]), values, 0.0), axis=1)


@triton.jit
def _look_up(
    colour: tl.tensor,  # [3, P], changed
    real: tl.tensor,  # [H, W] bool, changed
    other_colour: tl.tensor,  # [3, H, W]
    other_disparity: tl.tensor,  # [H, W] px
    other_real: tl.tensor,  # [H, W] bool, or its holes
    run_at: tl.tensor,  # [H, W]
    pixels: tl.tensor,  # [P]
    limit: tl.tensor,  # [R] px
    moved_x: tl.tensor,  # [R] px
    moved_y: tl.tensor,  # [R] px
    counts: tl.tensor,  # [2]
    height: tl.tensor,
    width: tl.tensor,
    AHEAD: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Look up the hole pixels of block program, program + programs, ..."""
    count = tl.load(counts)
    plane = height * width
    for start in range(tl.program_id(0) * BLOCK, count, tl.num_programs(0) * BLOCK):
        at = start + tl.arange(0, BLOCK)
        wanted = at < count
        pixel = tl.load(pixels + at, mask=wanted, other=0)
        if AHEAD:
            wanted = wanted & (tl.load(real + pixel, mask=wanted, other=0) == 0)
        run = tl.load(run_at + pixel, mask=wanted, other=0)
        dx = tl.load(moved_x + run, mask=wanted, other=float("nan"))
        dy = tl.load(moved_y + run, mask=wanted, other=float("nan"))
        moves = dx * dx + dy * dy >= _STILL * _STILL  # not where it is NaN
        valid = wanted & (dx == dx) & (dy == dy)
        x = pixel % width + tl.where(moves, dx, 0.0)
        y = pixel // width + tl.where(moves, dy, 0.0)
        valid = valid & (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
        x, y = tl.where(valid, x, 0.0), tl.where(valid, y, 0.0)
        most = tl.load(limit + run, mask=wanted, other=0.0)
        near_row = other_disparity + round_half_even(y).to(tl.int32) * width
        seen = tl.load(near_row + round_half_even(x).to(tl.int32), mask=valid, other=0.0).to(tl.float32)
        valid = valid & (seen <= most)
        top, bottom = tl.floor(y).to(tl.int32), tl.ceil(y).to(tl.int32)
        is_real = valid
        for i in tl.static_range(-1, 2):
            beside = tl.minimum(tl.maximum(x + i * _RIM, 0.0), width - 1)
            column = round_half_even(beside).to(tl.int32)
            seen = tl.load(near_row + column, mask=is_real, other=0.0).to(tl.float32)
            is_real = is_real & (seen <= most)
            left, right = tl.floor(beside).to(tl.int32), tl.ceil(beside).to(tl.int32)
            for lower in tl.static_range(2):
                for farther in tl.static_range(2):
                    corner = (bottom if lower else top) * width + (right if farther else left)
                    value = tl.load(other_real + corner, mask=is_real, other=0).to(tl.float32)
                    is_real = is_real & ((value < 0.5) if AHEAD else (value > 0.5))
        taken = is_real if AHEAD else valid
        for channel in tl.static_range(3):
            target = colour + channel * plane + at
            found = sample_plane(other_colour + channel * plane, x, y, height, width, taken)
            estimate = tl.load(target, mask=taken, other=0.0)
            blended = tl.where(is_real, found, estimate + _CARRIED * (found - estimate))
            tl.store(target, blended, mask=taken)
        tl.store(real + pixel, is_real, mask=is_real)
