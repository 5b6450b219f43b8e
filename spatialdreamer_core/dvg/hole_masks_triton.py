"""Eq. 2 of `hole_masks.py` as a GPU kernel: one launch for each neighbour, and no list of pixels.

The twin looks at the flow's own size first, so that few pixels need a close look. That look leaves out only
pixels from which the flow, at its own size, leads out of the frame; here each pixel checks that itself.
`tests/…/dvg/test_masks_triton.py` compares the two.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..flow import Motion

BLOCK = 1024  # pixels a program
_MOST = 2**31  # offsets and the cells of pixels are 32-bit


def fits_kernel(mask: Tensor, motion: Motion) -> bool:
    """Tell whether the kernel takes this neighbour: the motion not larger than the mask, no float64."""
    (height, width), (rows, columns) = mask.shape[-2:], motion.flow.shape[-2:]
    is_small = max(height * width, height * rows, width * columns) < _MOST - BLOCK
    return is_small and rows <= height and columns <= width and motion.flow.dtype != torch.float64


def add_neighbour_triton(
    hole: Tensor,  # [1, 1, H, W], 1 = hole
    mask: Tensor,  # [1, 1, H, W], the neighbour's
    motion: Motion,  # [h, w], towards the neighbour, px of its own size
) -> Tensor:  # [1, 1, H, W]
    """Add to a frame's mask what one neighbour's mask shows along the flow."""
    height, width = hole.shape[-2:]
    rows, columns = motion.flow.shape[-2:]
    refined = torch.empty_like(hole, memory_format=torch.contiguous_format)
    with torch.cuda.device_of(hole):
        _add_neighbour_kernel[(triton.cdiv(height * width, BLOCK),)](
            hole.contiguous(),
            mask.contiguous(),
            motion.flow.detach().contiguous(),
            motion.confidence.detach().contiguous(),
            refined,
            height,
            width,
            rows,
            columns,
            height / rows,
            width / columns,
            BLOCK=BLOCK,
            enable_fp_fusion=False,  # a position halfway between two pixels is rounded as torch does
        )
    return refined


@triton.jit
def _add_neighbour_kernel(
    hole: tl.tensor,  # [H, W]
    mask: tl.tensor,  # [H, W]
    flow: tl.tensor,  # [2, h, w] px
    confidence: tl.tensor,  # [h, w]
    refined: tl.tensor,  # [H, W], result
    height: tl.tensor,
    width: tl.tensor,
    rows: tl.tensor,
    columns: tl.tensor,
    scale_y: tl.tensor,  # px of the mask a px of the flow
    scale_x: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Refine a block of pixels."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < height * width
    row, column = pixel // width, pixel % width
    # 1. The motion of the cell that the pixel lies in.
    cell_row, cell_column = row * rows // height, column * columns // width
    cell = cell_row * columns + cell_column
    dx = tl.load(flow + cell, mask=inside, other=0.0).to(tl.float32)
    dy = tl.load(flow + rows * columns + cell, mask=inside, other=0.0).to(tl.float32)
    trusted = tl.load(confidence + cell, mask=inside, other=0.0) > 0.5
    # 2. Where it leads, from the cell and from the pixel.
    stays = _is_within(round_half_even(cell_column + dx), columns)
    stays &= _is_within(round_half_even(cell_row + dy), rows)
    x, y = round_half_even(column + dx * scale_x), round_half_even(row + dy * scale_y)
    stays &= _is_within(x, width) & _is_within(y, height)
    looks = inside & trusted & stays
    there = tl.where(looks, y, 0.0).to(tl.int32) * width + tl.where(looks, x, 0.0).to(tl.int32)
    found = tl.load(mask + there, mask=looks, other=0.0) > 0.5
    is_hole = tl.load(hole + pixel, mask=inside, other=0.0) > 0.5
    tl.store(refined + pixel, tl.where(is_hole | found, 1.0, 0.0), mask=inside)


@triton.jit
def _is_within(position: tl.tensor, size: tl.tensor) -> tl.tensor:
    """Tell whether a position lies in the frame."""
    return (position >= 0) & (position < size)


@triton.jit
def round_half_even(x: tl.tensor) -> tl.tensor:
    """Round halves to the even neighbour, as torch does."""
    below = tl.floor(x)
    rest = x - below
    is_odd = below - 2 * tl.floor(below * 0.5) == 1
    return tl.where((rest > 0.5) | ((rest == 0.5) & is_odd), below + 1, below)
