from functools import partial

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.fill import FastFill, render_back, render_pair
from spatialdreamer_core.fill.pair import extend_background
from spatialdreamer_core.metrics.clips import make_clip
from spatialdreamer_core.metrics.views import masked_psnr


class Changes:
    """A filler that makes of each frame what it is told."""

    refines_holes = False

    def __init__(self, change):
        self.change = change

    def open(self, *, eye, size):
        return self

    def push(self, frame):
        return [self.change(frame)]

    def finish(self):
        return []


@pytest.fixture(scope="module")
def clip():
    """Give three frames of layers under a moving camera."""
    return make_clip("translate_right", size=(96, 160), frames=3)


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_view_lies_on_the_truth_where_it_is_known(clip, side):
    depth = clip.inverse_depth.clamp(0, 1)
    pair = render_pair(clip.frames, depth, side=side, divergence=5)
    known = pair.hole < 0.5
    assert 0.02 < float(pair.hole.mean()) < 0.3
    assert masked_psnr(pair.warped, clip.frames, known) > 28
    assert not pair.warped[~known.expand_as(pair.warped)].any()
    assert (pair.reference - clip.frames).abs().mean() > 0.01, "x2 is another view"


@pytest.mark.parametrize(("side", "opens"), [("right", "left"), ("left", "right")])
def test_holes_open_on_either_side_of_near_things(side, opens):
    image = torch.full((1, 3, 8, 64), 0.4)
    depth = torch.zeros(1, 1, 8, 64)
    image[..., 24:40], depth[..., 24:40] = 0.9, 1.0
    pair = render_pair(image, depth, side=side, divergence=10, convergence=0)
    columns = pair.hole[0, 0, 4].nonzero().flatten()
    columns = columns[(columns > 8) & (columns < 56)]
    expected = range(18, 24) if opens == "left" else range(40, 46)
    assert set(columns.tolist()) <= set(expected)
    assert len(columns) >= 5


def test_depth_is_carried_along_and_holes_show_the_background():
    image = torch.full((1, 3, 8, 64), 0.4)
    depth = torch.zeros(1, 1, 8, 64)
    image[..., 24:40], depth[..., 24:40] = 0.9, 1.0
    for side, near in (("right", slice(18, 34)), ("left", slice(30, 46))):
        pair = render_pair(image, depth, side=side, divergence=10, convergence=0)
        expected = torch.zeros(64)
        expected[near] = 6.4  # px: all of the divergence, 10 % of the width
        error = (pair.reference_disparity[0, 0, 4] - expected).abs()
        assert error.max() < 0.05, "softmax splatting leaves a little of what is behind"
        assert pair.reference[0, 0, 4, near].median() == pytest.approx(0.9)


def test_the_holes_of_the_two_sides_lie_on_both_sides_of_an_object(clip):
    depth = clip.inverse_depth.clamp(0, 1)[:1]
    holes = {
        side: render_pair(clip.frames[:1], depth, side=side, divergence=5).hole for side in ("right", "left")
    }
    nearer_right = torch.nn.functional.pad(depth, (0, 12)).unfold(-1, 13, 1).amax(-1) > depth + 0.2
    nearer_left = torch.nn.functional.pad(depth, (12, 0)).unfold(-1, 13, 1).amax(-1) > depth + 0.2
    for side, beside, opposite in (("right", nearer_right, nearer_left), ("left", nearer_left, nearer_right)):
        assert holes[side][beside & ~opposite].mean() > 5 * holes[side][opposite & ~beside].mean()


def test_the_mask_has_what_neighbouring_frames_could_not_see(clip):
    depth = clip.inverse_depth.clamp(0, 1)
    render = partial(render_pair, divergence=5)
    alone = torch.cat([render(clip.frames[t : t + 1], depth[t : t + 1]).hole for t in range(3)])
    together = render(clip.frames, depth)
    assert torch.equal(render(clip.frames, depth, refine=False).hole, alone)
    assert (together.hole >= alone).all()
    assert together.hole.mean() > alone.mean()
    assert set(together.hole.unique().tolist()) == {0.0, 1.0}


def test_both_sides_mirror_each_other(clip):
    depth = clip.inverse_depth.clamp(0, 1)[:1]
    lighter = Changes(lambda frame: frame.warped + 0.3 * frame.hole)
    right = render_pair(clip.frames[:1], depth, side="right", filler=lighter)
    left = render_pair(clip.frames[:1].flip(-1), depth.flip(-1), side="left", filler=lighter)
    assert torch.allclose(left.warped.flip(-1), right.warped, atol=1e-4)
    assert torch.equal(left.hole.flip(-1), right.hole)


def test_any_filler_fills_the_other_view(clip):
    depth = clip.inverse_depth.clamp(0, 1)[:1]
    grey = Changes(lambda frame: torch.where(frame.hole > 0.5, 0.5, frame.warped))
    pair = render_pair(clip.frames[:1], depth, filler=grey, divergence=5)
    fast = render_pair(clip.frames[:1], depth, filler=FastFill(), divergence=5)
    assert torch.equal(fast.reference, render_pair(clip.frames[:1], depth, divergence=5).reference), "default"
    changed = (pair.reference != fast.reference).any(1)
    assert (pair.reference[:, :, changed[0]] == 0.5).all()
    assert changed.float().mean() > 0.01


def test_background_is_the_farther_side():
    disparity = torch.tensor([5.0, 0, 0, 1, 0, 0]).view(1, 1, 1, 6)
    hole = torch.tensor([0.0, 1, 1, 0, 1, 1]).view(1, 1, 1, 6)
    assert extend_background(disparity, hole).flatten().tolist() == [5, 1, 1, 1, 1, 1]
    assert not extend_background(disparity, torch.ones_like(hole)).any(), "a row of holes lies on the screen"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"divergence": 99}, "divergence must be between"),
        ({"convergence": -1}, "convergence must be between"),
        ({"side": "both"}, "side must be one of right, left, got 'both'"),
        ({"depth": torch.full((1, 1, 4, 8), torch.nan)}, "`depth` must be finite"),
        ({"depth": torch.full((1, 1, 4, 8), 3.0)}, r"`depth` must be inverse depth in \[0, 1\]"),
        ({"depth": torch.rand(1, 1, 4, 9)}, "must have the size of `frames`"),
        ({"depth": torch.rand(2, 1, 4, 8)}, "must have as many frames as `frames`"),
        ({"filler": Changes(lambda f: f.warped[..., 1:])}, r"of the view's size, \(3, 4, 8\), but Changes"),
        ({"filler": Changes(lambda f: f.warped * torch.nan)}, "must return values in .*Changes returned nan"),
    ],
)
def test_errors(changes, message):
    arguments = {"depth": torch.rand(1, 1, 4, 8), **changes}
    with pytest.raises(InputError, match=message):
        render_pair(torch.rand(1, 3, 4, 8), arguments.pop("depth"), **arguments)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_share_of_the_way_back_moves_by_that_share_of_the_disparity(side):
    image = torch.full((1, 3, 8, 64), 0.4)
    depth = torch.zeros(1, 1, 8, 64)
    image[..., 24:40], depth[..., 24:40] = 0.9, 1.0
    settings = {"side": side, "divergence": 12.5, "convergence": 0}  # 8 px
    begins = {}
    for way_back in (0.5, 1.0, 2.0):
        pair = render_pair(image, depth, way_back=way_back, **settings)
        bright = (pair.warped[0, 0, 4] > 0.7).nonzero().flatten()
        begins[way_back] = int(bright[0])
        assert len(bright) == 16
        hole = pair.hole[0, 0, 4, 4:-4]
        assert int(hole.sum()) == pytest.approx(8 * way_back, abs=1)
    away = -8 if side == "right" else 8
    assert begins == {0.5: 24 + away // 2, 1.0: 24, 2.0: 24 - away}


def test_the_whole_way_back_is_the_papers_and_any_other_leaves_x2_as_it_is(clip):
    depth = clip.inverse_depth.clamp(0, 1)
    usual = render_pair(clip.frames, depth, divergence=5)
    for part, same in zip(usual, render_pair(clip.frames, depth, divergence=5, way_back=1.0), strict=True):
        assert torch.equal(part, same)
    half = render_pair(clip.frames, depth, divergence=5, way_back=0.5)
    assert torch.equal(half.reference, usual.reference)
    assert half.hole.mean() < 0.8 * usual.hole.mean()
    again = render_back(usual.reference, usual.reference_disparity, side="right", way_back=0.5)
    assert torch.equal(again[0], half.warped)
    assert torch.equal(again[1], half.hole)


@pytest.mark.parametrize("way_back", [0.2, 4.1, float("nan")])
def test_a_way_back_out_of_range_is_told(way_back):
    with pytest.raises(InputError, match=r"way_back must be between 0\.25 and 4 \(of the disparity\), got"):
        render_pair(torch.rand(1, 3, 4, 8), torch.rand(1, 1, 4, 8), way_back=way_back)
