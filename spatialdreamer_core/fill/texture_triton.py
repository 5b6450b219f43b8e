"""The texture of `texture.py` as a GPU kernel."""

from __future__ import annotations

import math

import triton
import triton.language as tl
from torch import Tensor

from .hole_runs_triton import BLOCK, FOREGROUND, HOLE, DeviceRuns
from .texture import BORDER_SHARE, LEAST_ROOM, SEAM, SIGMA, SPACING, whole_shift

_BORDER_SHARE, _SEAM, _LEAST_ROOM = (tl.constexpr(value) for value in (BORDER_SHARE, SEAM, LEAST_ROOM))
_SPACING = tl.constexpr(SPACING)
_BESIDE = tl.constexpr(math.exp(-0.5 * SPACING**2 / SIGMA**2))  # a sample's weight, one spacing away


def add_texture_triton(
    colour: Tensor,  # [3, P] float32, changed
    extended: Tensor,  # [3, H, W] float32, contiguous
    runs: DeviceRuns,
    *,
    strength: float,
) -> None:
    """Add texture to the estimates of hole pixels as `add_texture` does, in place."""
    height, width = runs.marks.shape
    _add_texture[(runs.pixel_programs,)](
        colour,
        extended,
        runs.marks,
        runs.run_at,
        runs.pixel,
        runs.seam,
        runs.room,
        runs.limit,
        runs.counts,
        height,
        width,
        whole_shift(width),
        float(strength),
        BLOCK,
    )


@triton.jit(do_not_specialize=["shift"])
def _add_texture(
    colour: tl.tensor,  # [3, P], changed
    extended: tl.tensor,  # [3, H, W]
    marks: tl.tensor,  # [H, W]
    run_at: tl.tensor,  # [H, W]
    pixels: tl.tensor,  # [P]
    seam: tl.tensor,  # [R]
    room: tl.tensor,  # [R]
    limit: tl.tensor,  # [R]
    counts: tl.tensor,  # [2]
    height: tl.tensor,
    width: tl.tensor,
    shift: tl.tensor,  # px
    strength: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Add texture to the hole pixels of block program, program + programs, ..."""
    count = tl.load(counts)
    plane = height * width
    for start in range(tl.program_id(0) * BLOCK, count, tl.num_programs(0) * BLOCK):
        at = start + tl.arange(0, BLOCK)
        exists = at < count
        pixel = tl.load(pixels + at, mask=exists, other=0)
        row, column = pixel // width, pixel % width
        run = tl.load(run_at + pixel, mask=exists, other=0)
        end = tl.load(seam + run, mask=exists, other=0)
        away = tl.where(end > 0, 1, tl.where(end < 0, -1, 0))
        source = tl.where(end == 0, column, tl.abs(end) - 1)
        distance = tl.abs(column - source)
        reach = tl.load(room + run, mask=exists, other=0)
        share = tl.minimum((distance - 1) / _SEAM, reach / _LEAST_ROOM)
        at_border = tl.load(limit + run, mask=exists, other=0.0) == float("inf")
        weight = strength * tl.minimum(tl.maximum(share, 0.0), 1.0) * tl.where(at_border, _BORDER_SHARE, 1.0)
        # The column whose detail is taken, mirrored where the shift ends in the hole or beyond the room.
        step = shift - distance
        farther = _seam_shift(marks, run_at, seam, row, column, source, away, exists, height, width)
        step = tl.where(step < 0, 2 * farther - step, step)
        period = 2 * tl.maximum(reach, 1)
        step = (step % period + period) % period
        detail_column = source + away * tl.minimum(step, period - 1 - step)
        index = row * width + detail_column
        used = exists & (tl.load(marks + index, mask=exists, other=FOREGROUND) != FOREGROUND)
        detail = _detail(extended, marks, row, detail_column, used, height, width)
        for channel in tl.static_range(3):
            target = colour + channel * plane + at
            plain = tl.load(target, mask=exists, other=0.0)
            textured = tl.maximum(plain + weight * detail[channel], tl.minimum(plain, 0.0))
            tl.store(target, tl.minimum(textured, tl.maximum(plain, 1.0)), mask=exists)


@triton.jit
def _detail(
    view: tl.tensor,
    marks: tl.tensor,
    row: tl.tensor,
    column: tl.tensor,
    used: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
) -> tl.tuple:
    """Take the mean around pixels from them; 0 where they are not used."""
    plane = height * width
    red = tl.zeros(row.shape, tl.float32)
    green = tl.zeros(row.shape, tl.float32)
    blue = tl.zeros(row.shape, tl.float32)
    norm = tl.zeros(row.shape, tl.float32)
    for i in tl.static_range(-1, 2):
        for j in tl.static_range(-1, 2):
            near_row = tl.minimum(tl.maximum(row + i * _SPACING, 0), height - 1)
            near_column = tl.minimum(tl.maximum(column + j * _SPACING, 0), width - 1)
            near = near_row * width + near_column
            allowed = used & (tl.load(marks + near, mask=used, other=FOREGROUND) != FOREGROUND)
            weight = tl.where(allowed, _BESIDE ** (i * i + j * j), 0.0)
            red += weight * tl.load(view + near, mask=allowed, other=0.0)
            green += weight * tl.load(view + plane + near, mask=allowed, other=0.0)
            blue += weight * tl.load(view + 2 * plane + near, mask=allowed, other=0.0)
            norm += weight
    norm = tl.where(used, norm, 1.0)  # what is used counts itself
    pixel = view + row * width + column
    red = tl.load(pixel, mask=used, other=0.0) - red / norm
    green = tl.load(pixel + plane, mask=used, other=0.0) - green / norm
    blue = tl.load(pixel + 2 * plane, mask=used, other=0.0) - blue / norm
    return red, green, blue


@triton.jit
def _seam_shift(
    marks: tl.tensor,
    run_at: tl.tensor,
    seam: tl.tensor,
    row: tl.tensor,
    column: tl.tensor,
    source: tl.tensor,
    away: tl.tensor,
    exists: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
) -> tl.tensor:
    """Tell how much farther away the background is in the rows about a hole pixel, halves to even."""
    total = tl.zeros(row.shape, tl.int32)
    count = tl.full(row.shape, 1, tl.int32)
    for down in tl.static_range(-4, 5, 2):
        if down != 0:
            near = tl.minimum(tl.maximum(row + down, 0), height - 1) * width + column
            in_hole = exists & (tl.load(marks + near, mask=exists, other=0) == HOLE)
            end = tl.load(seam + tl.load(run_at + near, mask=in_hole, other=0), mask=in_hole, other=0)
            same_side = end * away > 0
            total += tl.where(same_side, (end * away - 1 - source) * away, 0)
            count += same_side.to(tl.int32)
    whole = (total - ((total % count) + count) % count) // count
    rest = 2 * (total - whole * count)
    odd = (whole % 2) != 0
    return whole + ((rest > count) | ((rest == count) & odd)).to(tl.int32)
