"""How a clip that is too large is cut: windows, tiles, regions and chunks.

A *window* is a number of frames that a model sees together, a *tile* a part of the picture in pixels or
latents, a *region* one window of one tile. Neighbours overlap and are blended there, so all three change the
result. A *chunk* is a number of frames that are processed at once although none depends on the others: it
bounds the memory and never changes the result.

An axis is cut into spans in one of two ways. `spans_in_turn` starts each span a fixed overlap before the end
of what is finished; sampling needs this, as its windows all have one length. `cut_spans` spreads as few spans
as possible evenly over the axis, for the VAE, whose windows and tiles may be shorter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise, product

import torch
from torch import Tensor

from .model import LATENT_FACTOR

MAX_WINDOW = 128  # frames
_LEAST_TILE = 32  # latents; smaller tiles show the model too little of a picture
_TILE_OVERLAP = 4  # a tile shares one part in so many of its side with its neighbour


@dataclass(frozen=True)
class Region:
    """A box of a clip's latents [F, C, h, w]."""

    frames: range
    rows: range
    columns: range

    @property
    def picture_size(self) -> tuple[int, int]:
        """Height and width."""
        return len(self.rows), len(self.columns)

    def cut(self, clip: Tensor) -> Tensor:
        """Return this region's view of a tensor [F, C, h, w]."""
        return self.cut_frame(clip[self.frames.start : self.frames.stop])

    def cut_frame(self, frames: Tensor) -> Tensor:
        """Return this region's rows and columns of a tensor [..., h, w]."""
        rows, columns = self.rows, self.columns
        return frames[..., rows.start : rows.stop, columns.start : columns.stop]

    def scaled(self, factor: int) -> Region:
        """Return the region in pixels of a picture that is this many times larger."""
        return Region(self.frames, _scale(self.rows, factor), _scale(self.columns, factor))


@dataclass(frozen=True)
class Tile:
    """A part of a picture, and how much it counts where it lies over others."""

    rows: range  # of the picture at the size that the weights have
    columns: range
    weights: Tensor  # [len(rows), len(columns)], in [0, 1]

    def scaled(self, factor: int) -> tuple[slice, slice]:
        """Return rows and columns of a picture that is this many times larger."""
        return (
            slice(self.rows.start * factor, self.rows.stop * factor),
            slice(self.columns.start * factor, self.columns.stop * factor),
        )


@dataclass(frozen=True)
class Plan:
    """How much is diffused at a time."""

    window: int  # frames
    overlap: int  # frames shared with the window before
    tile: int = 0  # latents, side of a square tile; 0: the whole picture
    factor: int = LATENT_FACTOR  # px of a latent, each side, for messages

    @property
    def tile_overlap(self) -> int:
        """Latents that a tile shares with the ones before it: a quarter of its side."""
        return self.tile // 4

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of a region of a picture."""
        return min(self.tile or height, height), min(self.tile or width, width)

    def cut(self, frames: int, height: int, width: int) -> tuple[list[range], list[range], list[range]]:
        """Cut frames, rows and columns into spans; each three of them make a region."""
        rows, columns = (
            list(spans_in_turn(side, self.tile or side, self.tile_overlap)) for side in (height, width)
        )
        return list(spans_in_turn(frames, self.window, self.overlap)), rows, columns

    def regions(self, frames: int, height: int, width: int) -> list[Region]:
        """List the regions of a clip."""
        return [Region(*spans) for spans in product(*self.cut(frames, height, width))]

    def count(self, frames: int, height: int, width: int) -> int:
        """Count the regions of a clip."""
        return math.prod(map(len, self.cut(frames, height, width)))

    def smaller(self, frames: int, height: int, width: int) -> Plan | None:
        """Return a plan that takes about half of the memory: half the window, then half the tile; or None."""
        window = min(self.window, frames)
        if window > 4:
            return replace(self, window=window // 2, overlap=min(self.overlap, window // 4))
        tile = max(self.sides(height, width)) // 2 // 8 * 8  # what four levels of a UNet halve
        if tile >= _LEAST_TILE:
            return replace(self, tile=tile)
        return None

    def __str__(self) -> str:
        """Describe the plan for the log."""
        tile = f"tiles of {self.tile * self.factor} px" if self.tile else "whole pictures"
        return f"windows of {self.window} frames, {tile}"


def next_span(done: int, length: int, size: int, overlap: int) -> range:
    """Return the next span of an axis, given how far it is done.

    The last span is moved back to its full size, so its overlap may be larger.

    Args:
        done: How many elements are finished; the span begins `overlap` before, and at 0 if none are.
        length: Of the axis.
        size: Of a span; a shorter axis is one span.
        overlap: Elements shared with what is finished, less than `size`.
    """
    assert 0 <= done < length, (done, length)
    assert 0 <= overlap < size, (overlap, size)
    start = max(0, min(done - overlap, length - size)) if done else 0
    return range(start, min(start + size, length))


def spans_in_turn(length: int, size: int, overlap: int) -> Iterator[range]:
    """Yield the spans that cover an axis, in order, see `next_span`."""
    done = 0
    while done < length:
        span = next_span(done, length, size, overlap)
        yield span
        done = span.stop


def ramp(
    span: range,
    done: int,
) -> Tensor:  # [len(span)] in [0, 1]
    """Weigh what is finished along a span: it falls from 1 to 0 over the elements that are done already."""
    count = max(0, done - span.start)
    weights = torch.zeros(len(span))
    weights[:count] = torch.linspace(1, 0, count + 2)[1:-1]
    return weights


def cut_spans(length: int, *, size: int, overlap: int) -> list[range]:
    """Cut an axis into as few spans as will do, none longer than `size`.

    Args:
        length: Of the axis, at least 1; one that is no longer than `size` is one span.
        size: The most elements of a span, at least 1.
        overlap: The fewest elements that neighbours share, at least 0; more than half a span becomes half.
    """
    assert length >= 1, length
    assert size >= 1, size
    assert overlap >= 0, overlap
    if length <= size:
        return [range(length)]
    overlap = min(overlap, size // 2)
    count = -(-(length - overlap) // (size - overlap))
    size = -(-(length + (count - 1) * overlap) // count)  # no longer than it takes
    starts = [i * (length - size) // (count - 1) for i in range(count)]
    return [range(start, start + size) for start in starts]


def blend_weights(spans: list[range]) -> list[Tensor]:  # each [len(span)], float32
    """Weigh each span's elements; the weights of all spans at one place sum to 1."""
    weights = [torch.ones(len(span)) for span in spans]
    for i, (left, right) in enumerate(pairwise(spans)):
        shared = left.stop - right.start
        if shared:
            rise = (torch.arange(shared) + 0.5) / shared
            weights[i][-shared:] = torch.minimum(weights[i][-shared:], rise.flip(0))
            weights[i + 1][:shared] = torch.minimum(weights[i + 1][:shared], rise)
    total = torch.zeros(spans[-1].stop)
    for span, weight in zip(spans, weights, strict=True):
        total[span.start : span.stop] += weight
    return [weight / total[span.start : span.stop] for span, weight in zip(spans, weights, strict=True)]


def cut_tiles(height: int, width: int, *, tile: int, step: int = 1) -> list[Tile]:
    """Cut a picture into overlapping tiles whose weights sum to 1 everywhere.

    Args:
        height: Of the picture.
        width: Of the picture.
        tile: Side of a tile; 0 for the whole picture, which a tile that is as large gives too.
        step: Tiles begin and end at multiples of it; it divides all the sizes.
    """
    rows, columns = (_cut_side(side // step, tile // step, step) for side in (height, width))
    return [
        Tile(y, x, row_weights[:, None] * column_weights)
        for y, row_weights in rows
        for x, column_weights in columns
    ]


def _cut_side(length: int, size: int, step: int) -> list[tuple[range, Tensor]]:
    """Cut a side, given in steps, and return spans and weights in full."""
    spans = cut_spans(length, size=size or length, overlap=size // _TILE_OVERLAP)
    spans = [range(span.start * step, span.stop * step) for span in spans]
    return list(zip(spans, blend_weights(spans), strict=True))


def _scale(span: range, factor: int) -> range:
    """Scale a span's ends."""
    return range(span.start * factor, span.stop * factor)
