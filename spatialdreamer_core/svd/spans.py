"""An axis cut into overlapping spans, and the weights that blend what was computed for each of them.

Chunks of frames and tiles of pictures are made of these. All spans of an axis have one length and are spread
evenly; the weights fall linearly over what two spans share, and sum to 1 everywhere.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor


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
