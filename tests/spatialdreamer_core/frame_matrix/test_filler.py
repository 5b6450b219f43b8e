"""The frame matrix on a tiny SVD: clips and films, with and without disparity, and what it refuses."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.dvg import dilate_hole, forward_warp
from spatialdreamer_core.fill import CheckedStream, RenderedFrame, fill_holes

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from spatialdreamer_core.frame_matrix import (
    FrameMatrixConfig,
    FrameMatrixFiller,
    FrameMatrixModel,
    fill_matrix,
)
from spatialdreamer_core.frame_matrix.scene import next_count
from spatialdreamer_core.frame_matrix.views import render_view
from spatialdreamer_core.svd import PixelCodec

from .. import tiny_svd
from .tiny_matrix import SIZE, KnowsPictures
from .tiny_matrix import make_scene as scene

CONFIG = FrameMatrixConfig(
    views=3, steps=1, passes=2, reinjections=0, window=4, overlap=1, feather=0, last_view_from=0.0
)


@pytest.fixture
def passes(model):
    """Note how many frames the UNet sees at a time."""
    seen = []
    handle = model.svd.unet.register_forward_hook(lambda module, given, output: seen.append(len(given[0][0])))
    yield seen
    handle.remove()


def check_filled(result, warped, hole):
    known = (hole < 0.5).expand_as(warped)
    assert torch.equal(result[known], warped[known])
    assert not torch.equal(result[~known], warped[~known])
    assert result.isfinite().all()
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize("eye", ["right", "left"])
def test_a_clip_is_filled_and_seeds_reproduce(model, passes, eye):
    left, warped, hole, disparity = scene(3, eye=eye)
    result = fill_matrix(model, left, warped, hole, disparity, CONFIG, eye=eye)
    check_filled(result.filled, warped, hole)
    assert result.views is None
    # The first frame over the views alone, twice; then two views over 3 frames, and 2 new frames over views.
    assert passes == [3] * 2 + [3] * 2 + [3] * 2
    if eye == "left":
        return
    again = fill_matrix(model, left, warped, hole, disparity, CONFIG, eye=eye)
    assert torch.equal(result.filled, again.filled)
    other = fill_matrix(model, left, warped, hole, disparity, replace(CONFIG, seed=1), eye=eye)
    assert not torch.equal(result.filled, other.filled)


def test_all_views_come_from_the_source_to_the_filled_view(model):
    left, warped, hole, disparity = scene(3)
    result = fill_matrix(model, left, warped, hole, disparity, CONFIG, keep_views=True)
    assert result.views.shape == (3, 3, 3, *SIZE)
    assert torch.equal(result.views[0], left)
    assert torch.equal(result.views[-1], result.filled)
    between, gap = render_view(left, disparity, 0.5, eye="right", planes=CONFIG.planes)
    known = (gap < 0.5).expand_as(left)
    assert torch.equal(result.views[1][known], between[known]), "at the size and precision of the clip"
    assert not torch.equal(result.views[1][~known], between[~known])
    nothing = fill_matrix(model, left, left, 0 * hole, 0 * disparity, CONFIG, keep_views=True)
    torch.testing.assert_close(nothing.views, left.expand(3, -1, -1, -1, -1), rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    ("count", "views", "expected"),
    [(1, 3, [3, 3]), (2, 2, [2, 2, 2, 2]), (3, 1, [3, 3]), (1, 1, [1, 1])],
)
def test_short_clips_and_few_views(model, passes, count, views, expected):
    left, warped, hole, disparity = scene(count)
    result = fill_matrix(model, left, warped, hole, disparity, replace(CONFIG, views=views))
    check_filled(result.filled, warped, hole)
    assert passes == expected


def test_without_holes_nothing_is_denoised_and_all_may_be_a_hole(model, passes):
    left, warped, hole, disparity = scene(2)
    assert torch.equal(fill_matrix(model, left, warped, 0 * hole, disparity, CONFIG).filled, warped)
    assert passes == []
    result = fill_matrix(model, left, 0 * warped, torch.ones_like(hole), disparity, CONFIG)
    assert result.filled.isfinite().all()
    assert result.filled.std() > 0


def test_a_film_is_filled_as_a_clip_is_and_windows_carry_on_finished_frames(model, passes):
    left, warped, hole, disparity = scene(7)
    seen = []
    filler = FrameMatrixFiller(model, CONFIG, on_step=lambda done, total, clean: seen.append(clean[0, 0]))
    result = fill_holes(filler, left=left, warped=warped, hole=hole, disparity=disparity)
    check_filled(result, warped, hole)
    assert result.shape == warped.shape
    # 1 frame and the 3 after it, then 3 new ones after 1 finished one
    assert passes == [3, 3] + [4, 4, 3, 3, 3] * 2
    codec = model.svd.codec
    canvas = torch.cat([left, left[..., -1:, :].expand(-1, -1, 16, -1)], dim=-2)
    for frame, cell in ((0, seen[0]), (0, seen[1]), (3, seen[-1])):
        known = codec.scaling * codec.encode(canvas[frame : frame + 1].half().float())[0]
        torch.testing.assert_close(cell, known, rtol=1e-3, atol=1e-3)


def test_frames_without_disparity_are_filled_over_time_alone_and_the_log_says_so_once(model, passes, caplog):
    left, warped, hole, _ = scene(6)
    with caplog.at_level(logging.WARNING):
        result = fill_holes(FrameMatrixFiller(model, CONFIG), left=left, warped=warped, hole=hole)
    check_filled(result, warped, hole)
    assert passes == [4, 4, 3, 3]
    assert caplog.text.count("the right view alone is filled") == 1


def test_scenes_are_apart_in_a_film(model):
    filler = FrameMatrixFiller(model, replace(CONFIG, views=2, passes=1))
    stream = CheckedStream(filler, eye="right", size=SIZE)
    counts = []
    for seed in (0, 1):
        frames = [RenderedFrame(*parts) for parts in zip(*scene(5, seed=seed), strict=True)]
        counts.append([len(stream.push(frame)) for frame in frames] + [len(stream.finish())])
    assert counts == [[0, 0, 0, 0, 0, 5]] * 2


@pytest.mark.parametrize(
    ("frames", "expected"),
    [(3, [3]), (4, [4]), (5, [3, 2]), (6, [4, 2]), (7, [4, 3]), (20, [4] * 5), (21, [4] * 4 + [3, 2])],
)
def test_no_scene_ends_in_a_short_window(frames, expected):
    taken, waiting = [], 0
    for _ in range(frames):
        waiting += 1
        if count := next_count(waiting, 4, ended=False):
            taken.append(count)
            waiting -= count
    while waiting:
        taken.append(next_count(waiting, 4, ended=True))
        waiting -= taken[-1]
    assert taken == expected
    cut, left = [], frames
    while left:
        cut.append(next_count(left, 4, ended=True))
        left -= cut[-1]
    assert cut == taken, "films are cut as clips are"


def test_known_pixels_are_put_into_the_estimate_and_rows_read_both_ways(model):
    left, warped, hole, disparity = scene(1)
    config = replace(CONFIG, views=2, steps=3, reinjections=1)
    results = [
        fill_matrix(model, left, warped, hole, disparity, options).filled
        for options in (config, replace(config, reinjections=0), replace(config, rows="both_ways"))
    ]
    for result in results:
        check_filled(result, warped, hole)
    assert not torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_what_a_model_knows_comes_into_the_hole_and_nowhere_else(model):
    """Scales of latents, noise and v, the canvas and its padding: any mistake would show in the picture."""
    picture = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(3))
    codec = PixelCodec(8, 2.0)
    canvas = torch.cat([picture, picture[..., -1:, :].expand(-1, -1, 16, -1)], dim=-2)
    unet = KnowsPictures(model.svd.unet, codec.scaling * codec.encode(canvas))
    knowing = FrameMatrixModel(replace(model.svd, unet=unet, vae=codec))
    left = picture.expand(5, -1, -1, -1)
    hole = torch.zeros(5, 1, *SIZE)
    hole[..., 10:40, 20:45] = 1
    warped, disparity = left * (1 - hole), torch.zeros_like(hole)
    config = replace(CONFIG, steps=3, reinjections=1, rows="both_ways")
    result = fill_matrix(knowing, left, warped, hole, disparity, config)
    torch.testing.assert_close(result.filled, left, rtol=0, atol=1e-3)
    torch.testing.assert_close(result.whole, left, rtol=0, atol=1e-3)


def test_a_dilated_hole_is_filled_anew_as_far_as_it_reaches(model):
    left, warped, hole, disparity = scene(1)
    config = replace(CONFIG, views=2, passes=1, dilate=8)
    result = fill_matrix(model, left, warped, hole, disparity, config)
    beside = (dilate_hole(hole, 8) - hole).bool().expand_as(warped)
    assert (result.filled[beside] - warped[beside]).abs().mean() > 0.1
    far = (dilate_hole(hole, 8) < 0.5).expand_as(warped)
    assert torch.equal(result.filled[far], warped[far])


def test_a_model_with_a_vae_fills_by_it():
    left, warped, hole, disparity = scene(2)
    config = replace(CONFIG, views=2, steps=3, passes=1, reinjections=1)
    result = fill_matrix(FrameMatrixModel(tiny_svd.make_model()), left, warped, hole, disparity, config)
    check_filled(result.filled, warped, hole)


def test_networks_are_announced_before_they_work(model):
    works = []
    announcing = FrameMatrixModel(model.svd, on_work=works.append)
    left, warped, hole, disparity = scene(2)
    fill_matrix(announcing, left, warped, hole, disparity, CONFIG)
    parts = [work.networks[0] for work in works]
    svd = model.svd
    assert parts == [svd.vae, svd.unet, svd.vae] * 2
    assert {(work.height, work.width) for work in works} == {(64, 64)}


def test_steps_are_those_of_the_whole_clip(model):
    """Of several windows, whole and in regions, and of one whose second half has no holes."""
    left, warped, hole, disparity = scene(9)
    hole[5:] = 0
    for config in (replace(CONFIG, regions="whole", views=2), replace(CONFIG, order="columns")):
        steps = []
        on_step = lambda done, total, clean, steps=steps: steps.append((done, total))  # noqa: E731
        fill_matrix(model, left, warped, hole, disparity, config, on_step=on_step)
        done, totals = zip(*steps, strict=True)
        assert done[0] == 1
        assert list(done) == sorted(done)
        assert set(totals) == {done[-1]}
    steps = []
    on_step = lambda done, total, clean: steps.append((done, total))  # noqa: E731
    fill_matrix(model, *scene(3), CONFIG, on_step=on_step)
    total = 1 + 1 + 2 + 2  # the first frame's row twice, then two views over time and two rows
    assert steps == [(done, total) for done in range(1, total + 1)], "one by one where pictures are whole"


def test_a_film_s_steps_are_those_of_its_window(model):
    left, warped, hole, disparity = scene(7)
    steps = []
    filler = FrameMatrixFiller(model, CONFIG, on_step=lambda done, total, clean: steps.append((done, total)))
    fill_holes(filler, left=left, warped=warped, hole=hole, disparity=disparity)
    windows = [(done, total) for total in (2 + 2 + 3, 2 + 3) for done in range(1, total + 1)]
    assert steps == windows


def test_any_inner_step_may_be_interrupted(model):
    left, warped, hole, disparity = scene(2)
    for stops_at in (1, 4):
        counter = iter(range(1, 100))

        def stop(done, total, clean, counter=counter, stops_at=stops_at):
            if next(counter) == stops_at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fill_matrix(model, left, warped, hole, disparity, CONFIG, on_step=stop)
        assert next(counter) == stops_at + 1
    waits = []

    def wait():
        waits.append(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill_matrix(model, left, warped, hole, disparity, CONFIG, on_wait=wait)
    assert waits == [1]


def test_one_direction_alone_may_be_chosen(model, passes):
    left, warped, hole, disparity = scene(3)
    result = fill_matrix(model, left, warped, hole, disparity, replace(CONFIG, order="columns"))
    check_filled(result.filled, warped, hole)
    assert passes == [3, 3], "the right view over time"
    passes.clear()
    fill_matrix(model, left, warped, hole, disparity, replace(CONFIG, views=2, order="rows"))
    assert passes == [2, 2] * 3


def test_the_model_sees_what_lies_around_the_holes_if_that_is_less(model):
    generator = torch.Generator().manual_seed(0)
    left = torch.rand(2, 3, 64, 640, generator=generator)
    disparity = torch.full((2, 1, 64, 640), 0.0)
    disparity[..., 20:40, 470:490] = 12.0
    warped, hole = forward_warp(left, disparity)
    sizes = []
    handle = model.svd.unet.register_forward_hook(
        lambda module, given, output: sizes.append(tuple(given[0].shape[-2:]))
    )
    config = replace(CONFIG, views=2, passes=1, margin=64)
    try:
        result = fill_matrix(model, left, warped, hole, disparity, config)
        assert set(sizes) == {(8, 24)}, "a square of 64 px with holes, and one on each side"
        check_filled(result.filled, warped, hole)
        assert not torch.equal(result.whole[..., 450:500], warped[..., 450:500])
        torch.testing.assert_close(result.whole[..., :380], warped[..., :380], rtol=0, atol=1e-3)
        sizes.clear()
        fill_matrix(model, left, warped, hole, disparity, replace(config, regions="whole"))
        assert set(sizes) == {(8, 80)}
    finally:
        handle.remove()


def test_more_views_than_memory_takes_are_refused_before_the_work(model, monkeypatch):
    monkeypatch.setattr("spatialdreamer_core.memory.free_memory", lambda device: 100_000)
    left, warped, hole, disparity = scene(3)
    message = r"frame matrix of 9 views and 3 frames of 64x64 needs about .* lower views, window or max_side"
    with pytest.raises(InputError, match=message):
        fill_matrix(model, left, warped, hole, disparity, replace(CONFIG, views=9))


def test_bad_input_is_named(model):
    left, warped, hole, disparity = scene(2)
    fill = partial(fill_matrix, model)
    with pytest.raises(InputError, match="`left` must have as many frames as `warped`"):
        fill(left[:1], warped, hole, disparity)
    with pytest.raises(InputError, match="`disparity` must have the size of `warped`"):
        fill(left, warped, hole, disparity[..., :-1])
    with pytest.raises(InputError, match=r"`disparity` must be finite, got .* NaN"):
        fill(left, warped, hole, disparity / 0 * 0)
    with pytest.raises(InputError, match="views must be between 1 and 32"):
        fill(left, warped, hole, disparity, replace(CONFIG, views=40))
    with pytest.raises(InputError, match="belongs to the sampler of SpatialDreamer"):
        FrameMatrixModel(tiny_svd.make_model(in_channels=9, time_ids=4))
