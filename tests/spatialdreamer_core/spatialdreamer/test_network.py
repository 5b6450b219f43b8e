import dataclasses

import torch
from safetensors.torch import save_file

from spatialdreamer_core.spatialdreamer import SpatialDreamer
from spatialdreamer_core.spatialdreamer.attention import ReaderProcessor
from spatialdreamer_core.spatialdreamer.config import SD_CLEAN_TIMESTEP, SVD_CLEAN_TIMESTEP
from spatialdreamer_core.spatialdreamer.inputs import predict_clean
from spatialdreamer_core.spatialdreamer.network import add_deviation_map
from spatialdreamer_core.spatialdreamer.refiner import build_bank, make_refiner
from spatialdreamer_core.svd import time_id_count


def run(network, tiny_svd, call_unet, *, til):
    """Build a bank of two frames and run the UNet."""
    generator = torch.Generator().manual_seed(8)
    latents = torch.randn(2, 4, 8, 16, generator=generator)
    embeddings = torch.randn(2, 1, tiny_svd.CONTEXT, generator=generator)
    network.bank.load(
        build_bank(network.refiner, latents, embeddings, timestep=network.config.refiner_timestep, til=til)
    )
    return call_unet(network.svd.unet)


@torch.no_grad()
def test_an_untrained_network_reads_its_refiner_and_has_no_til(make_svd, tiny_svd, call_unet):
    network = SpatialDreamer.from_svd(make_svd())
    assert network.til is None
    assert network.config.stage == "untrained"
    assert not network.config.blank_holes
    assert network.config.refiner_timestep == SVD_CLEAN_TIMESTEP
    plain = call_unet(make_svd().unet.requires_grad_(False))
    assert torch.equal(call_unet(network.svd.unet), plain)
    assert not torch.allclose(run(network, tiny_svd, call_unet, til=None), plain, atol=1e-3)


@torch.no_grad()
def test_stage_2_begins_where_stage_1_ended_and_without_til_stays_there(make_svd, tiny_svd, call_unet):
    with_til = SpatialDreamer.from_svd(make_svd(), with_til=True)
    without = SpatialDreamer.from_svd(make_svd())
    stage_1 = run(without, tiny_svd, call_unet, til=without.til)
    assert torch.equal(run(with_til, tiny_svd, call_unet, til=with_til.til), stage_1)
    for site in with_til.til.sites.values():  # as training would leave it
        site.to_change.reset_parameters()
    assert torch.equal(run(with_til, tiny_svd, call_unet, til=None), stage_1)
    assert not torch.allclose(run(with_til, tiny_svd, call_unet, til=with_til.til), stage_1, atol=1e-4)


def test_its_modules_are_all_networks_once_and_ready_for_inference(make_svd):
    network = SpatialDreamer.from_svd(make_svd(), with_til=True)
    assert len({id(module) for module in network.modules}) == len(network.modules) == 5
    assert not any(module.training for network_part in network.modules for module in network_part.modules())
    assert not any(value.requires_grad for module in network.modules for value in module.parameters())
    assert len(SpatialDreamer.from_svd(make_svd()).modules) == 4


@torch.no_grad()
def test_a_unet_of_3_time_ids_stays_as_it_is(make_svd, tiny_svd, call_unet):
    base = make_svd(time_ids=3)
    network = SpatialDreamer.from_svd(base)
    assert network.svd.unet is base.unet
    assert run(network, tiny_svd, call_unet, til=None).isfinite().all()


def test_a_refiner_of_stable_diffusion_runs_at_its_own_timestep(make_svd, tmp_path):
    source = make_refiner(make_svd(seed=5).unet)
    save_file(source.state_dict(), tmp_path / "sd.safetensors")
    network = SpatialDreamer.from_svd(make_svd(), refiner_source=tmp_path / "sd.safetensors")
    assert network.config.refiner_timestep == SD_CLEAN_TIMESTEP
    assert torch.equal(network.refiner.conv_in.weight, source.conv_in.weight)


@torch.no_grad()
def test_plain_svd_is_widened_and_with_an_empty_bank_stays_plain_svd(make_svd, tiny_svd):
    base = make_svd(in_channels=8, time_ids=3)
    network = SpatialDreamer.from_svd(base)
    wide = network.svd.unet
    assert (wide.config.in_channels, wide.add_embedding.linear_1.in_features) == (9, 1024)
    assert not any(isinstance(item, ReaderProcessor) for item in base.unet.attn_processors.values())
    sample, context = torch.randn(1, 2, 9, 8, 16), torch.randn(1, 1, tiny_svd.CONTEXT)
    ids = torch.tensor([[6, 127, 0.02, 700.0]])
    for module in base.unet.modules():
        if hasattr(module, "norm1") and isinstance(module.norm1, torch.nn.GroupNorm):
            module.norm1.eps = module.norm2.eps = 1e-5  # as SVD was trained
    plain = base.unet(sample[:, :, :8], 0.3, context, ids[:, :3]).sample
    torch.testing.assert_close(wide(sample, 0.3, context, ids).sample, plain, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_deviation_map_begins_as_a_change_of_nothing(make_svd, tiny_svd):
    """Whatever the map says, the network is SVD with an empty bank, and keeps all else that it had."""
    base = make_svd(in_channels=8, time_ids=3)
    network = SpatialDreamer.from_svd(base)
    wide = add_deviation_map(network)
    assert wide.config == dataclasses.replace(network.config, deviation_map=True)
    assert (wide.svd.unet.config.in_channels, time_id_count(wide.svd.unet)) == (13, 4)
    assert not bool(wide.svd.unet.conv_in.weight[:, 8:].any())
    assert (wide.refiner, wide.til, wide.fills_holes) == (network.refiner, network.til, False)
    assert add_deviation_map(wide) is wide
    assert network.svd.unet.config.in_channels == 9
    noisy, condition, missing = torch.randn(3, 1, 2, 4, 8, 16)
    seen = {"condition": condition, "mask": torch.rand(1, 2, 1, 8, 16).round()}
    seen |= {
        "embedding": torch.randn(1, 1, tiny_svd.CONTEXT),
        "time_ids": torch.tensor([[6, 127, 0.02, 700.0]]),
    }
    plain = predict_clean(network.svd.unet, noisy, torch.tensor([2.0]), **seen)
    with_map = predict_clean(wide.svd.unet, noisy, torch.tensor([2.0]), missing=missing, **seen)
    torch.testing.assert_close(with_map, plain, atol=1e-5, rtol=0)


def test_checkpointing_changes_neither_values_nor_gradients(make_svd, tiny_svd):
    """Of a batch of two clips, of which one reads nothing, through UNet, TIL and RefinerNet."""
    network = SpatialDreamer.from_svd(make_svd(), with_til=True)
    for site in network.til.sites.values():
        site.to_change.reset_parameters()
    modules = (network.svd.unet, network.til, network.refiner)
    names = list(network.svd.unet.state_dict())
    generator = torch.Generator().manual_seed(8)
    latents = torch.randn(4, 4, 8, 8, generator=generator)
    embeddings = torch.randn(4, 1, tiny_svd.CONTEXT, generator=generator)
    noisy = torch.randn(2, 2, 4, 8, 8, generator=generator)
    results = []
    for checkpointing in (False, True):
        if checkpointing:
            network.enable_gradient_checkpointing()
        for module in modules:
            module.train().requires_grad_(True).zero_grad()
        features = build_bank(network.refiner, latents, embeddings, timestep=0.0, til=network.til, clips=2)
        network.bank.load(features, dropped=torch.tensor([False, True]))
        estimate = predict_clean(
            network.svd.unet,
            noisy,
            torch.tensor([0.5, 3.0]),
            condition=noisy.flip(0),
            mask=torch.zeros(2, 2, 1, 8, 8),
            embedding=embeddings[::2],
            time_ids=torch.tensor([[6, 127, 0.02, 100.0], [24, 127, 0.1, 0.0]]),
        )
        estimate.square().sum().backward()
        gradients = {
            (index, name): value.grad
            for index, module in enumerate(modules)
            for name, value in module.named_parameters()
        }
        results.append((estimate, {name: grad for name, grad in gradients.items() if grad is not None}))
    assert list(network.svd.unet.state_dict()) == names
    torch.testing.assert_close(results[1], results[0], atol=1e-3, rtol=1e-3)
    assert len(results[0][1]) > 900
