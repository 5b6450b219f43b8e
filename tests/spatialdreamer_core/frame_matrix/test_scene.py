"""Films of the frame matrix where memory runs out or someone interrupts, and long ones."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.dvg import forward_warp
from spatialdreamer_core.fill import CheckedStream, RenderedFrame

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from spatialdreamer_core.frame_matrix import (
    FrameMatrixConfig,
    FrameMatrixFiller,
    FrameMatrixModel,
    fill_matrix,
)

from ..live_tensors import LiveTensors
from .tiny_matrix import SIZE, Shrinks, make_scene

CONFIG = FrameMatrixConfig(
    views=2, steps=1, passes=1, reinjections=0, window=8, overlap=2, feather=0, last_view_from=0.0
)


@pytest.fixture(scope="module")
def light(model):
    """Return the model with a UNet that takes no time."""
    codec = model.svd.codec
    return FrameMatrixModel(replace(model.svd, unet=Shrinks(model.svd.unet, codec.channels)))


@pytest.fixture
def short_of_memory(light):
    """Let the UNet run out of memory with longer sequences, or larger pictures, than it is told."""
    handles = []

    def limit(frames=1000, latents=1_000_000):
        def check(module, given):
            sample = given[0]
            seen.append((sample.shape[1], tuple(sample.shape[-2:])))
            if sample.shape[1] > frames or sample.shape[-2] * sample.shape[-1] > latents:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

        seen = []
        handles.append(light.svd.unet.register_forward_pre_hook(check))
        return seen

    yield limit
    for handle in handles:
        handle.remove()


def run_film(filler, *scenes):
    """Fill scenes, frame by frame; return them with the numbers of frames that each call gave."""
    stream = CheckedStream(filler, eye="right", size=SIZE)
    results, counts = [], []
    for scene in scenes:
        frames, given = [], []
        for parts in zip(*scene, strict=True):
            given.append(stream.push(RenderedFrame(*parts)))
            frames += given[-1]
        given.append(stream.finish())
        results.append(torch.stack(frames + given[-1]))
        counts.append([len(part) for part in given])
    return results, counts


@pytest.mark.parametrize("outpaint", ["off", "on"])
def test_a_film_goes_on_by_half_windows_where_the_device_runs_out_of_memory(
    light, short_of_memory, caplog, outpaint
):
    scenes = [make_scene(count, seed=count) for count in (12, 3)]
    config = replace(CONFIG, outpaint=outpaint)
    expected, _ = run_film(FrameMatrixFiller(light, replace(config, window=4)), *scenes)
    seen = short_of_memory(frames=4)
    steps = []
    filler = FrameMatrixFiller(light, config, on_step=lambda done, total, _: steps.append((done, total)))
    with caplog.at_level(logging.WARNING):
        results, _ = run_film(filler, *scenes)
    assert caplog.text.count("the frame matrix ran out of memory with windows of 8 frames") == 1
    assert [frames for frames, _ in seen].count(8) == 1, "once a film, not once a scene"
    for result, wanted, scene in zip(results, expected, scenes, strict=True):
        assert torch.equal(result, wanted), "the same seeds: what a window of 4 gives"
        assert result.shape == scene[1].shape
    assert all(done <= total for done, total in steps)


def test_a_clip_is_cut_into_tiles_where_half_of_its_window_does_not_fit(light, short_of_memory):
    left = torch.rand(5, 3, 64, 640, generator=torch.Generator().manual_seed(0))
    disparity = torch.zeros(5, 1, 64, 640)
    disparity[..., 20:40, 300:340] = 12.0
    warped, hole = forward_warp(left, disparity)
    seen = short_of_memory(frames=4, latents=8 * 40)
    steps = []
    result = fill_matrix(
        light,
        *(left, warped, hole, disparity),
        replace(CONFIG, regions="whole"),
        on_step=lambda done, total, _: steps.append((done, total)),
    ).filled
    assert {size for _, size in seen} == {(8, 80), (8, 32)}
    known = (hole < 0.5).expand_as(warped)
    assert torch.equal(result[known], warped[known])
    assert (result - warped)[~known].abs().mean() > 0.1
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]


def test_a_device_that_is_too_small_for_anything_is_named_with_a_remedy(light, short_of_memory):
    short_of_memory(frames=0)
    message = r"the device must have memory for 2 views, windows of 4 frames, .* lower `max_side` or `views`"
    with pytest.raises(InputError, match=message):
        fill_matrix(light, *make_scene(8), CONFIG)


def test_other_errors_are_not_taken_for_a_lack_of_memory(model):
    def fail(module, given):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with (
        model.svd.unet.register_forward_pre_hook(fail),
        pytest.raises(RuntimeError, match="shapes cannot be multiplied"),
    ):
        fill_matrix(model, *make_scene(2), CONFIG)


@pytest.mark.parametrize(
    ("outpaint", "callback", "every"), [("off", "on_step", 4), ("on", "on_step", 13), ("off", "on_wait", 37)]
)
def test_an_interrupted_stream_goes_on_to_what_it_gives_without(light, outpaint, callback, every):
    """At inner steps of all kinds: of rows and columns, of the first frame, beyond the edges, of the VAE."""
    frames = [RenderedFrame(*parts) for parts in zip(*make_scene(6), strict=True)]
    again = int(callback == "on_wait")
    config = replace(
        CONFIG, passes=2, window=4, overlap=1, outpaint=outpaint, reinjections=again, steps=1 + 2 * again
    )
    count, stop_at = 0, None

    def call(*_):
        nonlocal count
        count += 1
        if count == stop_at:
            raise KeyboardInterrupt

    filler = FrameMatrixFiller(light, config, **{callback: call})

    def run():
        nonlocal count
        stream, found, count = filler.open(eye="right", size=SIZE), [], 0
        for frame in frames:
            with contextlib.suppress(KeyboardInterrupt):
                found += stream.push(frame)
        while len(found) < len(frames):
            with contextlib.suppress(KeyboardInterrupt):
                found += stream.finish()
        return torch.stack(found)

    whole = run()
    total = count
    assert total > 8
    for stop_at in range(1, total + 1, every):
        assert torch.equal(run(), whole), stop_at


@pytest.mark.slow
def test_the_memory_of_a_film_of_100_frames_is_constant(light):
    config = replace(CONFIG, views=3, overlap=2, outpaint="on")
    stream = FrameMatrixFiller(light, config).open(eye="right", size=SIZE)
    scene, given, peaks = make_scene(10), 0, []
    live = LiveTensors()
    for frame in range(100):
        parts = RenderedFrame(*(part[frame % 10] for part in scene))
        live.peak = live.bytes
        with live:
            given += len(stream.push(parts))
        peaks.append(live.peak)
    given += len(stream.finish())
    assert given == 100
    assert max(peaks[50:]) <= max(peaks[:50])
    assert live.bytes < max(peaks) / 2


@pytest.mark.slow
def test_a_clip_of_1000_frames_takes_no_more_than_its_result(light):
    frames = 1000
    scene = [part[:1].expand(frames, -1, -1, -1) for part in make_scene(1)]
    config = replace(CONFIG, window=25, overlap=1, order="columns")
    live, held = LiveTensors(), []

    def note(done):
        held.append((live.bytes, live.peak))

    with live:
        result = fill_matrix(light, *scene, config, on_frame=note)
    assert result.filled.shape[0] == frames
    at_rest, peaks = zip(*held, strict=True)
    assert len(held) > 40
    assert max(at_rest) == max(at_rest[:2])
    assert max(peaks) == max(peaks[:3]), "the second window is the first one with a finished frame"
