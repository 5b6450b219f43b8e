"""The comparison of `known_pixels.py` as one GPU kernel.

`tests/…/fill/test_known_pixels_triton.py` compares it with its twin.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 512  # pixels a program


def judge_triton(
    filled: Tensor,  # [3, H, W]
    kept: Tensor,  # [4, h, W], the rows that are compared: colours, and above 0.5 may be changed
    rows: slice,
    extremes: tuple[Tensor, Tensor, Tensor, Tensor],  # of [], see `Verdict`
) -> Tensor:  # [5] float32
    """Collect what a `Verdict` is made of, for tensors on a GPU."""
    _, height, width = filled.shape
    found = torch.zeros(5, dtype=torch.float32, device=filled.device)
    with torch.cuda.device_of(filled):
        _judge_kernel[(kept.shape[1], triton.cdiv(width, BLOCK))](
            filled.contiguous(),
            kept,
            *extremes,
            found,
            rows.start or 0,
            rows.step or 1,
            height,
            width,
            BLOCK=BLOCK,
        )
    return found


@triton.jit
def _judge_kernel(
    filled: tl.tensor,  # [3, H, W]
    kept: tl.tensor,  # [4, h, W]
    least: tl.tensor,  # []
    largest: tl.tensor,  # []
    low: tl.tensor,  # []
    high: tl.tensor,  # []
    found: tl.tensor,  # [5], result; 0 before
    first_row: tl.tensor,
    rows_apart: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Count the changed pixels in a part of a row; the first program hands the extremes on."""
    row, part = tl.program_id(0), tl.program_id(1)
    column = part * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    begin = (first_row + row * rows_apart).to(tl.int64) * width
    plane, kept_plane = height * width, tl.num_programs(0) * width
    kept += row.to(tl.int64) * width + column
    differs = tl.zeros([BLOCK], tl.int32)
    for channel in range(3):
        now = tl.load(filled + channel * plane + begin + column, mask=inside, other=0.0)
        before = tl.load(kept + channel * kept_plane, mask=inside, other=0.0)
        differs = tl.where(now != before, 1, differs)
    known = tl.load(kept + 3 * kept_plane, mask=inside, other=1.0) <= 0.5
    tl.atomic_add(found + 4, tl.sum(tl.where(known, differs, 0)).to(tl.float32), sem="relaxed")
    if row + part == 0:
        tl.store(found, tl.load(least).to(tl.float32))
        tl.store(found + 1, tl.load(largest).to(tl.float32))
        tl.store(found + 2, tl.load(low).to(tl.float32))
        tl.store(found + 3, tl.load(high).to(tl.float32))
