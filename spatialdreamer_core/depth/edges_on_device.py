"""The edges of depth (`edges.py`) as torch operations, so that depth on a GPU stays there.

Dense: what OpenCV's side does to the few pixels at edges is done to all and kept at edges alone. On CUDA the
windows and the median are kernels (`edges_triton.py`); elsewhere a disc is made of shifted rows.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ..kernels import use_kernels
from .edges import CONTRAST, FOREGROUND, MOVED, disc

_KERNEL_RADIUS = 8  # px; a larger square is looked at along rows and columns one after the other
_STRIP_PIXELS = 1 << 18  # the median looks at 25 times as many values at once


def steepen_on_device(values: Tensor, *, radius: int) -> Tensor:  # twice [F, 1, H, W]
    """Do as `steepen_edges`."""
    if radius <= _KERNEL_RADIUS and use_kernels(values):
        from .edges_triton import work_on_edges_triton

        return work_on_edges_triton(values, (radius,) * (2 * radius + 1), rule="steepen")
    both = torch.cat([values, -values], dim=1)
    size = 2 * radius + 1
    for kernel in ((1, size), (size, 1)):
        both = F.max_pool2d(both, kernel, stride=1, padding=(kernel[0] // 2, kernel[1] // 2))
    low, spread = -both[:, 1:], both.sum(dim=1, keepdim=True)
    snapped = low + torch.minimum((2.5 * (values - low) - 0.75 * spread).clamp(min=0), spread)
    return values + _share(spread) * (snapped - values)


def snap_on_device(depth: Tensor, *, radius: int) -> Tensor:  # twice [F, 1, H, W]
    """Do as `snap_edges`."""
    halves = half_widths(radius)
    if use_kernels(depth):
        from .edges_triton import smooth_moved_triton, work_on_edges_triton

        return smooth_moved_triton(depth, work_on_edges_triton(depth, halves, rule="snap"))
    low, high = -_largest(-depth, halves), _largest(depth, halves)
    spread = high - low
    snapped = torch.where(depth > low + FOREGROUND * spread, high, low)
    result = depth + _share(spread) * (snapped - depth)
    return torch.where((result - depth).abs() > MOVED, _median(result), result)


def dilate_on_device(depth: Tensor, *, radius: int) -> Tensor:  # twice [F, 1, H, W]
    """Do as `dilate_foreground`."""
    halves = half_widths(radius)
    if use_kernels(depth):
        from .edges_triton import work_on_edges_triton

        return work_on_edges_triton(depth, halves, rule="dilate")
    rise = _largest(depth, halves) - depth
    return depth + _share(rise) * rise


def _share(spread: Tensor) -> Tensor:
    """Return how far an edge of that height is worked on: 0 up to an edge's contrast, 1 from twice it on."""
    return (spread / CONTRAST - 1).clamp(0, 1)


@cache
def half_widths(radius: int) -> tuple[int, ...]:
    """Return how far a disc reaches to either side in each of its rows."""
    return tuple(int(row.sum()) // 2 for row in disc(radius))


def _largest(values: Tensor, halves: tuple[int, ...]) -> Tensor:  # [F, 1, H, W]
    """Find the largest value in a disc about each pixel, within the frame."""
    radius, height = len(halves) // 2, values.shape[-2]
    largest = values
    for half in sorted(set(halves)):
        along_rows = F.max_pool2d(values, (1, 2 * half + 1), stride=1, padding=(0, half))
        for down in range(-radius, radius + 1):
            if halves[down + radius] == half and abs(down) < height:
                to, source = max(0, -down), max(0, down)
                rest = height - abs(down)
                shifted = along_rows.narrow(-2, source, rest)
                found = torch.maximum(largest.narrow(-2, to, rest), shifted)
                largest = torch.cat([largest[..., :to, :], found, largest[..., to + rest :, :]], dim=-2)
    return largest


def _median(values: Tensor) -> Tensor:  # [F, 1, H, W]
    """Take the median of 5x5 pixels about each one, beyond the border as at it."""
    height, width = values.shape[-2:]
    padded = F.pad(values, (2, 2, 2, 2), mode="replicate")
    rows = max(1, _STRIP_PIXELS // width)
    strips = []
    for top in range(0, height, rows):
        windows = F.unfold(padded[..., top : top + rows + 4, :], 5)
        strips.append(windows.median(dim=1).values.view(len(values), 1, -1, width))
    return torch.cat(strips, dim=-2)
