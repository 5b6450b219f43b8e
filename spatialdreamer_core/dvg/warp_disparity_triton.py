"""The part of the warp's kernel that finds the disparity seen at each column of a view's row.

Everything that lands in a row is an *element* of one kind: what comes from source column x, moves by d, and
has the share α of a pixel, so that it lands at x + sign · (d + (1 - α) / 2). A pixel has α = 1 and the number
x; what a foreground covers of the pixel after its trailing edge (a rim, `outlines.py`) has the number
width + x. Elements that land between the same two columns are chained: `heads` has the last one of each
chain, `links` leads from each to the one before, -1 ends it. So a column finds all that reaches it in the
chains before and after it, without sorting.

`rows.py` and what it calls are the readable twins, `tests/…/dvg/test_warp_triton.py` compares.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .cracks import JUMP, MAX_CRACK
from .outlines import COLOUR_NOISE, LEAST_SHARE, LEAST_STEP
from .rows import MIN_COVERAGE

GAP = tl.constexpr(1e30)  # px, instead of a disparity where nothing is seen
NOWHERE = tl.constexpr(-1e30)  # px, farther than any disparity
_JUMP = tl.constexpr(JUMP)
_LEAST_STEP = tl.constexpr(LEAST_STEP)
_COLOUR_NOISE = tl.constexpr(COLOUR_NOISE)
_LEAST_SHARE = tl.constexpr(LEAST_SHARE)
_MIN_COVERAGE = tl.constexpr(MIN_COVERAGE)
assert MAX_CRACK == 2  # `bridge_gaps` looks at two columns on either side


@triton.jit
def find_elements(
    colour: tl.tensor,  # the source row
    channel_step: tl.tensor,
    column_step: tl.tensor,
    disparity: tl.tensor,  # the source row, px
    disparity_step: tl.tensor,
    moves: tl.tensor,  # [2 W] px, result: of pixels, then of rims
    shares: tl.tensor,  # [W], result: α of the rim at each column, 0 where there is none
    heads: tl.tensor,  # [W + 1], result: empty chains
    exists: tl.tensor,  # [rows, 1]
    width: tl.tensor,
    sign: tl.tensor,
    WIDEN: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Find by how much each column moves, and the rims: the twin is `outlines.find_outlines`."""
    for start in range(0, width + 1, BLOCK):
        column = start + tl.arange(0, BLOCK)[None, :]
        inside = exists & (column < width)
        tl.store(heads + column, -1, mask=exists & (column <= width))
        own = tl.load(disparity + column * disparity_step, mask=inside, other=0.0).to(tl.float32)
        move = own
        if WIDEN:
            front = tl.minimum(tl.maximum(column + sign, 0), width - 1)
            near = tl.load(disparity + front * disparity_step, mask=inside, other=0.0).to(tl.float32)
            move = tl.maximum(own, near)
            steps = inside & (move - own > _LEAST_STEP)
            share = tl.zeros([ROWS, BLOCK], tl.float32)
            if tl.max(steps.to(tl.int32)) > 0:
                fronter = tl.minimum(tl.maximum(column + 2 * sign, 0), width - 1)
                behind = tl.minimum(tl.maximum(column - sign, 0), width - 1)
                before = tl.load(disparity + fronter * disparity_step, mask=steps, other=0.0).to(tl.float32)
                after = tl.load(disparity + behind * disparity_step, mask=steps, other=0.0).to(tl.float32)
                clean = steps & (before - near <= _JUMP) & (tl.abs(after - own) <= _JUMP)
                move = tl.where(clean, own, move)
                along = tl.zeros([ROWS, BLOCK], tl.float32)
                contrast = tl.zeros([ROWS, BLOCK], tl.float32)
                for channel in tl.static_range(3):
                    plane = colour + channel * channel_step
                    f = tl.load(plane + front * column_step, mask=clean, other=0.0).to(tl.float32)
                    c = tl.load(plane + column * column_step, mask=clean, other=0.0).to(tl.float32)
                    b = tl.load(plane + behind * column_step, mask=clean, other=0.0).to(tl.float32)
                    along += (c - b) * (f - b)
                    contrast += (f - b) * (f - b)
                share = along / (contrast + _COLOUR_NOISE)
                share = tl.where(clean & (share > _LEAST_SHARE), tl.minimum(share, 1.0), 0.0)
                tl.store(moves + width + column, near, mask=share > 0)
            tl.store(shares + column, share, mask=inside)
        tl.store(moves + column, move, mask=inside)


@triton.jit
def chain_elements(
    moves: tl.tensor,  # [2 W] px
    shares: tl.tensor,  # [W]
    heads: tl.tensor,  # [W + 1], empty; result
    links: tl.tensor,  # [2 W], result
    exists: tl.tensor,  # [rows, 1]
    width: tl.tensor,
    sign: tl.tensor,
    WIDEN: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Chain the elements that land between the same two columns; chain c ends before column c."""
    for start in range(0, width, BLOCK):
        column = start + tl.arange(0, BLOCK)[None, :]
        inside = exists & (column < width)
        move = tl.load(moves + column, mask=inside, other=0.0)
        _chain(column, column + sign * move, inside, heads, links, width)
        if WIDEN:
            share = tl.load(shares + column, mask=inside, other=0.0)
            if tl.max((share > 0).to(tl.int32)) > 0:
                near = tl.load(moves + width + column, mask=share > 0, other=0.0)
                target = column + sign * (near + (1 - share) * 0.5)
                _chain(width + column, target, share > 0, heads, links, width)


@triton.jit
def _chain(
    element: tl.tensor,
    target: tl.tensor,
    wanted: tl.tensor,
    heads: tl.tensor,
    links: tl.tensor,
    width: tl.tensor,
) -> None:
    """Make each element the head of its chain, linked to the head before it."""
    lands = wanted & (target >= -1) & (target < width)
    chain = tl.floor(tl.where(lands, target, 0.0)).to(tl.int32) + 1
    before = tl.atomic_xchg(heads + chain, element, mask=lands, sem="relaxed")
    tl.store(links + element, before, mask=lands)


@triton.jit
def load_element(
    element: tl.tensor,  # -1 for none
    column: tl.tensor,  # of the view
    moves: tl.tensor,
    shares: tl.tensor,
    width: tl.tensor,
    sign: tl.tensor,
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """Return an element's source column, whether it is a rim, its disparity, and its share of a column."""
    is_rim = element >= width
    source = tl.where(is_rim, element - width, element)
    move = tl.load(moves + element, mask=element >= 0, other=0.0)
    share = tl.load(shares + source, mask=is_rim, other=1.0)
    reach = share * (1 - tl.abs(source + sign * (move + (1 - share) * 0.5) - column))
    return source, is_rim, move, tl.where(element >= 0, reach, 0.0)


@triton.jit
def see_columns(
    moves: tl.tensor,  # [2 W] px
    shares: tl.tensor,  # [W]
    heads: tl.tensor,  # [W + 1]
    links: tl.tensor,  # [2 W]
    seen: tl.tensor,  # [W] px, result: `GAP` where nothing is seen
    at_rims: tl.tensor,  # [W], result: 1 where a rim is seen
    exists: tl.tensor,  # [rows, 1]
    width: tl.tensor,
    sign: tl.tensor,
    WIDEN: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Splat the disparity, and close the gaps that rims reach: `splat.splat_rows`, `rows._close_at_rim`.

    Sums of a softmax are scaled down when a nearer element comes (Milakov and Gimelshein 2018, arXiv
    1805.02867), so no exponent can overflow, whatever the disparities.
    """
    for start in range(0, width, BLOCK):
        column = start + tl.arange(0, BLOCK)[None, :]
        inside = exists & (column < width)
        first = tl.load(heads + column, mask=inside, other=-1)
        second = tl.load(heads + column + 1, mask=inside, other=-1)
        nearest = tl.full([ROWS, BLOCK], NOWHERE, tl.float32)
        weight = tl.zeros([ROWS, BLOCK], tl.float32)
        total = tl.zeros([ROWS, BLOCK], tl.float32)
        covered = tl.zeros([ROWS, BLOCK], tl.float32)
        rim = tl.full([ROWS, BLOCK], NOWHERE, tl.float32)
        covered_by_rims = tl.zeros([ROWS, BLOCK], tl.float32)
        last = 0
        while last >= 0:  # until both chains have ended for all columns; one element of each at a time
            _, is_rim, move, reach = load_element(first, column, moves, shares, width, sign)
            _, is_rim_2, move_2, reach_2 = load_element(second, column, moves, shares, width, sign)
            first = tl.load(links + first, mask=first >= 0, other=-1)
            second = tl.load(links + second, mask=second >= 0, other=-1)
            if WIDEN:
                covered_by_rims += tl.where(is_rim, reach, 0.0) + tl.where(is_rim_2, reach_2, 0.0)
                rim = tl.where(is_rim, tl.maximum(rim, move), rim)
                rim = tl.where(is_rim_2, tl.maximum(rim, move_2), rim)
                reach, reach_2 = tl.where(is_rim, 0.0, reach), tl.where(is_rim_2, 0.0, reach_2)
            covered += reach + reach_2
            move, move_2 = tl.where(reach > 0, move, NOWHERE), tl.where(reach_2 > 0, move_2, NOWHERE)
            front = tl.maximum(nearest, tl.maximum(move, move_2))
            kept = tl.exp(nearest - front)
            gain = tl.maximum(reach, 0.0) * tl.exp(move - front)
            gain_2 = tl.maximum(reach_2, 0.0) * tl.exp(move_2 - front)
            weight = weight * kept + (gain + gain_2)
            total = total * kept + (gain * move + gain_2 * move_2)
            nearest = front
            last = tl.max(tl.maximum(first, second))
        result = total / tl.where(weight > 0, weight, 1.0)
        gap = covered < _MIN_COVERAGE
        if WIDEN:
            closed = gap & ((covered_by_rims >= _LEAST_SHARE) | (covered + covered_by_rims >= _MIN_COVERAGE))
            result = tl.where(closed, rim, result)
            gap = gap & ~closed
            tl.store(at_rims + column, ((covered_by_rims > 0) & ~gap).to(tl.int32), mask=inside)
        tl.store(seen + column, tl.where(gap, GAP, result), mask=inside)


@triton.jit
def bridge_gaps(
    seen: tl.tensor,  # [W] px, `GAP` where nothing is seen
    moves: tl.tensor,  # [2 W] px
    bridged: tl.tensor,  # [W] px, result: of gaps alone, `GAP` where they stay
    exists: tl.tensor,  # [rows, 1]
    width: tl.tensor,
    sign: tl.tensor,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Fill gaps of one or two columns: the twin is `cracks.bridge_cracks`."""
    for start in range(0, width, BLOCK):
        column = start + tl.arange(0, BLOCK)[None, :]
        inside = exists & (column < width)
        here = tl.load(seen + column, mask=inside, other=0.0)
        gap = here == GAP
        if tl.max(gap.to(tl.int32)) > 0:
            left = tl.load(seen + column - 1, mask=gap & (column >= 1), other=GAP)
            is_near = left != GAP
            to_left = tl.where(is_near, 1.0, 2.0)
            left = tl.where(is_near, left, tl.load(seen + column - 2, mask=gap & (column >= 2), other=GAP))
            right = tl.load(seen + column + 1, mask=gap & (column + 1 < width), other=GAP)
            is_near = right != GAP
            to_right = tl.where(is_near, 1.0, 2.0)
            beyond = tl.load(seen + column + 2, mask=gap & (column + 2 < width), other=GAP)
            right = tl.where(is_near, right, beyond)
            crack = gap & (left != GAP) & (right != GAP) & (to_left + to_right <= 3)
            left, right = tl.where(crack, left, 0.0), tl.where(crack, right, 0.0)
            bridge = left + (right - left) * (to_left / (to_left + to_right))
            position = tl.minimum(tl.maximum(column - sign * bridge, 0.0), width - 1.0)
            before = tl.load(moves + tl.floor(position).to(tl.int32), mask=crack, other=0.0)
            after = tl.load(moves + tl.ceil(position).to(tl.int32), mask=crack, other=0.0)
            crack = crack & (tl.maximum(before, after) <= tl.maximum(left, right) + _JUMP)
            tl.store(bridged + column, tl.where(crack, bridge, GAP), mask=gap)


@triton.jit
def load_seen(
    seen: tl.tensor,  # [W] px
    bridged: tl.tensor,  # [W] px
    column: tl.tensor,
    wanted: tl.tensor,
) -> tl.tensor:
    """Load the disparity at each column, `GAP` where nothing is seen; 0 where it is not wanted."""
    here = tl.load(seen + column, mask=wanted, other=0.0)
    return tl.where(here == GAP, tl.load(bridged + column, mask=here == GAP, other=GAP), here)
