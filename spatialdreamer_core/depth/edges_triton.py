"""The windows and the median of `edges_on_device.py` as GPU kernels; a program works on a part of a row.

`tests/…/depth/test_edges_triton.py` compares them with their twins.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
import triton
import triton.language as tl
from torch import Tensor

from .edges import CONTRAST, FOREGROUND, MOVED

BLOCK = 256  # pixels a program
MEDIAN_BLOCK = 128  # of which each looks at 25 others


def work_on_edges_triton(
    depth: Tensor,  # [F, 1, H, W] float32
    halves: tuple[int, ...],  # how far the window reaches to either side in each of its rows
    *,
    rule: Literal["steepen", "snap", "dilate"],
) -> Tensor:  # [F, 1, H, W]
    """Steepen or snap edges, without the median after it, or dilate foregrounds."""
    depth = depth.contiguous()
    height, width = depth.shape[-2:]
    result = torch.empty_like(depth)
    with torch.cuda.device_of(depth):
        _work_on_edges_kernel[(depth.numel() // width, triton.cdiv(width, BLOCK))](
            depth,
            _on_device(halves, depth.device),
            result,
            height,
            width,
            len(halves) // 2,
            RULE=rule,
            CONTRAST=CONTRAST,
            FOREGROUND=FOREGROUND,
            BLOCK=BLOCK,
            enable_fp_fusion=False,  # the threshold is rounded as torch does
        )
    return result


def smooth_moved_triton(
    before: Tensor,  # [F, 1, H, W] float32
    values: Tensor,  # [F, 1, H, W] float32
) -> Tensor:  # [F, 1, H, W]
    """Take the median of 5x5 pixels where values have moved."""
    before, smooth = before.contiguous(), torch.empty_like(values)
    height, width = values.shape[-2:]
    with torch.cuda.device_of(values):
        _smooth_moved_kernel[(values.numel() // width, triton.cdiv(width, MEDIAN_BLOCK))](
            before, values, smooth, height, width, MOVED=MOVED, BLOCK=MEDIAN_BLOCK
        )
    return smooth


@cache
def _on_device(halves: tuple[int, ...], device: torch.device) -> Tensor:  # [2 * radius + 1] int32
    """Copy a window to a device, once; the copy waits, so that every stream can use it."""
    return torch.tensor(halves, dtype=torch.int32).to(device)


@triton.jit
def _work_on_edges_kernel(
    depth: tl.tensor,  # [F, H, W]
    halves: tl.tensor,  # [2 * radius + 1] int32
    result: tl.tensor,  # [F, H, W]
    height: tl.tensor,
    width: tl.tensor,
    radius: tl.tensor,
    RULE: tl.constexpr,
    CONTRAST: tl.constexpr,
    FOREGROUND: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Look at a window about each pixel; what lies beyond the frame's border does not count."""
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row = tl.zeros([BLOCK], tl.int32) + tl.program_id(0) % height
    here = depth + tl.program_id(0).to(tl.int64) * width + column
    old = tl.load(here, mask=column < width, other=0.0)
    low, high = old, old
    for down in range(-radius, radius + 1):
        is_row = (row + down >= 0) & (row + down < height)
        half = tl.load(halves + down + radius)
        for right in range(-half, half + 1):
            inside = is_row & (column + right >= 0) & (column + right < width)
            value = tl.load(here + down * width + right, mask=inside, other=0.0)
            low = tl.where(inside, tl.minimum(low, value), low)
            high = tl.where(inside, tl.maximum(high, value), high)
    new, spread = high, high - low
    if RULE == "steepen":
        new = low + tl.minimum(tl.maximum(2.5 * (old - low) - 0.75 * spread, 0.0), spread)
    elif RULE == "snap":
        new = tl.where(old > low + FOREGROUND * spread, high, low)
    else:
        spread = high - old
    share = tl.minimum(tl.maximum(spread / CONTRAST - 1, 0.0), 1.0)
    out = result + tl.program_id(0).to(tl.int64) * width + column
    tl.store(out, old + share * (new - old), mask=column < width)


@triton.jit
def _smooth_moved_kernel(
    before: tl.tensor,  # [F, H, W]
    values: tl.tensor,  # [F, H, W]
    smooth: tl.tensor,  # [F, H, W], result
    height: tl.tensor,
    width: tl.tensor,
    MOVED: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Find the median by its rank: at most 12 of the 25 values are smaller, at least 13 are not larger."""
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    row = tl.program_id(0) % height
    line = values + tl.program_id(0).to(tl.int64) * width
    now = tl.load(line + column, mask=inside, other=0.0)
    then = tl.load(before + tl.program_id(0).to(tl.int64) * width + column, mask=inside, other=0.0)
    has_moved = tl.abs(now - then) > MOVED
    median = now
    if tl.max(has_moved.to(tl.int32), axis=0) > 0:
        index = tl.arange(0, 32)[None, :]  # of the 5x5 pixels; 32 as blocks have powers of 2
        there = _about(row, column[:, None], index, height, width)
        others = tl.load(line + there, mask=(index < 25) & inside[:, None], other=float("inf"))
        for i in range(25):
            candidate = tl.load(line + _about(row, column, i, height, width), mask=inside, other=0.0)
            smaller = tl.sum((others < candidate[:, None]).to(tl.int32), axis=1)
            not_larger = tl.sum((others <= candidate[:, None]).to(tl.int32), axis=1)
            median = tl.where((smaller <= 12) & (not_larger >= 13), candidate, median)
    out = smooth + tl.program_id(0).to(tl.int64) * width + column
    tl.store(out, tl.where(has_moved, median, now), mask=inside)


@triton.jit
def _about(
    row: tl.tensor,
    column: tl.tensor,
    index: tl.tensor,  # of the 5x5 pixels
    height: tl.tensor,
    width: tl.tensor,
) -> tl.tensor:
    """Tell where one of the 5x5 pixels lies, from the row's start; beyond the border as at it."""
    at_row = tl.minimum(tl.maximum(row + index // 5 - 2, 0), height - 1)
    at_column = tl.minimum(tl.maximum(column + index % 5 - 2, 0), width - 1)
    return (at_row - row) * width + at_column
