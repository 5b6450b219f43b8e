from functools import partial

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.dvg import render_pair
from spatialdreamer_core.dvg.pair import extend_background
from spatialdreamer_core.fill import fast_fill
from spatialdreamer_core.metrics.clips import make_clip
from spatialdreamer_core.metrics.views import masked_psnr


@pytest.fixture(scope="module")
def clip():
    """Give three frames of layers under a moving camera."""
    return make_clip("translate_right", size=(96, 160), frames=3)


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_view_lies_on_the_truth_where_it_is_known(clip, side):
    depth = clip.inverse_depth.clamp(0, 1)
    pair = render_pair(clip.frames, depth, side=side, inpaint=partial(fast_fill, eye=side), divergence=5)
    known = pair.hole < 0.5
    assert 0.02 < float(pair.hole.mean()) < 0.3
    assert masked_psnr(pair.view, clip.frames, known) > 28
    assert not pair.view[~known.expand_as(pair.view)].any()
    assert (pair.reference - clip.frames).abs().mean() > 0.01, "x2 is another view"


@pytest.mark.parametrize(("side", "opens"), [("right", "left"), ("left", "right")])
def test_holes_open_on_either_side_of_near_things(side, opens):
    image = torch.full((1, 3, 8, 64), 0.4)
    depth = torch.zeros(1, 1, 8, 64)
    image[..., 24:40], depth[..., 24:40] = 0.9, 1.0
    pair = render_pair(
        image, depth, side=side, inpaint=partial(fast_fill, eye=side), divergence=10, convergence=0
    )
    columns = pair.hole[0, 0, 4].nonzero().flatten()
    columns = columns[(columns > 8) & (columns < 56)]
    expected = range(18, 24) if opens == "left" else range(40, 46)
    assert set(columns.tolist()) <= set(expected)
    assert len(columns) >= 5


def test_both_sides_mirror_each_other(clip):
    depth = clip.inverse_depth.clamp(0, 1)[:1]
    fill = lambda view, hole: view + 0.3 * hole  # noqa: E731
    right = render_pair(clip.frames[:1], depth, side="right", inpaint=fill)
    left = render_pair(clip.frames[:1].flip(-1), depth.flip(-1), side="left", inpaint=fill)
    assert torch.allclose(left.view.flip(-1), right.view, atol=1e-4)
    assert torch.equal(left.hole.flip(-1), right.hole)


def test_background_is_the_farther_side():
    disparity = torch.tensor([5.0, 0, 0, 1, 0, 0]).view(1, 1, 1, 6)
    hole = torch.tensor([0.0, 1, 1, 0, 1, 1]).view(1, 1, 1, 6)
    assert extend_background(disparity, hole).flatten().tolist() == [5, 1, 1, 1, 1, 1]
    assert not extend_background(disparity, torch.ones_like(hole)).any(), "a row of holes lies on the screen"


def test_errors():
    with pytest.raises(InputError, match="divergence must be between"):
        render_pair(
            torch.rand(1, 3, 4, 8), torch.rand(1, 1, 4, 8), inpaint=lambda view, hole: view, divergence=99
        )
