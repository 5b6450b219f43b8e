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
    row, column, to_left, to_right = _find_cracks(gap[0])
    share = to_left / (to_left + to_right)
    left_value, right_value = seen[0, row, column - to_left], seen[0, row, column + to_right]
    bridge = torch.lerp(left_value, right_value, share.to(seen.dtype))
    position = (column - sign * bridge.detach()).clamp(0, width - 1)
    before, after = (disparity[0, row, there.long()] for there in (position.floor(), position.ceil()))
    is_bridge = torch.maximum(before, after) <= torch.maximum(left_value, right_value) + JUMP
    row, column = row[is_bridge], column[is_bridge]
    seen[0, row, column] = bridge[is_bridge]
    gap[0, row, column] = False


def _find_cracks(gap: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # [H, W] bool -> four of [N] int64
    """Find the pixels of short gaps: rows, columns, and how far the known pixels beside each gap are."""
    width, known = gap.shape[-1], ~gap
    found = []
    for length in range(1, min(MAX_CRACK, width - 2) + 1):
        begins = known[:, : -length - 1] & known[:, length + 1 :]  # and ends, by what is known beside it
        for n in range(length):
            begins &= gap[:, 1 + n : width - length + n]
        row, before = nonzero_pixels(begins)
        for n in range(1, length + 1):
            to_left = torch.full_like(row, n)
            found.append((row, before + n, to_left, length + 1 - to_left))
    if not found:
        nothing = torch.zeros(0, dtype=torch.int64, device=gap.device)
        return nothing, nothing, nothing, nothing
    row, column, to_left, to_right = (torch.cat(parts) for parts in zip(*found, strict=True))
    return row, column, to_left, to_right
