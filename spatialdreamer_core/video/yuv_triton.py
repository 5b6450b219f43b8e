"""`rgb_to_yuv` as one GPU kernel: each thread makes four luma codes and two chroma codes, of 2x2 pixels.

A program takes some of the columns of one row of chroma. Pixels that neighbours share are read again, from
the cache. `tests/…/video/test_yuv_on_device.py` compares it with its twin in `yuv_on_device.py`.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 256  # columns of chroma at once
WARPS = BLOCK // 32  # a 2x2 block for each thread


def rgb_to_yuv_triton(
    image: Tensor,  # [3, H, W] uint8 or uint16, of 32-bit offsets
    affine: list[list[float]],  # [3][4], from values to codes
    layout: tuple[int, bool, int],  # bits, whether U and V alternate, shift of the codes
) -> Tensor:  # [H' * W' * 3 / 2] uint8 or uint16
    """Like `rgb_to_yuv`, for tensors on a GPU; on the CPU with TRITON_INTERPRET=1 in the environment."""
    bits, interleaved, shift = layout
    deep = bits > 8
    _, height, width = image.shape
    rows, columns = (height + 1) // 2, (width + 1) // 2
    dtype = torch.int16 if deep else torch.uint8
    yuv = torch.empty(rows * columns * 6, dtype=dtype, device=image.device)
    with torch.cuda.device_of(image):
        _rgb_to_yuv_kernel[(triton.cdiv(columns, BLOCK), rows)](
            image.view(torch.int16) if deep else image,
            yuv,
            *image.stride(),
            height,
            width,
            *affine[0],
            *affine[1],
            *affine[2],
            HIGHEST=2**bits - 1,
            SHIFT=shift,
            DEEP=deep,
            INTERLEAVED=interleaved,
            BLOCK=BLOCK,
            num_warps=WARPS,
        )
    return yuv.view(torch.uint16) if deep else yuv


@triton.jit
def _rgb_to_yuv_kernel(
    image: tl.tensor,  # [3, H, W] uint8 or int16
    yuv: tl.tensor,  # the planes, result
    plane_stride: tl.tensor,
    row_stride: tl.tensor,
    column_stride: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    y_red: tl.tensor,
    y_green: tl.tensor,
    y_blue: tl.tensor,
    y_offset: tl.tensor,
    u_red: tl.tensor,
    u_green: tl.tensor,
    u_blue: tl.tensor,
    u_offset: tl.tensor,
    v_red: tl.tensor,
    v_green: tl.tensor,
    v_blue: tl.tensor,
    v_offset: tl.tensor,
    HIGHEST: tl.constexpr,
    SHIFT: tl.constexpr,
    DEEP: tl.constexpr,
    INTERLEAVED: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Convert BLOCK times 2x2 pixels."""
    COLUMNS: tl.constexpr = 4 if DEEP else 2
    across = (width + 1) // 2
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row = tl.program_id(1)
    inside = column < across
    red_mean = tl.zeros([BLOCK], tl.float32)
    green_mean = tl.zeros([BLOCK], tl.float32)
    blue_mean = tl.zeros([BLOCK], tl.float32)
    for r in tl.static_range(4):
        y = tl.minimum(tl.maximum(2 * row - 1 + r, 0), height - 1)
        for c in tl.static_range(COLUMNS):
            wide = 2 * column + c - (COLUMNS // 2 - 1)
            x = tl.minimum(tl.maximum(wide, 0), width - 1)
            at = image + y * row_stride + x * column_stride
            red = tl.load(at, mask=inside, other=0).to(tl.int32)
            green = tl.load(at + plane_stride, mask=inside, other=0).to(tl.int32)
            blue = tl.load(at + 2 * plane_stride, mask=inside, other=0).to(tl.int32)
            if DEEP:  # they are unsigned
                red = red & 0xFFFF
                green = green & 0xFFFF
                blue = blue & 0xFFFF
            weight = 0.375 if r == 1 or r == 2 else 0.125
            if DEEP:
                weight = weight * (0.375 if c == 1 or c == 2 else 0.125)
            else:
                weight = weight * 0.5
            red_mean += weight * red
            green_mean += weight * green
            blue_mean += weight * blue
            if (r == 1 or r == 2) and (not DEEP or (c == 1 or c == 2)):  # Triton 3.3 takes no longer chain
                luma = _code(y_red * red + y_green * green + y_blue * blue + y_offset, HIGHEST, SHIFT)
                target = (2 * row + r - 1) * 2 * across + wide
                tl.store(yuv + target, luma.to(yuv.dtype.element_ty), mask=inside)
    u = _code(u_red * red_mean + u_green * green_mean + u_blue * blue_mean + u_offset, HIGHEST, SHIFT)
    v = _code(v_red * red_mean + v_green * green_mean + v_blue * blue_mean + v_offset, HIGHEST, SHIFT)
    down = (height + 1) // 2
    chroma = yuv + 4 * down * across
    if INTERLEAVED:
        first = chroma + 2 * (row * across + column)
        second = first + 1
    else:
        first = chroma + row * across + column
        second = first + down * across
    tl.store(first, u.to(yuv.dtype.element_ty), mask=inside)
    tl.store(second, v.to(yuv.dtype.element_ty), mask=inside)


@triton.jit
def _code(value: tl.tensor, HIGHEST: tl.constexpr, SHIFT: tl.constexpr) -> tl.tensor:
    """Round values to codes."""
    code = tl.floor(value + 0.5).to(tl.int32)
    return tl.minimum(tl.maximum(code, 0), HIGHEST) << SHIFT
