"""Cracks in stretched surfaces, a flaw of every splat."""

from __future__ import annotations

import torch
from torch import Tensor

from .nonzero_pixels import nonzero_pixels

MAX_CRACK = 2  # px
JUMP = 0.75  # px; neighbours whose disparities differ by more belong to two surfaces


def bridge_cracks(
    seen: Tensor,  # [1, H, W] px, disparity of the view
    gap: Tensor,  # [1, H, W] bool
    disparity: Tensor,  # [1, H, W] px, of the source view
    *,
    sign: int,
) -> None:
    """Fill gaps of at most `MAX_CRACK` px between two known pixels of a row linearly, both in place.

    But not the gap that a hair has left: its colour would be read where the hair was, and show it once more.
    """
    width = seen.shape[-1]
    known = ~gap[0]
    row, column = nonzero_pixels(gap[0])
    to_left = _distance_to_known(known, row, column, -1)
    to_right = _distance_to_known(known, row, column, 1)
    is_crack = to_left + to_right <= MAX_CRACK + 1
    row, column, to_left, to_right = (part[is_crack] for part in (row, column, to_left, to_right))
    share = to_left / (to_left + to_right)
    left_value = seen[0, row, (column - to_left).clamp(min=0)]
    right_value = seen[0, row, (column + to_right).clamp(max=width - 1)]
    bridge = torch.lerp(left_value, right_value, share.to(seen.dtype))
    position = (column - sign * bridge.detach()).clamp(0, width - 1)
    before, after = (disparity[0, row, there.long()] for there in (position.floor(), position.ceil()))
    is_bridge = torch.maximum(before, after) <= torch.maximum(left_value, right_value) + JUMP
    row, column = row[is_bridge], column[is_bridge]
    seen[0, row, column] = bridge[is_bridge]
    gap[0, row, column] = False


def _distance_to_known(known: Tensor, row: Tensor, column: Tensor, step: int) -> Tensor:
    """Count the pixels to the next known one in a row's direction; MAX_CRACK + 1 where it is farther."""
    width = known.shape[-1]
    distance = torch.full_like(column, MAX_CRACK + 1)
    for n in range(MAX_CRACK, 0, -1):
        neighbour = column + n * step
        inside = (neighbour >= 0) & (neighbour < width)
        distance[inside & known[row, neighbour.clamp(0, width - 1)]] = n
    return distance
