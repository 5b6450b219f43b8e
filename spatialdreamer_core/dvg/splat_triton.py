"""The row splat of `splat.py` as one GPU kernel; inference only.

Adding to the columns where pixels land takes an atomic addition for each value and share of each pixel. Here
a pixel is only chained, by one exchange, to those before it that land between the same two columns. Then each
column of the view walks the two chains that reach it and keeps the running sums of a softmax (Milakov and
Gimelshein 2018, arXiv 1805.02867): when a nearer pixel comes, what was summed so far is scaled down. So no
exponent can overflow, whatever the disparities, and no other reference is needed.

A program renders row after row with scratch memory of one row, which stays in the caches. Device memory is
read and written once. Sums are taken in the order in which pixels were chained, so two runs may differ by
rounding. `tests/…/dvg/test_splat_triton.py` compares it with `splat.py`, in Triton's interpreter and on CUDA.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 512  # columns at once
WARPS = BLOCK // 32  # a column for each thread: neighbouring threads read neighbouring pixels
PROGRAMS_PER_PROCESSOR = 4  # 2048 threads, the most that it holds


def splat_rows_triton(
    values: Tensor,  # [C, H, W] float32, C from 1 to 4
    disparity: Tensor,  # [1, H, W] px, float32
    *,
    sign: int,
    block: int = BLOCK,
) -> tuple[Tensor, Tensor]:  # [C, H, W], [1, H, W]
    """Like `splat_rows`, for tensors on a GPU; on the CPU with TRITON_INTERPRET=1 in the environment.

    Args:
        values: What is carried along.
        disparity: Displacement and importance of each pixel, pixels.
        sign: -1 for the right eye, +1 for the left one.
        block: Columns at once, a power of 2; tests make it small.
    """
    channels, height, width = values.shape
    assert 1 <= channels <= 4, channels
    assert values.numel() < 2**31, values.shape  # offsets are 32-bit
    values, disparity = values.contiguous(), disparity.contiguous()
    blended, coverage = torch.empty_like(values), torch.empty_like(disparity)
    programs = min(height, _programs_at_once(values.device))
    scratch = torch.empty(programs, 2 * width + 1, dtype=torch.int32, device=values.device)
    with torch.cuda.device_of(values):
        _splat_rows_kernel[(programs,)](
            values,
            disparity,
            blended,
            coverage,
            scratch,
            height,
            width,
            sign,
            CHANNELS=channels,
            BLOCK=block,
            num_warps=WARPS,
        )
    return blended, coverage


def _programs_at_once(device: torch.device) -> int:
    """Count the programs that run side by side; the interpreter runs them one after the other."""
    if device.type != "cuda":
        return 2
    return PROGRAMS_PER_PROCESSOR * torch.cuda.get_device_properties(device).multi_processor_count


@triton.jit
def _splat_rows_kernel(
    values: tl.tensor,  # [C, H, W]
    disparity: tl.tensor,  # [H, W] px
    blended: tl.tensor,  # [C, H, W], result
    coverage: tl.tensor,  # [H, W], result
    scratch: tl.tensor,  # [programs, 2 * W + 1] int32: W + 1 heads of chains, W links
    height: tl.tensor,
    width: tl.tensor,
    sign: tl.tensor,
    CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Splat the rows program, program + programs, ...; -1 ends a chain."""
    block = tl.arange(0, BLOCK)
    heads = scratch + tl.program_id(0) * (2 * width + 1)
    links = heads + width + 1
    plane = height * width
    for row in range(tl.program_id(0), height, tl.num_programs(0)):
        begin = row * width
        # 1. Empty chains. Head c is of the pixels that land from column c - 1 to before column c.
        for start in range(0, width + 1, BLOCK):
            tl.store(heads + start + block, -1, mask=start + block <= width)
        tl.debug_barrier()
        # 2. Each pixel becomes the head of its chain, linked to the head before it.
        for start in range(0, width, BLOCK):
            pixel = start + block
            moved = tl.load(disparity + begin + pixel, mask=pixel < width, other=0.0)
            target = pixel + sign * moved
            lands = (pixel < width) & (target >= -1) & (target < width)
            chain = tl.floor(tl.where(lands, target, 0.0)).to(tl.int32) + 1
            before = tl.atomic_xchg(heads + chain, pixel, mask=lands, sem="relaxed")
            tl.store(links + pixel, before, mask=lands)
        tl.debug_barrier()
        # 3. Each column collects the chain that ends before it, then the one that begins at it.
        for start in range(0, width, BLOCK):
            column = start + block
            inside = column < width
            pixel = tl.load(heads + column, mask=inside, other=-1)
            later = tl.load(heads + column + 1, mask=inside, other=-1)
            later, pixel = tl.where(pixel < 0, -1, later), tl.where(pixel < 0, later, pixel)
            nearest = tl.full([BLOCK], -1e30, tl.float32)
            weight = tl.zeros([BLOCK], tl.float32)
            covered = tl.zeros([BLOCK], tl.float32)
            total_0 = tl.zeros([BLOCK], tl.float32)
            total_1 = tl.zeros([BLOCK], tl.float32)
            total_2 = tl.zeros([BLOCK], tl.float32)
            total_3 = tl.zeros([BLOCK], tl.float32)
            while tl.max(pixel, axis=0) >= 0:
                here = pixel >= 0
                moved = tl.load(disparity + begin + pixel, mask=here, other=0.0)
                share = tl.where(here, 1 - tl.abs(pixel + sign * moved - column), 0.0)
                reaches = share > 0
                front = tl.where(reaches, tl.maximum(nearest, moved), nearest)
                kept = tl.exp(nearest - front)
                gain = tl.where(reaches, share * tl.exp(tl.minimum(moved - front, 0.0)), 0.0)
                nearest = front
                covered += share
                weight = weight * kept + gain
                source = values + begin + pixel
                total_0 = total_0 * kept + gain * tl.load(source, mask=reaches, other=0.0)
                if CHANNELS > 1:
                    total_1 = total_1 * kept + gain * tl.load(source + plane, mask=reaches, other=0.0)
                if CHANNELS > 2:
                    total_2 = total_2 * kept + gain * tl.load(source + 2 * plane, mask=reaches, other=0.0)
                if CHANNELS > 3:
                    total_3 = total_3 * kept + gain * tl.load(source + 3 * plane, mask=reaches, other=0.0)
                pixel = tl.load(links + pixel, mask=here, other=-1)
                later, pixel = tl.where(pixel < 0, -1, later), tl.where(pixel < 0, later, pixel)
            weight = tl.where(weight > 0, weight, 1.0)
            result = blended + begin + column
            tl.store(coverage + begin + column, covered, mask=inside)
            tl.store(result, total_0 / weight, mask=inside)
            if CHANNELS > 1:
                tl.store(result + plane, total_1 / weight, mask=inside)
            if CHANNELS > 2:
                tl.store(result + 2 * plane, total_2 / weight, mask=inside)
            if CHANNELS > 3:
                tl.store(result + 3 * plane, total_3 / weight, mask=inside)
        tl.debug_barrier()  # the next row uses the same scratch memory
