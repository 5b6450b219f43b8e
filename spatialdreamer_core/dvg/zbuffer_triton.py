"""The z-buffer of `zbuffer.py` and `outlines.find_seen` as GPU kernels, one launch for a whole batch.

A program renders a row. Its result is the buffer: the source columns that land on a pixel are raised there by
an atomic maximum, of which the order does not matter. `tests/…/dvg/test_masks_triton.py` compares the kernels
with their twins, in Triton's interpreter and on CUDA.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..flow import Motion

BLOCK = 512  # columns at once


def find_columns_triton(
    disparity: Tensor,  # [F, 1, H, W] px
    *,
    sign: int,
) -> Tensor:  # [F, 1, H, W] int64
    """Like `find_columns`, for tensors on a GPU."""
    columns = torch.empty_like(disparity, dtype=torch.int64, memory_format=torch.contiguous_format)
    _launch_columns(disparity.contiguous(), columns, None, sign)
    return columns


def find_seen_triton(
    disparity: Tensor,  # [F, 1, H, W] px
    *,
    sign: int,
) -> tuple[Tensor, Tensor]:  # [F, 1, H, W] int64, [F, 1, H, W] px
    """Like `find_seen`, for tensors on a GPU."""
    disparity = disparity.contiguous()
    columns, seen = torch.empty_like(disparity, dtype=torch.int64), torch.empty_like(disparity)
    _launch_columns(disparity, columns, seen, sign)
    return columns, seen


def _launch_columns(disparity: Tensor, columns: Tensor, seen: Tensor | None, sign: int) -> None:
    """Find the columns of each row, and what is seen there if `seen` is given."""
    frames, _, height, width = disparity.shape
    with torch.cuda.device_of(disparity):
        _find_columns_kernel[(frames * height,)](
            disparity,
            columns,
            columns if seen is None else seen,
            width,
            SIGN=sign,
            WITH_RIMS=seen is not None,
            BLOCK=BLOCK,
        )


def take_columns_triton(
    values: Tensor,  # [F, C, H, W]
    columns: Tensor,  # [F, 1, H, W] int64
) -> Tensor:  # [F, C, H, W]
    """Like `take_columns`, for tensors on a GPU."""
    frames, channels, height, width = values.shape
    taken = torch.empty_like(values, memory_format=torch.contiguous_format)
    with torch.cuda.device_of(values):
        _take_columns_kernel[(frames * channels * height, triton.cdiv(width, BLOCK))](
            values.contiguous(), columns.contiguous(), taken, channels, height, width, BLOCK=BLOCK
        )
    return taken


def bring_motions_triton(
    motions: Sequence[Motion],  # one or two
    columns: Tensor,  # [1, 1, H, W] int64
) -> list[Motion]:
    """Like `bring_motions`, for motions that are there, on the GPU of `columns`."""
    assert 1 <= len(motions) <= 2, len(motions)
    height, width = columns.shape[-2:]
    flow = motions[0].flow
    carried = torch.empty(len(motions), 3, height, width, dtype=flow.dtype, device=flow.device)
    planes = [part.contiguous() for motion in motions for part in (motion.flow, motion.confidence)]
    with torch.cuda.device_of(columns):
        _bring_motions_kernel[(height, triton.cdiv(width, BLOCK), len(motions))](
            planes[0], planes[1], planes[-2], planes[-1], columns.contiguous(), carried, width, BLOCK=BLOCK
        )
    return [Motion(both[:2], both[2:]) for both in carried]


@triton.jit
def _find_columns_kernel(
    disparity: tl.tensor,  # [rows, W] px
    columns: tl.tensor,  # [rows, W] int64, result
    seen: tl.tensor,  # [rows, W] px, result if WITH_RIMS
    width: tl.tensor,
    SIGN: tl.constexpr,
    WITH_RIMS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Find the frontmost source of a row's pixels; with rims, where only they reach, theirs."""
    begin = tl.program_id(0).to(tl.int64) * width
    disparity += begin
    columns += begin
    seen += begin
    block = tl.arange(0, BLOCK)
    for start in range(0, width, BLOCK):
        tl.store(columns + start + block, -1, mask=start + block < width)
    tl.debug_barrier()
    # A rank grows towards the front: with x for the right eye, against it for the left one. What lands by
    # itself ranks before all rims.
    for start in range(0, width, BLOCK):
        column = start + block
        inside = column < width
        moved = _load(disparity + column, inside)
        rank = column if SIGN < 0 else width - 1 - column
        if WITH_RIMS:
            widened = _widen(disparity, column, moved, width, SIGN, inside)
            _raise_rank(columns, column, rank, widened, width, SIGN, inside)
            rank += width
        _raise_rank(columns, column, rank, moved, width, SIGN, inside)
    tl.debug_barrier()
    for start in range(0, width, BLOCK):
        pixel = start + block
        inside = pixel < width
        rank = tl.load(columns + pixel, mask=inside, other=-1).to(tl.int32)
        is_rim = (rank >= 0) & (rank < width)
        if WITH_RIMS:
            rank = tl.where(rank >= width, rank - width, rank)
        has_source = inside & (rank >= 0)
        column = rank
        if SIGN > 0:
            column = tl.where(has_source, width - 1 - rank, rank)
        tl.store(columns + pixel, column.to(tl.int64), mask=inside)
        if WITH_RIMS:
            moved = _load(disparity + column, has_source)
            widened = _widen(disparity, column, moved, width, SIGN, has_source)
            tl.store(seen + pixel, tl.where(is_rim, widened, moved), mask=inside)


@triton.jit
def _load(values: tl.tensor, mask: tl.tensor) -> tl.tensor:
    """Load values in the type to compute in; 0 where the mask is False."""
    loaded = tl.load(values, mask=mask, other=0.0)
    if loaded.dtype != tl.float64:
        loaded = loaded.to(tl.float32)
    return loaded


@triton.jit
def _widen(
    disparity: tl.tensor,  # [W] px
    column: tl.tensor,  # [N]
    moved: tl.tensor,  # [N] px, the disparity there
    width: tl.tensor,
    SIGN: tl.constexpr,
    mask: tl.tensor,  # [N] bool
) -> tl.tensor:  # [N] px
    """Let each surface take along the pixel after its trailing edge, as `widen_foreground` does."""
    before = column + SIGN
    inside = mask & (before >= 0) & (before < width)
    beside = _load(disparity + before, inside)
    return tl.where(inside & (beside > moved), beside, moved)


@triton.jit
def _raise_rank(
    ranks: tl.tensor,  # [W] int64
    column: tl.tensor,  # [N]
    rank: tl.tensor,  # [N]
    moved: tl.tensor,  # [N] px
    width: tl.tensor,
    SIGN: tl.constexpr,
    mask: tl.tensor,  # [N] bool
) -> None:
    """Raise the ranks of the two pixels around each target."""
    target = column + SIGN * moved
    mask &= (target > -1) & (target < width)
    below = tl.floor(tl.where(mask, target, 0.0))
    first = below.to(tl.int32)
    rank = rank.to(tl.int64)
    tl.atomic_max(ranks + first, rank, mask=mask & (first >= 0), sem="relaxed")
    reaches = mask & (target > below) & (first + 1 < width)
    tl.atomic_max(ranks + first + 1, rank, mask=reaches, sem="relaxed")


@triton.jit
def _take_columns_kernel(
    values: tl.tensor,  # [F, C, H, W]
    columns: tl.tensor,  # [F, 1, H, W] int64
    taken: tl.tensor,  # [F, C, H, W], result
    channels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Bring a part of a row of one channel into the view."""
    row = tl.program_id(0).to(tl.int64)
    row_of_columns = row // (channels * height) * height + row % height
    pixel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < width
    column = tl.load(columns + row_of_columns * width + pixel, mask=inside, other=-1)
    found = tl.load(values + row * width + column, mask=column >= 0, other=0)
    tl.store(taken + row * width + pixel, found, mask=inside)


@triton.jit
def _bring_motions_kernel(
    flow: tl.tensor,  # [2, H, W] px
    confidence: tl.tensor,  # [1, H, W]
    other_flow: tl.tensor,  # [2, H, W] px
    other_confidence: tl.tensor,  # [1, H, W]
    columns: tl.tensor,  # [H, W] int64
    carried: tl.tensor,  # [1 or 2, 3, H, W], result
    width: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Bring a part of a row of one motion into the view."""
    plane = tl.num_programs(0).to(tl.int64) * width
    begin = tl.program_id(0).to(tl.int64) * width
    which = tl.program_id(2)
    pixel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < width
    column = tl.load(columns + begin + pixel, mask=inside, other=-1)
    source = begin + column
    is_first = tl.where(which == 0, column, -1) >= 0
    is_other = tl.where(which == 0, -1, column) >= 0
    dx = tl.load(flow + source, mask=is_first, other=0.0)
    dx += tl.load(other_flow + source, mask=is_other, other=0.0)
    dy = tl.load(flow + plane + source, mask=is_first, other=0.0)
    dy += tl.load(other_flow + plane + source, mask=is_other, other=0.0)
    trust = tl.load(confidence + source, mask=is_first, other=0.0)
    trust += tl.load(other_confidence + source, mask=is_other, other=0.0)
    result = carried + which * 3 * plane + begin + pixel
    tl.store(result, dx, mask=inside)
    tl.store(result + plane, dy, mask=inside)
    tl.store(result + 2 * plane, trust, mask=inside)
