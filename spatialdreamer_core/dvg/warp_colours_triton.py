"""The part of the warp's kernel that finds the colours of a view's row, once its disparity is known.

All columns are gathered by the cubic kernel. Those at jumps of the disparity, and those that read a pixel
cleaned of what a foreground covers of it, are few and stand anywhere: they are listed, so that the threads of
a block then do these alone.

`rows.py` is the readable twin; `warp_disparity_triton.py` says what elements and chains are.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .cracks import JUMP
from .outlines import LEAST_SHARE
from .rows import FRONT_ODDS
from .warp_disparity_triton import GAP, NOWHERE, load_element, load_seen

_JUMP = tl.constexpr(JUMP)
_LEAST_SHARE = tl.constexpr(LEAST_SHARE)
_FRONT_ODDS = tl.constexpr(FRONT_ODDS)
# What a listed column is listed for, below its number.
_BLENDED = tl.constexpr(1)  # at a jump or a rim
_CLEANED = tl.constexpr(2)  # beside a cleaned pixel
_KINDS = tl.constexpr(4)


@triton.jit
def gather_columns(
    colour: tl.tensor,  # the source row
    channel_step: tl.tensor,
    column_step: tl.tensor,
    seen: tl.tensor,  # [W] px, `GAP` where nothing is seen
    bridged: tl.tensor,  # [W] px, instead of gaps
    shares: tl.tensor,  # [W]
    at_rims: tl.tensor,  # [W]
    view: tl.tensor,  # the view's row, result
    view_channel_step: tl.tensor,
    view_column_step: tl.tensor,
    hole: tl.tensor,  # the view's row, result
    disparity: tl.tensor,  # the view's row, result
    listed: tl.tensor,  # [W], result: columns to blend or to read cleaned, · 4 + what for, in any order
    counts: tl.tensor,  # 0; result: how many are listed
    exists: tl.tensor,  # [rows, 1]
    width: tl.tensor,
    sign: tl.tensor,
    WIDEN: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Gather the colours, holes and disparity of all columns, and list those that need more."""
    for start in range(0, width, BLOCK):
        column = start + tl.arange(0, BLOCK)[None, :]
        inside = exists & (column < width)
        here = load_seen(seen, bridged, column, inside)
        left = load_seen(seen, bridged, column - 1, inside & (column >= 1))
        right = load_seen(seen, bridged, column + 1, exists & (column + 1 < width))
        gap = here == GAP
        blended = (column >= 1) & (tl.abs(here - left) > _JUMP)
        blended = blended | ((column + 1 < width) & (tl.abs(right - here) > _JUMP))
        here = tl.where(gap, 0.0, here)
        tl.store(hole + column, gap.to(tl.float32), mask=inside)
        tl.store(disparity + column, here, mask=inside)
        from_1, t = _source_position(column, here, width, sign)
        cleaned = inside & False
        if WIDEN:
            blended = blended | (tl.load(at_rims + column, mask=inside, other=0) > 0)
            for tap in tl.static_range(4):
                source = tl.minimum(tl.maximum(from_1 + (tap - 1), 0), width - 1)
                cleaned = cleaned | (tl.load(shares + source) > 0)
        for channel in tl.static_range(3):
            plane = colour + channel * channel_step
            value = tl.zeros([ROWS, BLOCK], tl.float32)
            for tap in tl.static_range(4):
                source = tl.minimum(tl.maximum(from_1 + (tap - 1), 0), width - 1)
                own = tl.load(plane + source * column_step).to(tl.float32)
                value += _cubic_weight(t, tap) * own
            value = tl.where(gap, 0.0, tl.minimum(tl.maximum(value, 0.0), 1.0))
            tl.store(view + channel * view_channel_step + column * view_column_step, value, mask=inside)
        is_listed = inside & ~gap & (blended | cleaned)
        kinds = tl.where(blended, _BLENDED, 0) + tl.where(cleaned, _CLEANED, 0)
        counter = counts + tl.zeros([ROWS, BLOCK], tl.int32)
        place = tl.atomic_add(counter, 1, mask=is_listed, sem="relaxed")
        tl.store(listed + place, column * _KINDS + kinds, mask=is_listed)


@triton.jit
def _source_position(
    column: tl.tensor,
    disparity: tl.tensor,
    width: tl.tensor,
    sign: tl.tensor,
) -> tuple[tl.tensor, tl.tensor]:
    """Return the source column before the position that a column of the view shows, and how far before."""
    position = tl.minimum(tl.maximum(column - sign * disparity, 0.0), width - 1.0)
    before = tl.floor(position)
    return before.to(tl.int32), position - before


@triton.jit
def _cubic_weight(t: tl.tensor, tap: tl.constexpr) -> tl.tensor:
    """Return the weight of column tap - 1 for a position t in [0, 1) after column 0."""
    s = 1 - t
    bow = -0.5 * t * s
    if tap == 0:
        return bow * s
    elif tap == 1:
        return s + bow * t - 2 * bow * s
    elif tap == 2:
        return t + bow * s - 2 * bow * t
    else:
        return bow * t


@triton.jit
def blend_columns(
    colour: tl.tensor,  # the source row
    channel_step: tl.tensor,
    column_step: tl.tensor,
    seen: tl.tensor,  # [W] px, `GAP` where nothing is seen
    bridged: tl.tensor,  # [W] px, instead of gaps
    moves: tl.tensor,  # [2 W] px
    shares: tl.tensor,  # [W]
    heads: tl.tensor,  # [W + 1]
    links: tl.tensor,  # [2 W]
    view: tl.tensor,  # the view's row, result
    view_channel_step: tl.tensor,
    view_column_step: tl.tensor,
    disparity: tl.tensor,  # the view's row, result
    listed: tl.tensor,  # [W]
    counts: tl.tensor,  # how many of them are listed
    exists: tl.tensor,  # [rows, 1]
    width: tl.tensor,
    sign: tl.tensor,
    WIDEN: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Read cleaned pixels where there are some; blend surfaces at jumps: the twin is `rows._splat_at`."""
    count = tl.load(counts, mask=exists, other=0)
    for start in range(0, tl.max(count), BLOCK):
        place = start + tl.arange(0, BLOCK)[None, :]
        entry = tl.load(listed + place, mask=place < count, other=0)
        column = entry // _KINDS
        pixels = view + column * view_column_step
        if WIDEN:
            cleaned = (entry & _CLEANED) > 0
            if tl.max(cleaned.to(tl.int32)) > 0:
                here = load_seen(seen, bridged, column, cleaned)
                from_1, t = _source_position(column, here, width, sign)
                for channel in tl.static_range(3):
                    plane = colour + channel * channel_step
                    value = tl.zeros([ROWS, BLOCK], tl.float32)
                    for tap in tl.static_range(4):
                        source = tl.minimum(tl.maximum(from_1 + (tap - 1), 0), width - 1)
                        share = tl.load(shares + source, mask=cleaned, other=0.0)
                        own, _, _ = _load_colours(plane, column_step, source, share, cleaned, width, sign)
                        value += _cubic_weight(t, tap) * own
                    value = tl.minimum(tl.maximum(value, 0.0), 1.0)
                    tl.store(pixels + channel * view_channel_step, value, mask=cleaned)
                tl.debug_barrier()  # some of them are blended below
        blended = (entry & _BLENDED) > 0
        first = tl.load(heads + column, mask=blended, other=-1)
        second = tl.load(heads + column + 1, mask=blended, other=-1)
        # 1. How near the front surface is.
        nearest = tl.full([ROWS, BLOCK], NOWHERE, tl.float32)
        element, later = tl.where(first < 0, second, first), tl.where(first < 0, -1, second)
        while tl.max(element) >= 0:
            _, _, move, reach = load_element(element, column, moves, shares, width, sign)
            nearest = tl.where(reach > 0, tl.maximum(nearest, move), nearest)
            element = tl.load(links + element, mask=element >= 0, other=-1)
            element, later = tl.where(element < 0, later, element), tl.where(element < 0, -1, later)
        # 2. Both surfaces, each blended by nearness, and the background beside rims.
        farther = tl.full([ROWS, BLOCK], NOWHERE, tl.float32)
        cover = tl.zeros([ROWS, BLOCK], tl.float32)
        near, near_r, near_g, near_b, near_move = _zeros(ROWS, BLOCK)
        far, far_r, far_g, far_b, far_move = _zeros(ROWS, BLOCK)
        rim, rim_r, rim_g, rim_b, _ = _zeros(ROWS, BLOCK)
        element, later = tl.where(first < 0, second, first), tl.where(first < 0, -1, second)
        while tl.max(element) >= 0:
            source, is_rim, move, reach = load_element(element, column, moves, shares, width, sign)
            reaches = reach > 0
            in_front = reaches & (move >= nearest - _JUMP)
            behind = reaches & ~in_front
            cover += tl.where(in_front, reach, 0.0)
            gain = tl.where(in_front, reach * tl.exp(tl.minimum(move - nearest, 0.0)), 0.0)
            front = tl.where(behind, tl.maximum(farther, move), farther)
            kept = tl.exp(farther - front)
            far_gain = tl.where(behind, reach * tl.exp(tl.minimum(move - front, 0.0)), 0.0)
            farther = front
            near += gain
            far = far * kept + far_gain
            near_move += gain * move
            far_move = far_move * kept + far_gain * move
            share = tl.zeros([ROWS, BLOCK], tl.float32)
            rim_gain = tl.zeros([ROWS, BLOCK], tl.float32)
            if WIDEN:
                share = tl.load(shares + source, mask=reaches, other=0.0)
                rim_gain = tl.where(is_rim, reach, 0.0)
                rim += rim_gain
            for channel in tl.static_range(3):
                plane = colour + channel * channel_step
                own, of_front, beside = _load_colours(plane, column_step, source, share, reaches, width, sign)
                own = tl.where(is_rim, of_front, own)
                if channel == 0:
                    near_r += gain * own
                    far_r = far_r * kept + far_gain * own
                    rim_r += rim_gain * beside
                elif channel == 1:
                    near_g += gain * own
                    far_g = far_g * kept + far_gain * own
                    rim_g += rim_gain * beside
                else:
                    near_b += gain * own
                    far_b = far_b * kept + far_gain * own
                    rim_b += rim_gain * beside
            element = tl.load(links + element, mask=element >= 0, other=-1)
            element, later = tl.where(element < 0, later, element), tl.where(element < 0, -1, later)
        # 3. The front surface over the rest.
        lands = near > 0
        far_lands = far > 0
        cover = tl.minimum(cover, 1.0)
        near = tl.where(lands, near, 1.0)
        far = tl.where(far_lands, far, 1.0)
        surface = tl.where(far_lands & (cover < 0.5), far_move / far, near_move / near)
        tl.store(disparity + column, surface, mask=lands)
        cover = _FRONT_ODDS * cover / (1 + (_FRONT_ODDS - 1) * cover)
        is_rim = rim > 0
        cover = tl.where(far_lands | is_rim, cover, 1.0)
        rim = tl.where(is_rim, rim, 1.0)
        for channel in tl.static_range(3):
            front_sum = near_r if channel == 0 else near_g if channel == 1 else near_b
            far_sum = far_r if channel == 0 else far_g if channel == 1 else far_b
            rim_sum = rim_r if channel == 0 else rim_g if channel == 1 else rim_b
            front = front_sum / near
            back = tl.where(far_lands, far_sum / far, rim_sum / rim)
            tl.store(pixels + channel * view_channel_step, back + (front - back) * cover, mask=lands)


@triton.jit
def _zeros(
    ROWS: tl.constexpr, BLOCK: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """Return sums to begin with: of weights, of three colours, of disparities."""
    zero = tl.zeros([ROWS, BLOCK], tl.float32)
    return zero, zero, zero, zero, zero


@triton.jit
def _load_colours(
    plane: tl.tensor,
    column_step: tl.tensor,
    source: tl.tensor,
    share: tl.tensor,  # of the rim at each column, 0 where there is none
    wanted: tl.tensor,
    width: tl.tensor,
    sign: tl.tensor,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Load a column's colour, cleaned of its rim, and where it has one those in front of and behind it."""
    is_mixed = wanted & (share > 0)
    front_column = tl.minimum(tl.maximum(source + sign, 0), width - 1)
    behind_column = tl.minimum(tl.maximum(source - sign, 0), width - 1)
    own = tl.load(plane + source * column_step, mask=wanted, other=0.0).to(tl.float32)
    front = tl.load(plane + front_column * column_step, mask=is_mixed, other=0.0).to(tl.float32)
    behind = tl.load(plane + behind_column * column_step, mask=is_mixed, other=0.0).to(tl.float32)
    rest = (own - share * front) / tl.maximum(1 - share, _LEAST_SHARE)
    rest = tl.minimum(tl.maximum(rest, 0.0), 1.0)
    return tl.where(is_mixed, rest + (behind - rest) * share, own), front, behind
