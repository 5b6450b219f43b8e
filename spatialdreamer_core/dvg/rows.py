"""Warp rows: splat the disparity, then gather the colours; at jumps of the disparity splat the colours.

A splat averages what lands on a pixel, which is right where surfaces meet and blurs their insides; a gather
keeps detail and cannot tell which colours belong together at an edge. So disparity is splatted (softmax
splatting, `splat.py`), which tells from which column each pixel of the view comes, and its colour is read
there with a cubic kernel (`cubic.py`). Within a pixel of a jump colours are splatted, front over
back; what foregrounds cover of the mixed pixels at their outlines (`outlines.py`) is splatted with them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .cracks import JUMP, bridge_cracks
from .cubic import read_columns
from .nonzero_pixels import above, below, nonzero_pixels, values_at
from .outlines import LEAST_SHARE, Rim, find_outlines
from .splat import LEAST_WEIGHT, MAX_EXPONENT, Landing, land, splat_rows

MIN_COVERAGE = 0.5  # bilinear mass from which on a pixel counts as seen: its centre is
FRONT_ODDS = 1.5  # of the front surface at an outline; 1 is its share of the pixel, but its rim is soft


class WarpedRows(NamedTuple):
    """Rows of a rendered view."""

    colour: Tensor  # [C, H, W] in [0, highest], its first three channels black in holes
    hole: Tensor  # [1, H, W] bool
    disparity: Tensor  # [1, H, W] px, of what is seen; 0 in holes


def warp_rows(
    colour: Tensor,  # [C, H, W] in [0, highest]
    disparity: Tensor,  # [1, H, W] px
    *,
    sign: int,
    highest: float = 1.0,
    widen: bool = True,
    in_place: bool = False,
    out: Tensor | None = None,  # [C, H, W]
    seen_out: Tensor | None = None,  # [1, H, W]
) -> WarpedRows:
    """Render rows of one eye's view.

    Args:
        colour: Rows of the source view; a channel after the first three is only carried along.
        disparity: Their disparity.
        sign: -1 for the right eye (x' = x - d), +1 for the left one.
        highest: The largest value of a colour.
        widen: Whether surfaces take along what they cover of the pixel after their trailing edge
            (`outlines.py`).
        in_place: Whether the given colours may be changed, which saves a copy.
        out: What the view is written into, of the colours' type.
        seen_out: What its disparity is written into, of the disparity's type.
    """
    rim = None
    if widen:
        colour, disparity, rim = find_outlines(
            colour, disparity, sign=sign, highest=highest, in_place=in_place
        )
    # 1. What is seen at each pixel of the view, by its disparity.
    landing = land(disparity, sign=sign)
    seen, coverage = splat_rows(disparity, disparity, sign=sign, landing=landing, out=seen_out)
    gap = below(coverage, MIN_COVERAGE)
    at_rim = None if rim is None else _close_at_rim(seen, coverage, gap, rim)
    bridge_cracks(seen, gap, disparity, sign=sign)
    # 2. The colours there.
    view = _read_colours(colour, seen, sign, out).clamp_(0, highest)
    # 3. Blended colours where surfaces meet.
    about = _about_jumps(seen, gap)
    if at_rim is not None:
        about.view(-1)[at_rim] = True
    row, column = nonzero_pixels(about[0])
    blended, surface, lands = _splat_at(colour[:3], disparity, landing, row, column, rim)
    row, column = row[lands], column[lands]
    if colour.requires_grad:  # a view of a tensor without gradients cannot take values that have some
        seen = seen.clone()
    rgb = view[:3]
    rgb[:, row, column], seen[0, row, column] = blended[:, lands], surface[lands]
    # 4. Holes.
    row, column = nonzero_pixels(gap[0])
    rgb[:, row, column], seen[:, row, column] = 0, 0
    return WarpedRows(view, gap, seen)


def _close_at_rim(seen: Tensor, coverage: Tensor, gap: Tensor, rim: Rim) -> Tensor:  # [M] int64
    """Close gaps that a rim reaches, in `seen` and `gap` in place.

    Returns:
        Where a rim is seen, as positions in the flattened rows.
    """
    width = seen.shape[-1]
    column = torch.cat([rim.landing.first - 1, rim.landing.first])
    inside = (column >= 0) & (column < width)
    at = (rim.row.repeat(2) * width + column)[inside]
    share, disparity = rim.shares.detach()[inside], rim.disparity.detach().repeat(2)[inside]
    covered = coverage.new_zeros(coverage.numel()).index_add_(0, at, share)[at]
    nearest = coverage.new_full((coverage.numel(),), -torch.inf).scatter_reduce_(0, at, disparity, "amax")
    closed = gap.view(-1)[at] & (
        (covered >= LEAST_SHARE) | (coverage.reshape(-1)[at] + covered >= MIN_COVERAGE)
    )
    row, column = at[closed] // width, at[closed] % width
    seen[0, row, column], gap[0, row, column] = nearest[at[closed]], False
    return at[(covered > 0) & ~gap.view(-1)[at]]


def _read_colours(colour: Tensor, seen: Tensor, sign: int, out: Tensor | None) -> Tensor:  # [C, H, W]
    """Read each pixel of the view at x - sign · d of the source, between columns by a cubic kernel."""
    width = colour.shape[-1]
    position = torch.arange(width, device=seen.device, dtype=seen.dtype).sub(seen, alpha=sign)
    return read_columns(colour, position.clamp_(0, width - 1), out=out)


def _about_jumps(seen: Tensor, gap: Tensor) -> Tensor:  # [1, H, W] bool
    """Mark both pixels at each jump of the disparity and at each border of a gap."""
    jump = above((seen[..., 1:] - seen[..., :-1]).abs_(), JUMP)
    jump |= gap[..., 1:] != gap[..., :-1]
    marked = torch.zeros_like(gap)
    marked[..., 1:] |= jump
    marked[..., :-1] |= jump
    return marked


def _splat_at(
    colour: Tensor,  # [C, H, W]
    disparity: Tensor,  # [1, H, W] px
    landing: Landing,
    row: Tensor,  # [N]
    column: Tensor,  # [N]
    rim: Rim | None,
) -> tuple[Tensor, Tensor, Tensor]:  # [C, N], [N] px, [N] bool
    """Splat the colours of those pixels alone that land on the given ones, the front surface over the rest.

    The front surface covers a pixel as far as its bilinear weights reach, by `FRONT_ODDS`, which smooths its
    outline. Where nothing lands behind a rim, there is more of the background beside it.

    Returns:
        The colours, the disparity of the surface that covers the pixel's centre, and where anything lands.
    """
    height, width = disparity.shape[-2:]
    bins, count = width + 3, len(row)
    slot = torch.full((height, bins), count, device=row.device)  # the last one is for all other pixels
    slot[row, column + 1] = torch.arange(count, device=row.device)
    wanted = torch.zeros(height, bins, dtype=torch.bool, device=row.device)
    wanted[row, column] = wanted[row, column + 1] = True  # bins that share a pixel with the next one
    from_row, from_column = nonzero_pixels(wanted.gather(-1, landing.first[0]))
    first, fraction = (values_at(part[0], from_row, from_column) for part in landing)
    target = torch.cat([values_at(slot, from_row, first + n) for n in (0, 1)])
    share = torch.cat([1 - fraction, fraction])
    moved = values_at(disparity[0], from_row, from_column).repeat(2)
    source = values_at(colour, from_row, from_column).repeat(1, 2)
    if rim is not None:
        rim_target = torch.cat([values_at(slot, rim.row, rim.landing.first + n) for n in (0, 1)])
        target, share = torch.cat([target, rim_target]), torch.cat([share, rim.shares])
        moved = torch.cat([moved, rim.disparity.repeat(2)])
        source = torch.cat([source, rim.front[:3].repeat(1, 2)], dim=1)
    in_front = moved >= _nearest(moved, target, share > 0, count)[target] - JUMP
    payload = torch.cat([source, moved[None], torch.ones_like(share)[None]])
    near, near_lands = _blend(payload, moved, target, share * in_front, count)
    far, far_lands = _blend(payload, moved, target, share * ~in_front, count)
    cover = colour.new_zeros(count + 1).index_add(0, target, share * in_front)[:count].clamp(max=1)
    surface = torch.where(far_lands & (cover < 0.5), far[-1], near[-1])
    cover = FRONT_ODDS * cover / (1 + (FRONT_ODDS - 1) * cover)
    if rim is not None:
        payload = torch.cat([rim.behind[:3].repeat(1, 2), torch.ones_like(rim.shares)[None]])
        behind, is_rim = _blend(payload, torch.zeros_like(rim.shares), rim_target, rim.shares, count)
        far = torch.where(far_lands, far, torch.cat([behind, far[-1:]]))
        far_lands = far_lands | is_rim
    blended = torch.where(far_lands, torch.lerp(far[:-1], near[:-1], cover), near[:-1])
    return blended, surface, near_lands


def _blend(
    payload: Tensor,  # [C, M], the last channel 1
    disparity: Tensor,  # [M] px
    target: Tensor,  # [M] int64, the slot that each lands in
    share: Tensor,  # [M], bilinear weights; 0 for what is to be left out
    count: int,
) -> tuple[Tensor, Tensor]:  # [C - 1, count], [count] bool
    """Average what lands in each slot by b · exp(d), as `splat_rows` does; tell where anything lands."""
    nearest = _nearest(disparity, target, share > 0, count)
    weight = (disparity - nearest[target]).clamp(-MAX_EXPONENT, 0).exp() * share
    sums = payload.new_zeros(len(payload), count + 1).index_add(1, target, payload * weight)[:, :count]
    return sums[:-1] / sums[-1:].clamp(min=LEAST_WEIGHT), sums[-1] > 0


def _nearest(disparity: Tensor, target: Tensor, reaches: Tensor, count: int) -> Tensor:  # [count + 1] px
    """Find the largest disparity that reaches each slot, -inf where none does."""
    nearest = disparity.new_full((count + 1,), -torch.inf)
    reaching = disparity.detach().masked_fill(~reaches, -torch.inf)
    return nearest.scatter_reduce_(0, target, reaching, "amax")
