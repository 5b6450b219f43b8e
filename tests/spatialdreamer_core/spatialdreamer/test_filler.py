"""SpatialDreamer as a filler: windows inside scenes, finished frames carried on."""

from __future__ import annotations

import dataclasses
import logging

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.dvg import depth_to_disparity, forward_warp
from spatialdreamer_core.fill import CheckedStream, FastFill, RenderedFrame, fast_fill, fill_holes

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from spatialdreamer_core.spatialdreamer import (
    SamplerConfig,
    SpatialDreamer,
    SpatialDreamerFiller,
    encode_reference,
    sample,
)

SIZE = (48, 64)
CONFIG = SamplerConfig(steps=1, window=4, overlap=1, feather=0)


@pytest.fixture(scope="module")
def network(make_svd) -> SpatialDreamer:
    network = SpatialDreamer.from_svd(make_svd(in_channels=8, time_ids=3))
    return dataclasses.replace(network, fills_holes=True)


@pytest.fixture(scope="module")
def frames() -> list[RenderedFrame]:
    return scene(8, seed=0)


def scene(count: int, *, seed: int) -> list[RenderedFrame]:
    generator = torch.Generator().manual_seed(seed)
    left = torch.rand(count, 3, *SIZE, generator=generator)
    depth = torch.zeros(count, 1, *SIZE)
    depth[..., 15:35, 25:45] = 1
    warped, hole = forward_warp(left, depth_to_disparity(depth, divergence=8.0, convergence=0.0))
    return [RenderedFrame(*parts) for parts in zip(left, warped, hole, strict=True)]


def run(filler, *scenes):
    """Push scenes through a film's stream; returns each scene's frames and how many each push gave."""
    stream = CheckedStream(filler, eye="right", size=SIZE)
    results, counts = [], []
    for frames in scenes:
        given = [stream.push(frame) for frame in frames]
        rest = stream.finish()
        counts.append([len(done) for done in (*given, rest)])
        results.append(torch.stack([frame for done in (*given, rest) for frame in done]))
    return results, counts


@pytest.fixture
def sampled(network, monkeypatch):
    """Note the shape of what the UNet sees."""
    shapes = []
    handle = network.svd.unet.register_forward_hook(
        lambda module, given, output: shapes.append(given[0].shape)
    )
    yield shapes
    handle.remove()


def test_windows_share_finished_frames_and_stay_full_at_a_scene_s_end(network, frames, sampled, caplog):
    with caplog.at_level(logging.INFO):
        (result,), (counts,) = run(SpatialDreamerFiller(network, CONFIG, first=None), frames)
    assert caplog.text == "", "a film has many windows, and a progress bar"
    # 4 frames, then 3 new ones after 1 finished, then 1 new one after 3
    assert counts == [0, 0, 0, 4, 0, 0, 3, 0, 1]
    assert [shape[1] for shape in sampled] == [4, 4, 4]
    for frame, filled in zip(frames, result, strict=True):
        known = (frame.hole < 0.5).expand(3, -1, -1)
        assert torch.equal(filled[known], frame.warped[known])
        assert not torch.equal(filled[~known], frame.warped[~known])


def test_fast_fill_runs_before_and_adds_its_look_ahead(network, frames):
    frames = frames[:5]
    (result,), (counts,) = run(SpatialDreamerFiller(network, CONFIG), frames)
    assert counts == [0, 0, 0, 0, 0, 5], "a window is full three frames later"
    first = fast_fill(torch.stack([f.warped for f in frames]), torch.stack([f.hole for f in frames]))
    left, hole = (torch.stack([getattr(f, name) for f in frames[:4]]) for name in ("left", "hole"))
    expected = sample(network, encode_reference(network, left), first[:4], hole, CONFIG)
    assert torch.equal(result[:4], expected)


def test_a_clip_of_one_window_is_sample(network, frames):
    clip = {name: torch.stack([getattr(f, name) for f in frames[:4]]) for name in ("left", "warped", "hole")}
    filled = fill_holes(SpatialDreamerFiller(network, CONFIG, first=None), **clip)
    reference = encode_reference(network, clip["left"])
    assert torch.equal(filled, sample(network, reference, clip["warped"], clip["hole"], CONFIG))


def test_windows_never_cross_a_cut(network, frames):
    filler = SpatialDreamerFiller(network, CONFIG)
    before, after, other = frames[:2], frames[2:4], scene(2, seed=1)
    (first, second), _ = run(filler, before, after)
    (again, changed), _ = run(filler, before, other)
    assert torch.equal(first, again), "another scene after it changes nothing"
    assert not torch.equal(second, changed)
    (_, once_more), _ = run(filler, other, after)
    assert torch.equal(second, once_more), "nor does another one before it, of the same length"


def test_a_scene_shorter_than_a_window_and_one_of_a_single_frame(network, frames, sampled):
    results, counts = run(SpatialDreamerFiller(network, CONFIG, first=None), frames[:2], frames[2:3])
    assert counts == [[0, 0, 2], [0, 1]]
    assert [shape[1] for shape in sampled] == [2, 1]
    assert all(result.isfinite().all() for result in results)


def test_frames_without_holes_are_not_diffused(network, frames, sampled):
    whole = [frame._replace(hole=torch.zeros_like(frame.hole)) for frame in frames]
    (result,), _ = run(SpatialDreamerFiller(network, CONFIG), whole)
    assert torch.equal(result, torch.stack([frame.warped for frame in frames]))
    assert sampled == []


def test_parts_of_a_window_that_does_not_fit_overlap(network, frames):
    sizes = []

    def short_of_memory(module, given):
        sizes.append(given[0].shape[1])
        if sizes[-1] > 4:
            raise torch.OutOfMemoryError("out of memory")

    config = SamplerConfig(steps=1, window=8, overlap=2)
    with network.svd.unet.register_forward_pre_hook(short_of_memory):
        run(SpatialDreamerFiller(network, config, first=None), frames)
    assert sizes == [8, 4, 4, 4], "frames 0 to 3, 2 to 5, 4 to 7"


@pytest.mark.parametrize(("overlap", "windows"), [(1, 3), (2, 3), (3, 5)])
def test_each_picture_is_encoded_once(network, frames, overlap, windows):
    """The left view's, the warped ones, and the finished ones that had holes and are carried on."""
    frames = [frame._replace(hole=frame.hole * (index != 3)) for index, frame in enumerate(frames)]
    config = SamplerConfig(steps=1, window=4, overlap=overlap, feather=0, noise_augmentation=0.0)
    stepped, encoded = [], []
    filler = SpatialDreamerFiller(network, config, first=None, on_step=lambda *_: stepped.append(1))
    with network.svd.vae.encoder.register_forward_hook(lambda _, given, __: encoded.append(len(given[0]))):
        (result,), _ = run(filler, frames)
    assert len(stepped) == windows
    carried = {1: {3, 4, 5, 6}, 2: {2, 3, 4, 5}, 3: set(range(1, 7))}[overlap]
    assert sum(encoded) == 8 + 8 + len(carried - {3})
    assert torch.equal(result[3], frames[3].warped)


def test_a_window_after_one_that_was_not_diffused_is_encoded_whole(network, frames):
    frames = [frame._replace(hole=frame.hole * (index > 4)) for index, frame in enumerate(frames)]
    (result,), _ = run(SpatialDreamerFiller(network, CONFIG, first=None), frames)
    window = {
        name: torch.stack([getattr(f, name) for f in frames[3:7]]) for name in ("left", "warped", "hole")
    }
    reference = encode_reference(network, window["left"])
    alone = sample(network, reference, window["warped"], window["hole"], CONFIG, first_frame=3)
    assert torch.equal(result[4:7], alone[1:])


def test_options_are_checked_when_it_is_made(network):
    with pytest.raises(InputError, match="steps must be between 1 and 200, got 0"):
        SpatialDreamerFiller(network, SamplerConfig(steps=0))


def test_steps_are_told_and_can_interrupt(network, frames):
    def stop(done, total, clean):
        raise KeyboardInterrupt

    filler = SpatialDreamerFiller(network, CONFIG, first=FastFill(), on_step=stop)
    with pytest.raises(KeyboardInterrupt):
        run(filler, frames)
