"""What the model sees of a clip: in sampling and in training the same."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from spatialdreamer_core.checks import InputError

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from spatialdreamer_core.spatialdreamer import SamplerConfig, SpatialDreamer, encode_reference, sample
from spatialdreamer_core.spatialdreamer.deviation import added_time_ids, deviation_strength
from spatialdreamer_core.spatialdreamer.inputs import encode_clip, predict_clean, window_deviation
from spatialdreamer_core.spatialdreamer.network import add_deviation_map
from spatialdreamer_core.spatialdreamer.refiner import build_bank
from spatialdreamer_core.svd import SCALING, encode_frames, pool_mask
from spatialdreamer_core.svd.canvas import Canvas
from spatialdreamer_core.svd.schedule import karras_sigmas

FRAMES = 3


@pytest.fixture(scope="module")
def network(make_svd):
    network = SpatialDreamer.from_svd(make_svd(in_channels=8, time_ids=3), with_til=True)
    network.fills_holes = True
    with torch.no_grad():  # weights that begin at zero, as training would leave them
        network.svd.unet.add_embedding.linear_1.weight[:, 768:].normal_(std=0.05)
        network.svd.unet.conv_in.weight[:, 8:].normal_(std=0.05)
        for site in network.til.sites.values():
            site.to_change.reset_parameters()
    network.config = network.config.at_stage("stage2")
    return network


@pytest.fixture(scope="module")
def with_map(network):
    """The same with a deviation map, as training would leave it."""
    network = add_deviation_map(network)
    with torch.no_grad():
        network.svd.unet.conv_in.weight[:, 9:].normal_(std=0.05)
    return network


def make_clip(*, frames=FRAMES, height=64, width=64, seed=0):
    """Make a left view, a rendered one that is black in its raw holes, and a mask that is a little larger."""
    generator = torch.Generator().manual_seed(seed)
    left = torch.rand(frames, 3, height, width, generator=generator)
    warped, hole = left.roll(2, dims=-1), torch.zeros(frames, 1, height, width)
    hole[..., 10:30, 20:34] = 1
    warped[..., 12:28, 22:32] = 0
    return left, warped, hole


def watch(unet):
    """Note what the UNet gets and gives."""
    seen = []

    def note(module, inputs, output):
        seen.append((*inputs, output[0]))

    return seen, unet.register_forward_hook(note)


@pytest.mark.parametrize("noise_augmentation", [0.0, 0.1])
def test_the_trainer_gives_the_unet_what_the_sampler_gives_it(network, noise_augmentation):
    left, warped, hole = make_clip()
    settings = dataclasses.replace(network.config, noise_augmentation=noise_augmentation)
    network = dataclasses.replace(network, config=settings)
    steps, estimates = SamplerConfig(steps=2, seed=4), []
    seen, handle = watch(network.svd.unet)
    sample(
        network,
        encode_reference(network, left),
        warped,
        hole,
        steps,
        on_step=lambda done, total, clean: estimates.append(clean),
    )
    sigmas = karras_sigmas(2)[:-1].float()
    scale = (sigmas.square() + 1).sqrt()
    noisy = torch.cat([seen[index][0][:, :, :4] * scale[index] for index in range(2)])

    # As training does it, both noise levels as two clips of a batch.
    clip = encode_clip(network, left, warped, hole, seed=4)
    features = build_bank(
        network.refiner,
        clip.reference.repeat(2, 1, 1, 1),
        clip.embeddings.repeat(2, 1, 1),
        timestep=settings.refiner_timestep,
        til=network.til,
        clips=2,
    )
    network.bank.load(features)
    with torch.no_grad():
        clean = predict_clean(
            network.svd.unet,
            noisy,
            sigmas,
            condition=clip.condition.expand(2, -1, -1, -1, -1),
            mask=clip.mask.expand(2, -1, -1, -1, -1),
            embedding=clip.embedding().expand(2, -1, -1),
            time_ids=added_time_ids(settings, torch.tensor([clip.deviation()] * 2)),
        )
    network.bank.clear()
    handle.remove()
    assert clip.deviation() > 0
    sample_, time, embedding, ids, _ = seen[2]
    for index in range(2):
        for given, expected in zip((sample_, time, embedding, ids), seen[index], strict=False):
            torch.testing.assert_close(given[index], expected[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(clean[index], estimates[index], rtol=1e-4, atol=1e-4)


def test_the_tensors_are_what_their_names_say(network):
    left, warped, hole = make_clip()
    clip = encode_clip(network, left, warped, hole)
    grey = torch.where(hole > 0.5, 0.5, warped)
    torch.testing.assert_close(clip.clean, encode_frames(network.svd.vae, grey))
    torch.testing.assert_close(clip.reference, SCALING * encode_frames(network.svd.vae, left))
    assert torch.equal(clip.mask, pool_mask(hole))
    assert clip.embeddings.shape == (FRAMES, 1, 32)
    assert torch.equal(clip.embedding(range(1, 3)), clip.embeddings[1:2])
    assert clip.picture is None
    for window in (range(FRAMES), range(1, 2)):
        part = slice(window.start, window.stop)
        known = clip.mask[part] < 0.5
        expected = deviation_strength(SCALING * clip.clean[part], clip.reference[part], known=known)
        assert clip.deviation(window) == float(expected)
        assert float(window_deviation(clip.clean[part], clip.reference[part], clip.mask[part])) == expected
    assert clip.deviation() == clip.deviation(range(FRAMES))


@pytest.mark.parametrize("side", [64, 96, 48])
def test_what_blanked_holes_show_does_not_matter(network, side):
    left, warped, hole = make_clip()
    other = torch.where(hole > 0.5, torch.rand_like(warped), warped)
    canvas = Canvas(64, 64, side, side)
    first, second = (encode_clip(network, left, view, hole, canvas=canvas) for view in (warped, other))
    assert torch.equal(first.condition, second.condition)
    assert first.deviation() == second.deviation()
    plain = dataclasses.replace(network.config, blank_holes=False)
    first, second = (
        encode_clip(network, left, view, hole, canvas=canvas, config=plain) for view in (warped, other)
    )
    assert not torch.equal(first.condition, second.condition)


def test_the_deviation_knows_no_noise(network):
    """Of two networks that differ in their augmentation alone, and of a clip's noise, it is the same."""
    clip = make_clip()
    quiet, loud = (dataclasses.replace(network.config, noise_augmentation=level) for level in (0.0, 0.5))
    measured = [encode_clip(network, *clip, config=quiet)]
    measured += [encode_clip(network, *clip, config=loud, seed=seed) for seed in (0, 1)]
    assert len({one.deviation() for one in measured}) == 1
    assert not torch.equal(measured[1].condition, measured[2].condition)
    assert torch.equal(measured[1].mask, measured[0].mask)
    assert torch.equal(measured[0].condition, measured[0].clean)


def test_noise_may_be_given(network):
    clip = make_clip()
    config = dataclasses.replace(network.config, noise_augmentation=0.2)
    noise = torch.randn(FRAMES, 3, 64, 64)
    noised = encode_clip(network, *clip, config=config, noise=noise)
    grey = torch.where(clip[2] > 0.5, 0.5, clip[1])
    torch.testing.assert_close(noised.condition, encode_frames(network.svd.vae, grey + 0.1 * noise))


def test_without_a_canvas_a_clip_is_seen_at_its_own_size(network):
    clip = encode_clip(network, *make_clip(height=50, width=70))
    assert clip.condition.shape == (FRAMES, 4, 8, 16)
    assert clip.mask.shape == (FRAMES, 1, 8, 16)


def test_views_that_do_not_belong_together_are_refused(network):
    left, warped, hole = make_clip()
    for views, rule in (
        ((left[:2], warped, hole), "`warped` must have the frames and size of the left view"),
        ((left[..., :32], warped, hole), "`warped` must have the frames and size of the left view"),
        ((left, warped, hole[:2]), "`hole` must have as many frames as `warped`"),
    ):
        with pytest.raises(InputError, match=rule):
            encode_clip(network, *views)


@torch.no_grad()
def test_what_training_drops_is_guidances_free_branch(network):
    left, warped, hole = make_clip()
    inputs: list = []
    with network.svd.unet.register_forward_pre_hook(lambda _, given: inputs.append(given)):
        config = SamplerConfig(steps=1, guidance_min=2.0, guidance_max=2.0)
        sample(network, encode_reference(network, left), warped, hole, config)
    given, free = inputs
    assert torch.equal(free[0][:, :, 4:8], torch.zeros_like(free[0][:, :, 4:8]))
    assert torch.equal(free[0][:, :, 8:], given[0][:, :, 8:])
    assert torch.equal(free[2], torch.zeros_like(free[2]))
    clip = encode_clip(network, left, warped, hole)
    network.bank.load(
        build_bank(network.refiner, clip.reference, clip.embeddings, timestep=0.0),
        dropped=torch.tensor([True]),
    )
    sigma = karras_sigmas(1)[:1].float()
    arguments = {"mask": clip.mask[None], "time_ids": given[3], "sigma": sigma}
    arguments["noisy"] = given[0][:, :, :4] * (sigma.square() + 1).sqrt()
    dropped = predict_clean(
        network.svd.unet,
        condition=torch.zeros_like(clip.condition)[None],
        embedding=torch.zeros_like(clip.embedding()),
        **arguments,
    )
    network.bank.clear()
    expected = predict_clean(network.svd.unet, condition=free[0][:, :, 4:8], embedding=free[2], **arguments)
    torch.testing.assert_close(dropped, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("noise_augmentation", [0.0, 0.1])
def test_the_unet_sees_the_deviation_that_the_view_as_it_is_shown_lacks(with_map, noise_augmentation):
    """After noisy latents, condition and mask; the free branch of guidance sees none, as it sees no view."""
    settings = dataclasses.replace(with_map.config, noise_augmentation=noise_augmentation)
    network = dataclasses.replace(with_map, config=settings)
    left, warped, hole = make_clip()
    seen, handle = watch(network.svd.unet)
    config = SamplerConfig(steps=1, seed=4, deviation=2.5, guidance_min=2.0, guidance_max=2.0)
    sample(network, encode_reference(network, left), warped, hole, config)
    handle.remove()
    (given, *_), (free, *_) = seen
    clip = encode_clip(network, left, warped, hole, seed=4)
    wanted = 1.5 * (SCALING * clip.condition - clip.reference) * (clip.mask < 0.5)
    assert bool(wanted.any())
    assert given.shape[2] == 13
    torch.testing.assert_close(given[0, :, 9:], wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(given[0, :, 4:8], clip.condition, atol=1e-5, rtol=1e-5)
    assert not bool(free[:, :, 9:].any())
    assert torch.equal(free[:, :, 8], given[:, :, 8])


def test_at_slider_1_and_without_the_left_view_there_is_no_map(network, with_map):
    left, warped, hole = make_clip()
    seen, handle = watch(with_map.svd.unet)
    reference = encode_reference(with_map, left)
    usual = sample(with_map, reference, warped, hole, SamplerConfig(steps=1))
    sample(with_map, reference, warped, hole, SamplerConfig(steps=1, deviation=2.0, read_reference="off"))
    double = sample(with_map, reference, warped, hole, SamplerConfig(steps=1, deviation=2.0))
    handle.remove()
    assert [bool(given[0][:, :, 9:].any()) for given in seen] == [False, False, True]
    without = sample(network, encode_reference(network, left), warped, hole, SamplerConfig(steps=1))
    torch.testing.assert_close(usual, without, atol=1e-4, rtol=0)
    assert not torch.allclose(double, usual, atol=1e-3)


def test_an_estimate_is_in_float32_and_differentiable(network):
    unet = network.svd.unet
    noisy = torch.randn(1, 2, 4, 8, 8, requires_grad=True)
    estimate = predict_clean(
        unet,
        noisy,
        torch.tensor([2.0]),
        condition=torch.zeros(1, 2, 4, 8, 8),
        mask=torch.zeros(1, 2, 1, 8, 8),
        embedding=torch.zeros(1, 1, 32),
        time_ids=torch.zeros(1, 4),
    )
    assert estimate.dtype == torch.float32
    estimate.sum().backward()
    assert bool(noisy.grad.any())
