from itertools import pairwise

import pytest
import torch

from spatialdreamer_core.svd.windows import blend_weights, cut_spans


def test_worked_example():
    spans = cut_spans(10, size=6, overlap=2)
    assert spans == [range(6), range(4, 10)]
    left, right = blend_weights(spans)
    assert left.tolist() == [1, 1, 1, 1, 0.75, 0.25]
    assert right.tolist() == [0.25, 0.75, 1, 1, 1, 1]


def test_spans_are_no_longer_than_it_takes():
    assert cut_spans(15, size=14, overlap=4) == [range(10), range(5, 15)]


@pytest.mark.parametrize("length", [1, 2, 5, 13, 14, 15, 27, 100])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 14])
@pytest.mark.parametrize("overlap", [0, 1, 3, 6, 20])
def test_spans_cover_the_axis_and_weights_sum_to_one(length, size, overlap):
    spans = cut_spans(length, size=size, overlap=overlap)
    assert spans[0].start == 0
    assert spans[-1].stop == length
    assert len({len(span) for span in spans}) == 1
    assert len(spans[0]) <= size
    for left, right in pairwise(spans):
        assert left.start < right.start <= left.stop - min(overlap, size // 2)
    total = torch.zeros(length)
    for span, weights in zip(spans, blend_weights(spans), strict=True):
        assert bool((weights > 0).all())
        total[span.start : span.stop] += weights
    torch.testing.assert_close(total, torch.ones(length))
