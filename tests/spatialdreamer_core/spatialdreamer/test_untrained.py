"""SVD's own UNet as SpatialDreamer's: shown one picture a window, tied to the view by known latents."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from spatialdreamer_core.dvg import depth_to_disparity, forward_warp
from spatialdreamer_core.fill import CheckedStream, RenderedFrame, fast_fill

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from spatialdreamer_core.spatialdreamer import (
    SamplerConfig,
    SpatialDreamer,
    SpatialDreamerFiller,
    encode_reference,
    load_spatialdreamer,
    sample,
    sample_views,
    save_spatialdreamer,
)
from spatialdreamer_core.spatialdreamer import denoiser as denoiser_module
from spatialdreamer_core.spatialdreamer import sampler as sampler_module
from spatialdreamer_core.svd.known_latents import weigh_known
from spatialdreamer_core.svd.picture_condition import PictureDenoiser, encode_pictures, picture_time_ids
from spatialdreamer_core.svd.sampling import diffuse_in_turn, diffuse_together
from spatialdreamer_core.svd.schedule import frame_noise, karras_sigmas
from spatialdreamer_core.svd.windows import Plan
from spatialdreamer_core.training.small_world import make_small_world

FRAMES, SIDE, FACTOR = 5, 32, 4
CHANNELS = 3 * FACTOR**2
CUT = SamplerConfig(steps=2, passes=2, feather=0, window=3, overlap=1)
BOTH = pytest.mark.parametrize("windows", ["together", "in_turn"])


@pytest.fixture(scope="module")
def svd():
    return make_small_world(factor=FACTOR, widths=(64,), height=SIDE, width=SIDE)


@pytest.fixture(scope="module")
def network(svd) -> SpatialDreamer:
    return SpatialDreamer.from_svd(svd)


@pytest.fixture(scope="module")
def clip() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Left view, filled view and holes."""
    generator = torch.Generator().manual_seed(0)
    left = torch.rand(FRAMES, 3, 4, 4, generator=generator)
    left = torch.nn.functional.interpolate(left, (SIDE, SIDE), mode="bilinear")
    depth = torch.zeros(FRAMES, 1, SIDE, SIDE)
    depth[..., 8:24, 12:22] = 1
    warped, hole = forward_warp(left, depth_to_disparity(depth, divergence=20.0, convergence=0.0))
    return left, fast_fill(warped, hole), hole


@pytest.fixture(scope="module")
def reference(network, clip):
    return encode_reference(network, clip[0])


@pytest.fixture
def seen(network):
    """Note what the UNet gets."""
    given = []
    handle = network.svd.unet.register_forward_pre_hook(lambda _, inputs: given.append(inputs))
    yield given
    handle.remove()


@BOTH
def test_with_nothing_known_and_one_pass_it_is_plain_svd(svd, network, reference, clip, windows):
    """Compared with SVD's own UNet, neither widened nor with readers, on the same pictures and noise."""
    filled, hole = clip[1], torch.ones_like(clip[2])
    config = dataclasses.replace(CUT, passes=1, windows=windows)
    whole = sample_views(network, reference, filled, hole, config).whole
    denoiser, clean, finished = PictureDenoiser(svd.unet), {}, {}
    size = {"height": SIDE // FACTOR, "width": SIDE // FACTOR}

    def open_region(region):
        first = region.frames.start
        picture = filled[first : first + 1]
        if first in finished:
            picture = svd.codec.decode(finished[first][None])
        noise = frame_noise(0, [first], height=SIDE, width=SIDE, channels=3, stream=1)
        if region not in clean:
            clean[region] = encode_pictures(svd, picture, noise=noise)[0]
        return lambda noisy, sigma: denoiser(noisy, sigma, clean[region], picture_time_ids())

    def noise_of(region):
        return region.cut_frame(frame_noise(0, region.frames, **size, channels=svd.codec.channels))

    diffuse, options = diffuse_together, {}
    if windows == "in_turn":
        diffuse = diffuse_in_turn
        options["on_window"] = lambda frames, latents: finished.update(zip(frames, latents, strict=True))
    shape = (FRAMES, svd.codec.channels, *size.values())
    latents = diffuse(open_region, noise_of, karras_sigmas(2), shape=shape, plan=Plan(3, 1), **options)
    torch.testing.assert_close(whole, svd.codec.decode(latents), rtol=0, atol=1e-5)


@BOTH
def test_what_is_known_comes_back(network, reference, clip, windows, monkeypatch):
    _, filled, hole = clip
    hole = torch.zeros_like(hole)
    hole[2, :, :4, :4] = 1  # nothing is done where there is none
    codec, results, decode_into = network.svd.codec, [], sampler_module.decode_into
    monkeypatch.setattr(
        sampler_module,
        "decode_into",
        lambda *given: results.append(given[3]) or decode_into(*given),
    )
    sample(network, reference, filled, hole, dataclasses.replace(CUT, windows=windows))
    latents = codec.scaling * codec.encode(filled)
    kept = weigh_known(hole, FACTOR).expand_as(latents) == 1
    assert kept.float().mean() > 0.9
    assert torch.equal(results[0][kept], latents[kept])
    assert not torch.equal(results[0][2], latents[2])


def test_a_window_is_shown_its_first_picture_in_every_frame(network, reference, clip, seen):
    _, filled, hole = clip
    sample(network, reference, filled, hole, dataclasses.replace(CUT, noise_augmentation=0.0))
    assert len(seen) == 2 * (2 + 1), "windows; the first level twice, the second once"
    for inputs, first in ((seen[0], 0), (seen[1], 2)):
        shown = inputs[0][0, :, CHANNELS : 2 * CHANNELS]
        expected = network.svd.codec.encode(filled[first : first + 1])
        torch.testing.assert_close(shown, expected.expand_as(shown), rtol=1e-5, atol=1e-5)
        assert inputs[3].tolist() == [pytest.approx([6, 127, 0, 0])]
    embeddings = [inputs[2] for inputs in seen[:2]]
    assert not torch.equal(*embeddings)


def test_windows_in_turn_begin_with_a_finished_frame(network, reference, clip, seen):
    _, filled, hole = clip
    config = dataclasses.replace(CUT, windows="in_turn", noise_augmentation=0.0)
    sample(network, reference, filled, hole, config)
    unfinished = network.svd.codec.encode(filled[2:3])
    shown = seen[-1][0][0, :, CHANNELS : 2 * CHANNELS]
    assert torch.equal(shown, shown[:1].expand_as(shown))
    assert (shown[:1] - unfinished).abs().max() > 0.01


@BOTH
def test_a_seed_gives_one_result_and_passes_another(network, reference, clip, windows):
    _, filled, hole = clip
    config = dataclasses.replace(CUT, windows=windows)
    first, again = (sample(network, reference, filled, hole, config) for _ in range(2))
    assert torch.equal(first, again)
    for change in ({"seed": 1}, {"passes": 3}, {"known_latents": "off"}):
        other = sample(network, reference, filled, hole, dataclasses.replace(config, **change))
        assert (other - first).abs().max() > 1e-3, change
    known = (hole < 0.5).expand_as(filled)
    assert torch.equal(first[known], filled[known])


@pytest.mark.parametrize(("options", "total"), [({"passes": 3}, 8), ({"known_latents": "off"}, 4)])
def test_passes_are_counted_and_without_known_latents_there_is_one(network, reference, clip, options, total):
    _, filled, hole = clip
    steps: list = []
    config = dataclasses.replace(CUT, **options)
    sample(network, reference, filled, hole, config, on_step=lambda *step: steps.append(step[:2]))
    assert steps == [(done, total) for done in range(1, total + 1)]


def test_it_does_not_read_the_left_view_unless_asked_to(network, clip):
    left, filled, hole = clip
    calls: list = []
    handle = network.refiner.register_forward_hook(lambda *_: calls.append(1))
    for choice, reads in (("auto", False), ("off", False), ("on", True)):
        config = SamplerConfig(steps=1, passes=1, read_reference=choice)
        sample(network, encode_reference(network, left), filled, hole, config)
        assert bool(calls) == reads
        calls.clear()
    handle.remove()


def test_known_pixels_are_put_in_once_a_level(network, reference, clip, monkeypatch):
    _, filled, hole = clip
    calls, reinject = [], denoiser_module.reinject
    monkeypatch.setattr(
        denoiser_module, "reinject", lambda *given, **more: calls.append(1) or reinject(*given, **more)
    )
    config = dataclasses.replace(CUT, passes=3, reinject=True)
    sample(network, reference, filled, hole, config)
    assert len(calls) == 2 * 2, "windows, levels"


def test_a_run_by_tiles(network, clip):
    left, filled, hole = (torch.nn.functional.interpolate(part[:2], (SIDE, 5 * SIDE)) for part in clip)
    config = SamplerConfig(steps=1, passes=2, tile=256, feather=0)
    result = sample(network, encode_reference(network, left), filled, hole, config)
    known = (hole < 0.5).expand_as(filled)
    assert torch.equal(result[known], filled[known])
    assert not torch.equal(result, filled)


def test_each_window_of_a_film_begins_with_a_finished_frame(network, clip, seen):
    left, filled, hole = clip
    config = dataclasses.replace(CUT, noise_augmentation=0.0)
    stream = CheckedStream(SpatialDreamerFiller(network, config, first=None), eye="right", size=(SIDE, SIDE))
    frames = [RenderedFrame(*parts) for parts in zip(left, filled, hole, strict=True)]
    results = [frame for pushed in frames for frame in stream.push(pushed)]
    results += stream.finish()
    expected = network.svd.codec.encode(results[2][None])
    shown = seen[-1][0][0, :, CHANNELS : 2 * CHANNELS]
    torch.testing.assert_close(shown, expected.expand_as(shown), rtol=1e-4, atol=1e-4)


@BOTH
def test_a_network_works_only_after_it_was_announced(svd, clip, windows):
    left, filled, hole = clip
    network = SpatialDreamer.from_svd(svd)
    present, worked = [], []
    network.on_work = lambda work: present.__setitem__(slice(None), work.networks)

    def check(module, inputs):
        assert any(module is other for other in present)
        worked.append(module)

    parts = (network.svd.unet, svd.image_encoder)
    handles = [part.register_forward_pre_hook(check) for part in parts]
    config = dataclasses.replace(CUT, windows=windows, passes=1, reinject=True)
    sample(network, encode_reference(network, left), filled, hole, config)
    for handle in handles:
        handle.remove()
    assert all(any(part is module for module in worked) for part in parts)


def test_black_holes_are_told_of(network, reference, clip):
    _, filled, hole = clip
    config = SamplerConfig(steps=1, passes=1)
    for shown, told in ((filled, 0), (filled * (1 - hole), 1)):
        notices: list = []
        sample(network, reference, shown, hole, config, on_notice=notices.append)
        assert [notice.startswith("the holes are black") for notice in notices] == [True] * told


def test_loaded_weights_are_trained_ones(svd, network, tmp_path):
    assert not network.fills_holes
    assert not load_spatialdreamer(svd).fills_holes
    save_spatialdreamer(network, tmp_path / "trained")
    assert load_spatialdreamer(svd, tmp_path / "trained").fills_holes


def test_a_unet_that_came_with_nine_channels_is_trained(make_svd):
    assert SpatialDreamer.from_svd(make_svd(in_channels=9, time_ids=3)).fills_holes


def test_a_trained_model_can_be_told_to_keep_what_is_known(network, reference, clip):
    _, filled, hole = clip
    trained = dataclasses.replace(network, fills_holes=True)
    reference = encode_reference(trained, clip[0])
    steps, results = [], []
    for keep in ("auto", "off", "on"):
        config = dataclasses.replace(CUT, known_latents=keep)
        results.append(
            sample(trained, reference, filled, hole, config, on_step=lambda *step: steps.append(step[1]))
        )
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[1], results[2])
    assert steps == [4] * 8 + [6] * 6, "passes count where known latents are kept"
