"""Growing and softening of hole masks (`mask_edges.py`) as GPU kernels: two launches each, one an axis.

A program works on a part of a row. `tests/…/dvg/test_masks_triton.py` compares the kernels with their twins.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 512  # pixels a program


def grow_hole_triton(
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    pixels: int,
) -> Tensor:  # [F, 1, H, W], binary
    """Like `grow_hole`, for tensors on a GPU."""
    hole = hole.contiguous()
    wide, grown = torch.empty_like(hole), torch.empty_like(hole)
    height, width = hole.shape[-2:]
    grid = (hole.numel() // width, triton.cdiv(width, BLOCK))
    with torch.cuda.device_of(hole):
        _grow_kernel[grid](hole, wide, height, width, pixels, ALONG_ROWS=True, BLOCK=BLOCK)
        _grow_kernel[grid](wide, grown, height, width, pixels, ALONG_ROWS=False, BLOCK=BLOCK)
    return grown


def soften_hole_triton(
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    reach: int,  # px, the distance at which 0 is reached
) -> Tensor:  # [F, 1, H, W] in [0, 1]
    """Like `soften_hole`, for tensors on a GPU."""
    hole = hole.contiguous()
    squared, soft = torch.empty_like(hole, dtype=torch.int16), torch.empty_like(hole)
    height, width = hole.shape[-2:]
    grid = (hole.numel() // width, triton.cdiv(width, BLOCK))
    with torch.cuda.device_of(hole):
        _distance_kernel[grid](hole, squared, width, reach, BLOCK=BLOCK)
        # Each step is rounded as torch rounds it.
        _soften_kernel[grid](squared, soft, height, width, reach, BLOCK=BLOCK, enable_fp_fusion=False)
    return soft


@triton.jit
def _grow_kernel(
    hole: tl.tensor,  # [F, H, W]
    grown: tl.tensor,  # [F, H, W], result
    height: tl.tensor,
    width: tl.tensor,
    pixels: tl.tensor,
    ALONG_ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Mark what has a hole at most so many pixels away along one axis."""
    begin = tl.program_id(0).to(tl.int64) * width
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row = tl.zeros([BLOCK], tl.int32) + tl.program_id(0) % height
    inside = column < width
    found = tl.zeros([BLOCK], tl.int32)
    for offset in range(-pixels, pixels + 1):
        if ALONG_ROWS:
            at = column + offset
            value = tl.load(hole + begin + at, mask=(at >= 0) & (at < width), other=0.0)
        else:
            is_row = (row + offset >= 0) & (row + offset < height)
            value = tl.load(hole + begin + offset * width + column, mask=inside & is_row, other=0.0)
        found = tl.where(value > 0.5, 1, found)
    tl.store(grown + begin + column, found.to(tl.float32), mask=inside)


@triton.jit
def _distance_kernel(
    hole: tl.tensor,  # [rows, W]
    squared: tl.tensor,  # [rows, W] int16, result
    width: tl.tensor,
    reach: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Find the squared distance to the nearest hole of the row, reach² at most."""
    begin = tl.program_id(0).to(tl.int64) * width
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    nearest = tl.zeros([BLOCK], tl.int32) + reach * reach
    for offset in range(1 - reach, reach):
        at = column + offset
        value = tl.load(hole + begin + at, mask=(at >= 0) & (at < width), other=0.0)
        nearest = tl.where(value > 0.5, tl.minimum(nearest, offset * offset), nearest)
    tl.store(squared + begin + column, nearest.to(tl.int16), mask=column < width)


@triton.jit
def _soften_kernel(
    squared: tl.tensor,  # [F, H, W] int16, along rows
    soft: tl.tensor,  # [F, H, W], result
    height: tl.tensor,
    width: tl.tensor,
    reach: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Find the squared distance to the nearest hole, and from it the softened mask."""
    begin = tl.program_id(0).to(tl.int64) * width
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row = tl.zeros([BLOCK], tl.int32) + tl.program_id(0) % height
    inside = column < width
    most = reach * reach
    nearest = tl.zeros([BLOCK], tl.int32) + most
    for offset in range(1 - reach, reach):
        is_row = (row + offset >= 0) & (row + offset < height)
        source = squared + begin + offset * width + column
        along_row = tl.load(source, mask=inside & is_row, other=0).to(tl.int32)
        nearest = tl.where(is_row, tl.minimum(nearest, along_row + offset * offset), nearest)
    distance = tl.sqrt_rn(nearest.to(tl.float32))
    share = tl.div_rn(distance, tl.zeros([BLOCK], tl.float32) + reach)
    u = tl.where(nearest < most, 1 - share, 0.0)
    tl.store(soft + begin + column, u * u * (3 - 2 * u), mask=inside)
