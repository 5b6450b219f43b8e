"""Warp rows: splat the disparity, then gather the colours; at jumps of the disparity splat the colours.

A splat averages what lands on a pixel, which is right where surfaces meet and blurs their insides; a gather
keeps detail and cannot tell which colours belong together at an edge. So disparity is splatted (softmax
splatting, `splat.py`), which tells from which column each pixel of the view comes, and its colour is read
there with a cubic kernel (Keys 1981, a = -0.5). Within a pixel of a jump colours are splatted, front over
back.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .cracks import bridge_cracks, drop_strays
from .splat import LEAST_WEIGHT, Landing, add_up, land

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
) -> WarpedRows:
    """Render rows of one eye's view; `sign` is -1 for the right eye (x' = x - d), +1 for the left one."""
    # 1. What is seen at each pixel of the view, by its disparity.
    landing = land(disparity, sign=sign)
    weight, coverage = add_up(landing.weight, landing.bins), add_up(landing.share, landing.bins)
    carried = (landing.weight[0] * disparity, landing.weight[1] * disparity)
    seen = add_up(carried, landing.bins) / weight.clamp(min=LEAST_WEIGHT)
    seen, gap = bridge_cracks(seen[..., 1:-2], coverage[..., 1:-2] < MIN_COVERAGE)
    # 2. The colours there.
    view = _gather_cubic(colour, seen, sign)
    # 3. Blended colours where surfaces meet.
    row, column = _about_jumps(seen, gap)[0].nonzero(as_tuple=True)
    blended, surface, lands = _splat_at(colour, disparity, landing, row, column)
    row, column = row[lands], column[lands]
    view[:, row, column], seen[0, row, column] = blended[:, lands], surface[lands]
    # 4. Holes.
    hole = drop_strays(gap)
    row, column = hole[0].nonzero(as_tuple=True)
    view[:, row, column], seen[:, row, column] = 0, 0
    return WarpedRows(view, hole, seen)


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
    lands = wanted.gather(-1, landing.bins[0]) | wanted.gather(-1, landing.bins[1])
    from_row, from_column = lands[0].nonzero(as_tuple=True)
    target = torch.cat([slot[0, from_row, index[0, from_row, from_column]] for index in landing.bins])
    share, weight = (
        torch.cat([part[0, from_row, from_column] for part in pair])
        for pair in (landing.share, landing.weight)
    )
    moved = disparity[0, from_row, from_column].repeat(2)
    front = disparity.new_full((count + 1,), -torch.inf)
    front = front.scatter_reduce(0, target, moved.masked_fill(share == 0, -torch.inf), "amax")
    in_front = moved >= front[target] - JUMP
    source = colour[:, from_row, from_column].repeat(1, 2)
    payload = torch.cat([source, moved[None], torch.ones_like(weight)[None]])
    near, far = (
        colour.new_zeros(len(payload), count + 1).index_add(1, target, payload * part)[:, :count]
        for part in (weight * in_front, weight * ~in_front)
    )
    cover = colour.new_zeros(count + 1).index_add(0, target, share * in_front)[:count].clamp(max=1)
    near, near_lands = near[:-1] / near[-1:].clamp(min=LEAST_WEIGHT), near[-1] > 0
    far, far_lands = far[:-1] / far[-1:].clamp(min=LEAST_WEIGHT), far[-1] > 0
    surface = torch.where(far_lands & (cover < 0.5), far[-1], near[-1])
    cover = FRONT_ODDS * cover / (1 + (FRONT_ODDS - 1) * cover)
    blended = torch.where(far_lands, torch.lerp(far[:-1], near[:-1], cover), near[:-1])
    return blended, surface, near_lands
