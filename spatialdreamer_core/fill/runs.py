"""Holes seen along rows: which side of a hole is background, and what is foreground beside it.

A hole opens where a near surface moved away from a far one, so in its row one end is foreground and the
other is background. The background end is the one with the smaller disparity; without disparity it is the
side from which the eye looks behind things: the right end for the right eye.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..dvg.eyes import Eye

FOREGROUND_REACH = 32  # px; farther from a hole, nothing is kept from colouring it


class HoleRuns(NamedTuple):
    """What is known about each hole pixel of a frame; N hole pixels in row-major order."""

    row: Tensor  # [N] int64
    column: Tensor  # [N] int64
    source: Tensor  # [N] int64, column of the nearest background pixel in the row
    disparity: Tensor  # [N] px, of that background
    limit: Tensor  # [N] px; what has more disparity than this is foreground for this hole
    foreground: Tensor  # [H, W] bool, known pixels near a hole that must not colour it


def find_runs(
    hole: Tensor,  # [H, W] bool
    disparity: Tensor | None,  # [H, W] px, of the rendered view; what it holds in holes is ignored
    *,
    eye: Eye,
) -> HoleRuns:
    """Find each hole pixel's background and the foreground beside the holes.

    A row without a single known pixel gets its own column as source and counts as background.
    """
    height, width = hole.shape
    if disparity is None:
        # A ramp in which the side that the eye looks behind is always the farther one.
        ramp = torch.arange(width, device=hole.device, dtype=torch.float32).expand(height, width)
        disparity = -ramp if eye == "right" else ramp
    column = torch.arange(width, device=hole.device, dtype=torch.int32).expand(height, width)
    left_known = torch.where(hole, -1, column).cummax(-1).values
    right_known = torch.where(hole, width, column).flip(-1).cummin(-1).values.flip(-1)

    row, at = hole.nonzero(as_tuple=True)
    left, right = left_known[row, at].long(), right_known[row, at].long()
    no_left, no_right = left < 0, right >= width
    far = torch.inf
    left_disparity = disparity[row, left.clamp(min=0)].masked_fill(no_left, far)
    right_disparity = disparity[row, right.clamp(max=width - 1)].masked_fill(no_right, far)
    from_left = left_disparity <= right_disparity
    source = torch.where(from_left, left, right)
    background = torch.minimum(left_disparity, right_disparity)
    no_source = no_left & no_right
    source = torch.where(no_source, at, source)
    background = torch.where(no_source, 0.0, background)
    limit = (left_disparity + right_disparity) / 2  # inf at the frame's border, where there is no foreground

    foreground = torch.zeros_like(hole)
    limit_map = disparity.new_full(hole.shape, torch.inf)
    limit_map[row, at] = limit.to(disparity.dtype)
    left_hole = torch.where(hole, column, -1).cummax(-1).values
    right_hole = torch.where(hole, column, width).flip(-1).cummin(-1).values.flip(-1)
    for nearest, exists in ((left_hole, left_hole >= 0), (right_hole, right_hole < width)):
        near = exists & ((nearest - column).abs() <= FOREGROUND_REACH) & ~hole
        beside = limit_map.gather(-1, nearest.clamp(0, width - 1).long())
        foreground |= near & (disparity > beside)
    return HoleRuns(row, at, source, background, limit, foreground)
