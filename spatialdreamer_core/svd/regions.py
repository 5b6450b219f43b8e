"""Windows over frames and tiles over the picture: what is diffused at a time where a clip is too large.

Windows and tiles are spans along one axis each, with overlaps; a region is one window of one tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

MAX_WINDOW = 128  # frames


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


def _scale(span: range, factor: int) -> range:
    """Scale a span's ends."""
    return range(span.start * factor, span.stop * factor)
