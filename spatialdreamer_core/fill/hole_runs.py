"""Holes seen along rows: which side of a hole is background, and what is foreground beside it.

A hole opens where a near surface moved away from a far one, so in its row one end is foreground and the other
is background. The background end is the one with the smaller disparity; without disparity it is the side from
which the eye looks behind things: the right end for the right eye. All work is on hole pixels, which are few.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..dvg.eyes import Eye
from ..dvg.nonzero_pixels import nonzero_pixels, values_at

FOREGROUND_REACH = 32  # px; farther from a hole, nothing is kept from colouring it


class HoleRuns(NamedTuple):
    """What is known about each hole pixel of a frame; N hole pixels in row-major order, in R runs."""

    row: Tensor  # [N] int64
    column: Tensor  # [N] int64
    run: Tensor  # [N] int64, which run a pixel belongs to
    first: Tensor  # [R] int64, each run's first pixel
    source: Tensor  # [N] int64, column of the nearest background pixel in the row
    disparity: Tensor  # [N] px, of that background
    limit: Tensor  # [N] px; what has more disparity than this is foreground for this hole
    foreground: Tensor  # [H, W] bool, known pixels near a hole that must not colour it
    room: Tensor  # [R] px, how far each run's background reaches along its row


def find_runs(
    hole: Tensor,  # [H, W] bool
    disparity: Tensor | None,  # [H, W] px, of the rendered view; what it holds in holes is ignored
    *,
    eye: Eye,
) -> HoleRuns:
    """Find each hole pixel's background and the foreground beside the holes.

    A row without a single known pixel gets its own column as source and counts as background.
    """
    width = hole.shape[-1]
    row, column = nonzero_pixels(hole)
    starts = _is_first(row, column)
    run = starts.cumsum(0) - 1
    first = starts.nonzero()[:, 0]
    run_row, left = row[first], column[first] - 1
    ends = torch.cat([first[1:], first.new_tensor([len(row)])])[: len(first)] - 1
    right = column[ends] + 1
    beyond = _room_beside(run_row, left, right, width)

    left_disparity = _disparity_at(disparity, run_row, left, width, eye)
    right_disparity = _disparity_at(disparity, run_row, right, width, eye)
    no_source = (left < 0) & (right >= width)
    is_left = left_disparity <= right_disparity
    source = torch.where(is_left, left, right)
    background = torch.minimum(left_disparity, right_disparity).masked_fill(no_source, 0.0)
    limit = (left_disparity + right_disparity) / 2  # inf at the frame's border, where there is no foreground

    foreground = torch.zeros_like(hole)
    reach = torch.arange(FOREGROUND_REACH, device=hole.device)
    for i, beside in enumerate((left[:, None] - reach, right[:, None] + reach)):  # [runs, reach]
        inside = (beside >= 0) & (beside < width)
        seen = _disparity_at(disparity, run_row[:, None], beside, width, eye)
        is_foreground = inside & (seen > limit[:, None])
        at_run, at_step = nonzero_pixels(is_foreground)
        foreground[run_row[at_run], beside[at_run, at_step]] = True
        # What is farther away is not looked at.
        beyond[i] = beyond[i].scatter_reduce(0, at_run, at_step, "amin")
    foreground &= ~hole
    room = torch.where(is_left, beyond[0], beyond[1])
    source = torch.where(no_source[run], column, source[run])
    return HoleRuns(row, column, run, first, source, background[run], limit[run], foreground, room)


def _room_beside(row: Tensor, left: Tensor, right: Tensor, width: int) -> list[Tensor]:  # two of [R] px
    """Count the known pixels beside each run, to its left and its right, up to the next run or the border."""
    follows = row[1:] == row[:-1]
    to_left, to_right = left + 1, width - right
    to_left[1:] -= torch.where(follows, right[:-1], 0)
    to_right[:-1] -= torch.where(follows, width - left[1:] - 1, 0)
    return [to_left, to_right]


def _is_first(row: Tensor, column: Tensor) -> Tensor:
    """Tell which hole pixels, in row-major order, begin a run."""
    starts = torch.ones_like(row, dtype=torch.bool)
    starts[1:] = (row[1:] != row[:-1]) | (column[1:] != column[:-1] + 1)
    return starts


def _disparity_at(disparity: Tensor | None, row: Tensor, column: Tensor, width: int, eye: Eye) -> Tensor:
    """Look disparity up, inf outside of the frame; without any, a ramp that falls towards the far side."""
    if disparity is None:
        found = (-column if eye == "right" else column).float()
    else:
        found = values_at(disparity, row, column.clamp(0, width - 1))
    return found.masked_fill((column < 0) | (column >= width), torch.inf)
