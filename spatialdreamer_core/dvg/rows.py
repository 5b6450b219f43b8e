"""Warp rows: splat the disparity, then gather the colours; at jumps of the disparity splat the colours.

A splat averages what lands on a pixel, which is right where surfaces meet and blurs their insides; a gather
keeps detail and cannot tell which colours belong together at an edge. So disparity is splatted (softmax
splatting, `splat.py`), which tells from which column each pixel of the view comes, and its colour is read
there with a cubic kernel (Keys 1981, a = -0.5). Within a pixel of a jump colours are splatted, front over
back.

The pixel after a foreground's outline, on the side where a hole opens, has some of the foreground's colour in
it: left where it is, it stays there as a dotted rim. So the foreground takes it along (`widen_foreground`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .cracks import bridge_cracks
from .marked import marked_pixels
from .splat import LEAST_WEIGHT, MAX_EXPONENT, Landing, land, splat_rows

MIN_COVERAGE = 0.5  # bilinear mass from which on a pixel counts as seen: its centre is
FRONT_ODDS = 2.0  # of the front surface at an outline; 1 is its share of the pixel, but its rim is soft
JUMP = 0.75  # px; neighbours in the view whose disparities differ by more belong to two surfaces


class WarpedRows(NamedTuple):
    """Rows of a rendered view."""

    colour: Tensor  # [C, H, W] in [0, 1], black in holes
    hole: Tensor  # [1, H, W] bool
    disparity: Tensor  # [1, H, W] px, of what is seen; 0 in holes


def warp_rows(
    colour: Tensor,  # [C, H, W] in [0, 1]
    disparity: Tensor,  # [1, H, W] px
    *,
    sign: int,
    widen: bool = True,
) -> WarpedRows:
    """Render rows of one eye's view; `sign` is -1 for the right eye (x' = x - d), +1 for the left one.

    `widen` is whether surfaces take the pixel at their trailing edge along (`widen_foreground`).
    """
    # 1. What is seen at each pixel of the view, by its disparity.
    if widen:
        disparity = widen_foreground(disparity, sign=sign)
    landing = land(disparity, sign=sign)
    seen, coverage = splat_rows(disparity, disparity, sign=sign, landing=landing)
    gap = coverage < MIN_COVERAGE
    bridge_cracks(seen, gap)
    # 2. The colours there.
    view = _gather_cubic(colour, seen, sign)
    # 3. Blended colours where surfaces meet.
    row, column = marked_pixels(_about_jumps(seen, gap)[0])
    blended, surface, lands = _splat_at(colour, disparity, landing, row, column)
    row, column = row[lands], column[lands]
    if colour.requires_grad:  # a view of a tensor without gradients cannot take values that have some
        seen = seen.clone()
    view[:, row, column], seen[0, row, column] = blended[:, lands], surface[lands]
    # 4. Holes.
    row, column = marked_pixels(gap[0])
    view[:, row, column], seen[:, row, column] = 0, 0
    return WarpedRows(view, gap, seen)


def widen_foreground(
    disparity: Tensor,  # [..., W] px
    *,
    sign: int,
) -> Tensor:  # [..., W] px
    """Let each surface take along the pixel after its trailing edge, beside which a hole opens.

        d'[x] = max(d[x], d[x-1])   for the right eye, and mirrored for the left one

    The pixel is a mix of both surfaces' colours. A second one is the background's own and would be lost.
    """
    wider = torch.maximum(disparity[..., :-1], disparity[..., 1:])
    edge = disparity[..., :1] if sign < 0 else disparity[..., -1:]
    return torch.cat([edge, wider] if sign < 0 else [wider, edge], dim=-1)


def _gather_cubic(colour: Tensor, seen: Tensor, sign: int) -> Tensor:  # [C, H, W]
    """Read each pixel of the view at x - sign · d of the source, between columns by a cubic kernel."""
    channels, _, width = colour.shape
    position = torch.arange(width, device=seen.device, dtype=seen.dtype).sub(seen, alpha=sign)
    position = position.clamp_(0, width - 1)
    left = position.floor()
    t = position.sub_(left)
    index = left.long().expand(channels, -1, -1)
    first, last = colour[..., :1], colour[..., -1:]
    padded = torch.cat([first, colour, last, last], dim=-1)
    view = None
    for tap, weight in enumerate(_cubic_weights(t)):
        value = padded[..., tap : tap + width].gather(-1, index)
        view = value.mul_(weight) if view is None else view.addcmul_(value, weight)
    assert view is not None
    return view.clamp_(0, 1)


def _cubic_weights(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights of the columns at -1, 0, 1 and 2 for a position t in [0, 1) after column 0."""
    s = 1 - t
    bow = (t * s).mul_(-0.5)
    outer_left, outer_right = bow * s, bow * t
    # The weights add up to 1, and their mean position is t.
    inner_left = (s + outer_right).sub_(outer_left, alpha=2)
    inner_right = (t + outer_left).sub_(outer_right, alpha=2)
    return outer_left, inner_left, inner_right, outer_right


def _about_jumps(seen: Tensor, gap: Tensor) -> Tensor:  # [1, H, W] bool
    """Mark both pixels at each jump of the disparity and at each border of a gap."""
    jump = (seen[..., 1:] - seen[..., :-1]).abs_() > JUMP
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
) -> tuple[Tensor, Tensor, Tensor]:  # [C, N], [N] px, [N] bool
    """Splat the colours of those pixels alone that land on the given ones, the front surface over the rest.

    The front surface covers a pixel as far as its bilinear weights reach, by `FRONT_ODDS`, which smooths its
    outline.

    Returns:
        The colours, the disparity of the surface that covers the pixel's centre, and where anything lands.
    """
    height, width = disparity.shape[-2:]
    bins, count = width + 3, len(row)
    slot = torch.full((1, height, bins), count, device=row.device)  # the last one is for all other pixels
    slot[0, row, column + 1] = torch.arange(count, device=row.device)
    wanted = slot < count
    lands = (wanted[..., :-1] | wanted[..., 1:]).gather(-1, landing.first)
    from_row, from_column = marked_pixels(lands[0])
    first, fraction = (part[0, from_row, from_column] for part in landing)
    target = torch.cat([slot[0, from_row, first], slot[0, from_row, first + 1]])
    share = torch.cat([1 - fraction, fraction])
    moved = disparity[0, from_row, from_column].repeat(2)
    in_front = moved >= _nearest(moved, target, share > 0, count)[target] - JUMP
    source = colour[:, from_row, from_column].repeat(1, 2)
    payload = torch.cat([source, moved[None], torch.ones_like(share)[None]])
    near, near_lands = _blend(payload, moved, target, share * in_front, count)
    far, far_lands = _blend(payload, moved, target, share * ~in_front, count)
    cover = colour.new_zeros(count + 1).index_add(0, target, share * in_front)[:count].clamp(max=1)
    surface = torch.where(far_lands & (cover < 0.5), far[-1], near[-1])
    cover = FRONT_ODDS * cover / (1 + (FRONT_ODDS - 1) * cover)
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
