"""The pull-push pyramid of `spatial.py` as GPU kernels.

Its finest level is never stored: it is every second pixel of the view, looked up where it is needed. Levels
of few pixels are work of less than a launch's time, so one program makes all of them, down to the coarsest
and back.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from .hole_runs_triton import DeviceRuns

LEVEL_BLOCK = 256  # values of a level at once
COARSE_BLOCK, COARSE_WARPS = 1024, 16
COARSE_PIXELS = 4096  # levels of at most as many are made by one program
_SIZES = [
    "height",
    "width",
    "out_height",
    "out_width",
]  # of all kinds: one kernel serves them


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """List the sizes of a frame's pyramid from its second level, of a quarter of the frame, to a pixel."""
    size = _half(_half(height)), _half(_half(width))
    sizes = [size]
    while max(size) > 1:
        size = _half(size[0]), _half(size[1])
        sizes.append(size)
    return sizes


def pyramid_values(height: int, width: int) -> int:
    """Count the values of a frame's pyramid."""
    return 4 * sum(rows * columns for rows, columns in level_sizes(height, width))


def _half(size: int) -> int:
    """Halve, rounded up."""
    return (size + 1) // 2


def pull_push_triton(
    view: Tensor,  # [3, H, W] float32, contiguous
    runs: DeviceRuns,
    pyramid: Tensor,  # [pyramid_values(H, W)], filled in
) -> None:
    """Average pixels that colour holes down a pyramid, and fill each level from the coarser one."""
    height, width = runs.marks.shape
    sizes = level_sizes(height, width)
    lengths = [4 * rows * columns for rows, columns in sizes]
    parts = pyramid.split(lengths)
    coarse = next(i for i, (rows, columns) in enumerate(sizes) if rows * columns <= COARSE_PIXELS)
    _make_second_level[_grid(sizes[0], 1)](view, runs.marks, parts[0], height, width, *sizes[0], LEVEL_BLOCK)
    for i in range(coarse):
        _halve[_grid(sizes[i + 1], 4)](parts[i], parts[i + 1], *sizes[i], *sizes[i + 1], LEVEL_BLOCK)
    _make_coarse_levels[(1,)](
        pyramid[sum(lengths[:coarse]) :], *sizes[coarse], COARSE_BLOCK, num_warps=COARSE_WARPS
    )
    for i in reversed(range(coarse)):
        _fill[_grid(sizes[i], 3)](parts[i + 1], parts[i], *sizes[i + 1], *sizes[i], LEVEL_BLOCK)


def _grid(size: tuple[int, int], planes: int) -> tuple[int]:
    """Return how many programs make planes of a level."""
    return (triton.cdiv(planes * size[0] * size[1], LEVEL_BLOCK),)


@triton.jit(do_not_specialize=_SIZES)
def _make_second_level(
    view: tl.tensor,  # [3, H, W]
    marks: tl.tensor,  # [H, W]
    level: tl.tensor,  # [4, out_height, out_width], result: colour times weight, weight
    height: tl.tensor,  # of the view
    width: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Average the first level, every second pixel of the view, down to half of its size."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = index < out_height * out_width
    top, bottom = _bin(index // out_width, (height + 1) // 2, out_height)
    left, right = _bin(index % out_width, (width + 1) // 2, out_width)
    plane = height * width
    red = tl.zeros([BLOCK], tl.float32)
    green = tl.zeros([BLOCK], tl.float32)
    blue = tl.zeros([BLOCK], tl.float32)
    weight = tl.zeros([BLOCK], tl.float32)
    for down in tl.static_range(3):
        for across in tl.static_range(3):
            here = inside & (top + down < bottom) & (left + across < right)
            pixel = 2 * (top + down) * width + 2 * (left + across)
            usable = tl.load(marks + pixel, mask=here, other=1) == 0
            red += tl.load(view + pixel, mask=usable, other=0.0)
            green += tl.load(view + plane + pixel, mask=usable, other=0.0)
            blue += tl.load(view + 2 * plane + pixel, mask=usable, other=0.0)
            weight += usable.to(tl.float32)
    share = 1.0 / ((bottom - top) * (right - left))
    step = out_height * out_width
    tl.store(level + index, red * share, mask=inside)
    tl.store(level + step + index, green * share, mask=inside)
    tl.store(level + 2 * step + index, blue * share, mask=inside)
    tl.store(level + 3 * step + index, weight * share, mask=inside)


@triton.jit
def _bin(index: tl.tensor, size: tl.tensor, out_size: tl.tensor) -> tuple[tl.tensor, tl.tensor]:
    """Return the first of the pixels, two or three, that an average is taken over, and the one after them."""
    return index * size // out_size, ((index + 1) * size + out_size - 1) // out_size


@triton.jit(do_not_specialize=_SIZES)
def _halve(
    level: tl.tensor,  # [4, height, width]
    coarser: tl.tensor,  # [4, out_height, out_width], result
    height: tl.tensor,
    width: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Average a level down to half of its size."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    _halve_pixels(level, coarser, height, width, out_height, out_width, index)


@triton.jit
def _halve_pixels(
    level: tl.tensor,
    coarser: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    index: tl.tensor,  # of [4, out_height, out_width]
) -> None:
    """Average a level at some places of the coarser one."""
    pixels = out_height * out_width
    inside = index < 4 * pixels
    top, bottom = _bin(index % pixels // out_width, height, out_height)
    left, right = _bin(index % out_width, width, out_width)
    plane = level + index // pixels * (height * width)
    total = tl.zeros(index.shape, tl.float32)
    for down in tl.static_range(3):
        for across in tl.static_range(3):
            here = inside & (top + down < bottom) & (left + across < right)
            total += tl.load(plane + (top + down) * width + left + across, mask=here, other=0.0)
    tl.store(coarser + index, total / ((bottom - top) * (right - left)), mask=inside)


@triton.jit(do_not_specialize=_SIZES)
def _fill(
    coarser: tl.tensor,  # [4, height, width]
    level: tl.tensor,  # [4, out_height, out_width], changed
    height: tl.tensor,
    width: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Fill a level from the coarser one where its weight leaves room."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    _fill_pixels(coarser, level, height, width, out_height, out_width, index)


@triton.jit
def _fill_pixels(
    coarser: tl.tensor,
    level: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    index: tl.tensor,  # of [3, out_height, out_width]
) -> None:
    """Fill some places of a level."""
    pixels = out_height * out_width
    inside = index < 3 * pixels
    y = (index % pixels // out_width + 0.5) * (height / out_height) - 0.5
    x = (index % out_width + 0.5) * (width / out_width) - 0.5
    coarse = sample_plane(coarser + index // pixels * (height * width), x, y, height, width, inside)
    room = 1 - tl.load(level + 3 * pixels + index % pixels, mask=inside, other=1.0)
    tl.store(level + index, tl.load(level + index, mask=inside, other=0.0) + room * coarse, mask=inside)


@triton.jit
def sample_plane(
    plane: tl.tensor,  # [height, width]
    x: tl.tensor,  # px, pixel centres at integers
    y: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    mask: tl.tensor,
) -> tl.tensor:
    """Sample a plane bilinearly at positions, beyond the border as at it."""
    x = tl.minimum(tl.maximum(x, 0.0), width - 1)
    y = tl.minimum(tl.maximum(y, 0.0), height - 1)
    left = x.to(tl.int32)
    top = y.to(tl.int32)
    across = x - left
    down = y - top
    right = tl.minimum(left + 1, width - 1)
    upper = plane + top * width
    lower = plane + tl.minimum(top + 1, height - 1) * width
    above = tl.load(upper + left, mask=mask, other=0.0).to(tl.float32) * (1 - across)
    above += tl.load(upper + right, mask=mask, other=0.0).to(tl.float32) * across
    below = tl.load(lower + left, mask=mask, other=0.0).to(tl.float32) * (1 - across)
    below += tl.load(lower + right, mask=mask, other=0.0).to(tl.float32) * across
    return above * (1 - down) + below * down


@triton.jit(do_not_specialize=_SIZES)
def _make_coarse_levels(
    levels: tl.tensor,  # [...]: one of height and width, and room for those coarser than it; changed
    height: tl.tensor,
    width: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Average a level down to one pixel, and fill each level on the way back."""
    block = tl.arange(0, BLOCK)
    rows, columns = height, width
    level = levels
    coarser_levels = 0
    while (rows > 1) | (columns > 1):
        out_rows, out_columns = (rows + 1) // 2, (columns + 1) // 2
        coarser = level + 4 * rows * columns
        for start in range(0, 4 * out_rows * out_columns, BLOCK):
            _halve_pixels(level, coarser, rows, columns, out_rows, out_columns, start + block)
        tl.debug_barrier()  # the next level is made from this one
        rows, columns, level = out_rows, out_columns, coarser
        coarser_levels += 1
    weight = tl.maximum(tl.load(level + 3), 1e-6)
    for channel in tl.static_range(3):
        tl.store(level + channel, tl.load(level + channel) / weight)
    tl.debug_barrier()
    while coarser_levels > 0:
        coarser_levels -= 1
        rows, columns = height, width
        level = levels
        for _ in range(coarser_levels):
            level += 4 * rows * columns
            rows, columns = (rows + 1) // 2, (columns + 1) // 2
        coarser = level + 4 * rows * columns
        out_rows, out_columns = (rows + 1) // 2, (columns + 1) // 2
        for start in range(0, 3 * rows * columns, BLOCK):
            _fill_pixels(coarser, level, out_rows, out_columns, rows, columns, start + block)
        tl.debug_barrier()
