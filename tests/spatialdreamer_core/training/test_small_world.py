"""A small world: made from nothing, of the real classes, sampled, saved and loaded like a published model."""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("diffusers")

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.spatialdreamer import (
    SamplerConfig,
    SpatialDreamer,
    encode_reference,
    load_spatialdreamer,
    sample_views,
    save_spatialdreamer,
)
from spatialdreamer_core.spatialdreamer.attention import spatial_sites
from spatialdreamer_core.spatialdreamer.refiner import build_bank, dead_parameters
from spatialdreamer_core.svd import PixelCodec, load_svd, save_folder
from spatialdreamer_core.training.small_world import make_small_world

SIZE = (24, 32)


@pytest.fixture(scope="module")
def world():
    return make_small_world(seed=1, widths=(64, 64))


def views(model, *, steps=2):
    generator = torch.Generator().manual_seed(2)
    left, warped = torch.rand(2, 3, 3, *SIZE, generator=generator)
    hole = torch.zeros(3, 1, *SIZE)
    hole[..., 8:20] = 1
    reference = encode_reference(model, left, max_side=64)
    return sample_views(model, reference, warped, hole, SamplerConfig(steps=steps)), warped, hole


def test_a_small_world_depends_on_its_seed_alone(world):
    before = torch.get_rng_state()
    same, other = (make_small_world(seed=seed, widths=(64, 64)) for seed in (1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    weight = world.unet.conv_in.weight
    assert torch.equal(same.unet.conv_in.weight, weight)
    assert not torch.equal(other.unet.conv_in.weight, weight)
    assert not any(parameter.requires_grad for part in world.modules for parameter in part.parameters())


def test_the_usual_one_has_a_few_million_weights():
    with torch.device("meta"):
        world = make_small_world()
        model = SpatialDreamer.from_svd(world)
    assert isinstance(world.vae, PixelCodec)
    weights = sum(part.numel() for module in model.modules for part in module.parameters())
    assert 1e6 < weights < 3e7


def test_it_is_sampled_at_any_size_and_known_pixels_stay(world):
    model = SpatialDreamer.from_svd(world)
    result, warped, hole = views(model)
    assert result.whole.shape == warped.shape
    config = SamplerConfig()
    reach = config.dilate + config.feather
    far = torch.nn.functional.max_pool2d(hole, 2 * reach + 1, 1, reach).expand_as(warped) == 0
    assert torch.equal(result.filled[far], warped[far])
    assert not torch.equal(result.filled, warped)


def test_every_weight_but_the_dead_ones_gets_a_gradient(world):
    model = SpatialDreamer.from_svd(world)
    unet, refiner = model.svd.unet, model.refiner
    assert spatial_sites(unet) == spatial_sites(refiner)
    for module in (unet, refiner):
        module.requires_grad_(True)
    channels = model.svd.codec.channels
    latents, embeddings = torch.rand(2, channels, 8, 8), torch.rand(2, 1, 64)
    model.bank.load(build_bank(refiner, latents, embeddings, timestep=model.config.refiner_timestep))
    noisy = torch.rand(1, 2, 2 * channels + 1, 8, 8)
    unet(noisy, torch.tensor(0.3), embeddings[:1], torch.rand(1, 4)).sample.square().mean().backward()
    assert [name for name, part in unet.named_parameters() if part.grad is None] == []
    without = [name for name, part in refiner.named_parameters() if part.grad is None]
    assert without == dead_parameters(refiner)


def test_world_and_weights_come_back_from_disk(world, tmp_path):
    model = replace(SpatialDreamer.from_svd(world), fills_holes=True)  # as what is loaded counts as trained
    save_folder(world, tmp_path / "world")
    save_spatialdreamer(model, tmp_path / "weights")
    loaded = load_spatialdreamer(load_svd(tmp_path / "world"), tmp_path / "weights")
    assert torch.equal(views(loaded)[0].whole, views(model)[0].whole)


def test_bad_worlds():
    for options, message in (
        ({"widths": (64, 96)}, r"widths must be multiples of 64, .* got \(64, 96\)"),
        ({"widths": ()}, r"widths must be"),
        ({"factor": 9}, r"factor must be between 1 and 8"),
        ({"layers": 0}, r"layers must be between 1 and 8"),
        ({"height": 2}, r"height must be between 4 and 4096"),
    ):
        with pytest.raises(InputError, match=message):
            make_small_world(**options)


def test_it_sees_each_frame_by_itself_until_its_temporal_layers_are_trained(world):
    generator = torch.Generator().manual_seed(3)
    noisy = torch.rand(1, 3, world.unet.config.in_channels, 8, 8, generator=generator)
    rest = torch.tensor(0.3), torch.rand(1, 1, 64, generator=generator), torch.rand(1, 3, generator=generator)
    with torch.no_grad():
        together = world.unet(noisy, *rest).sample
        alone = [world.unet(noisy[:, frame : frame + 1], *rest).sample for frame in range(3)]
    torch.testing.assert_close(together, torch.cat(alone, dim=1))
