"""What the picture's edges cut off is continued, then warped in."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from spatialdreamer_core.dvg import forward_warp
from spatialdreamer_core.fill import fill_holes

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from spatialdreamer_core.frame_matrix import (
    FrameMatrixConfig,
    FrameMatrixFiller,
    FrameMatrixModel,
    fill_matrix,
)
from spatialdreamer_core.frame_matrix.views import Rendered, render_views
from spatialdreamer_core.svd import PixelCodec

from .tiny_matrix import SIZE, KnowsPictures

CONFIG = FrameMatrixConfig(
    views=2, steps=1, passes=1, reinjections=0, window=4, overlap=1, feather=0, last_view_from=0.0
)
ON = replace(CONFIG, outpaint="on")
SIDES = pytest.mark.parametrize(
    ("eye", "nearness", "edge"),
    [("right", 1, "right"), ("right", -1, "left"), ("left", 1, "left"), ("left", -1, "right")],
)


def make_scene(count=1, *, eye="right", nearness=1, shift=5.3):
    """A flat scene in front of the screen or behind it: its only holes are bands at one edge."""
    left = torch.rand(count, 3, *SIZE, generator=torch.Generator().manual_seed(2))
    disparity = torch.full((count, 1, *SIZE), nearness * shift)
    return left, *forward_warp(left, disparity, eye=eye), disparity


def band_of(edge, width):
    return (..., slice(0, width) if edge == "left" else slice(-width, None))


@SIDES
def test_the_band_that_enters_is_what_was_found_beyond_the_edge(model, eye, nearness, edge):
    """The only holes are bands, so the matrix itself has nothing left to do."""
    left, warped, hole, disparity = make_scene(eye=eye, nearness=nearness)
    assert hole[band_of(edge, 5)].all()
    assert not hole[band_of("right" if edge == "left" else "left", 5)].any()
    seen = []
    with model.svd.unet.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[1])):
        result = fill_matrix(model, left, warped, hole, disparity, ON, eye=eye).filled
    assert seen == [2], "one row of the panned source"
    known = (hole < 0.5).expand_as(warped)
    assert torch.equal(result[known], warped[known])
    assert (result - warped)[~known].abs().mean() > 0.1
    steps = []
    fill_matrix(
        model, left, warped, hole, disparity, ON, eye=eye, on_step=lambda *step: steps.append(step[:2])
    )
    assert steps[-1][0] == steps[-1][1]


@SIDES
def test_what_lies_beside_the_source_is_warped_in_where_the_view_has_holes(eye, nearness, edge):
    width, shift = SIZE[1], 6.0
    wide = torch.rand(1, 3, SIZE[0], width + 16, generator=torch.Generator().manual_seed(1))
    left, beside = wide[..., 8:-8], (wide[..., :8], wide[..., -8:])
    disparity = torch.full((1, 1, *SIZE), nearness * shift)
    warped, hole = forward_warp(left, disparity, eye=eye)
    start = 8 + (6 if edge == "right" else -6)
    frames = Rendered(left, warped, hole, disparity, beside)
    for planes in (0, 4):
        views = list(render_views(frames, views=3, eye=eye, planes=planes))
        assert torch.equal(views[0][0], left)
        torch.testing.assert_close(views[2][0], wide[..., start : start + width], rtol=0, atol=1e-5)
        middle = (start + 8) // 2
        torch.testing.assert_close(views[1][0], wide[..., middle : middle + width], rtol=0, atol=1e-5)
        assert not any(part.any() for _, part in views)
    grown = hole.clone()
    grown[..., 20:30, 30:40] = 1  # a mask that was refined
    *_, (_, left_over) = render_views(replace(frames, hole=grown), views=3, eye=eye, planes=0)
    assert left_over[..., 20:30, 30:40].all(), "what does not come from beside the source stays a hole"
    assert left_over.sum() == 100


def test_an_object_at_the_edge_is_continued_at_its_own_disparity(model):
    """A model that knows the panned picture: its band comes in by 8 px above and by 2 px below."""
    codec = PixelCodec(8, 2.0)
    wide = torch.rand(1, 3, 64, 80, generator=torch.Generator().manual_seed(3))
    wide = torch.nn.functional.avg_pool2d(wide, 5, 1, 2)
    left, panned = wide[..., :64], wide[..., 8:72]  # by a band of 8 px: four units of 2
    unet = KnowsPictures(model.svd.unet, codec.scaling * codec.encode(torch.cat([left, panned])))
    knowing = FrameMatrixModel(replace(model.svd, unet=unet, vae=codec))
    disparity = torch.full((1, 1, 64, 64), 2.0)
    disparity[..., :32, :] = 8.0
    warped, hole = forward_warp(left, disparity)
    config = replace(ON, steps=3, order="rows")
    result = fill_matrix(knowing, left, warped, hole, disparity, config).filled
    torch.testing.assert_close(result[..., :32, :], panned[..., :32, :], rtol=0, atol=2e-3)
    torch.testing.assert_close(result[..., 33:, :], wide[..., 33:, 2:66], rtol=0, atol=2e-3)


def test_bands_go_on_from_window_to_window_and_a_film_is_filled_as_a_clip_is(model):
    left, warped, hole, disparity = make_scene(7)
    seen = []
    with model.svd.unet.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[1])):
        clip = fill_matrix(model, left, warped, hole, disparity, ON).filled
    assert seen == [2, 4, 4], "the first frame's row, then one view of a finished frame and 3 new ones, twice"
    film = fill_holes(FrameMatrixFiller(model, ON), left=left, warped=warped, hole=hole, disparity=disparity)
    torch.testing.assert_close(film, clip, rtol=0, atol=1e-3)
    alone = fill_matrix(model, left[4:], warped[4:], hole[4:], disparity[4:], ON).filled
    assert not torch.equal(alone[0], clip[4]), "a window goes on from what was found before it"


def test_without_disparity_or_where_nothing_enters_there_is_nothing_to_continue(model):
    left, _, hole, disparity = make_scene(2)
    inner = torch.zeros_like(hole)
    inner[..., 10:30, 20:40] = 1
    for given in (None, 0 * disparity):
        with_band = fill_matrix(model, left, left * (1 - inner), inner, given, ON).filled
        without = fill_matrix(model, left, left * (1 - inner), inner, given, CONFIG).filled
        assert torch.equal(with_band, without)
