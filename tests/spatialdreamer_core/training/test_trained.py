import sys
import types

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.spatialdreamer.refiner import dead_parameters
from spatialdreamer_core.training.batches import Batches
from spatialdreamer_core.training.config import TrainConfig
from spatialdreamer_core.training.loss import Trainee
from spatialdreamer_core.training.trained import (
    choose_trained,
    deploy,
    make_optimizer,
    merge_lora,
    start_network,
    trained_parameters,
)

from .tiny_training import TinyCache, copy_network, quick_config


def prepare(network, **changes):
    config = quick_config(**changes)
    started = start_network(network, config)
    trainee = Trainee(started)
    choose_trained(trainee, config)
    return started, trainee.train(), config


def backward(trainee, config):
    batch = Batches(TinyCache(), config, scaling=0.18215).read([0, 1])
    trainee(batch).sum().backward()


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": "1"},
        {"stage": "1", "drop_reference": 1.0},
        {"stage": "1", "gradient_checkpointing": True},
        {"stage": "1", "lora": 4},
        {"stage": "2"},
        {"stage": "2", "whole_unet": True},
        {"stage": "2", "lora": 4},
        {"stage": "2", "til": False},
    ],
    ids=lambda changes: "-".join(f"{name}_{value}" for name, value in changes.items()),
)
def test_exactly_what_a_stage_trains_gets_gradients(network, changes):
    _, trainee, config = prepare(network, **changes)
    if config.gradient_checkpointing:
        trainee.unet.enable_gradient_checkpointing()
        trainee.refiner.enable_gradient_checkpointing()
    backward(trainee, config)
    trained = trained_parameters(trainee)
    assert trained
    for name, parameter in trainee.named_parameters():
        assert (parameter.grad is not None) == (name in trained), name
    names = set(trained)
    dead = {f"refiner.{name}" for name in dead_parameters(trainee.refiner)}
    if config.lora:
        whole = {name for name in names if ".lora_" not in name}
        new = ("unet.conv_in.", "unet.add_embedding.") if config.stage == "1" else ("til.",)
        assert whole == {name for name, _ in trainee.named_parameters() if name.startswith(new)}
    elif config.stage == "1":
        assert {name for name, _ in trainee.refiner.named_parameters(prefix="refiner")} - names == dead
        assert not any(".temporal_" in name or ".time_mixer." in name for name in names)
        assert "unet.conv_in.weight" in names
    else:
        assert any(".temporal_" in name for name in names)
        assert any(name.startswith("til.") for name in names) == config.til
        assert not config.til or {name for name, _ in trainee.til.named_parameters(prefix="til")} <= names
        assert not any(name.startswith("refiner.") for name in names)
        assert ("unet.conv_in.weight" in names) == config.whole_unet


def test_what_stays_is_kept_in_bfloat16_but_for_what_is_small(network):
    _, trainee, _ = prepare(network, stage="2", precision="bf16")
    trained = trained_parameters(trainee)
    for name, parameter in trainee.named_parameters():
        small = parameter.ndim == 1
        assert (parameter.dtype == torch.float32) == (name in trained or small), name


def test_settings_say_how_networks_were_trained(network):
    first, _, _ = prepare(network, stage="1")
    assert (first.config.stage, first.config.blank_holes, first.til) == ("stage1", True, None)
    assert (first.config.reads_reference, first.config.noise_augmentation) == (True, 0.0)
    second, _, _ = prepare(first, stage="2", til_weight=0.5, noise_augmentation=True)
    assert (second.config.stage, second.config.til_weight) == ("stage2", 0.5)
    assert second.config.noise_augmentation == 0.02
    assert second.til is not None
    with pytest.raises(InputError, match="stage 1 must start from SVD or from weights of stage 1"):
        start_network(second, quick_config(stage="1"))
    without, _, _ = prepare(first, stage="2", til=False)
    assert (without.config.stage, without.til) == ("stage1", None)  # which the loader takes
    with pytest.raises(InputError, match="stage 2 without TIL must start from weights of stage 1"):
        start_network(second, quick_config(stage="2", til=False))


def test_a_deviation_map_is_begun_where_its_layer_is_trained_and_then_kept(network):
    plain, _, _ = prepare(network, stage="1")
    assert not plain.config.deviation_map
    with_map, trainee, _ = prepare(plain, stage="1", deviation_map=True)
    channels = plain.svd.codec.channels
    assert with_map.config.deviation_map
    assert trainee.unet.conv_in.weight.shape[1] == plain.svd.unet.conv_in.weight.shape[1] + channels
    for config in (quick_config(stage="2"), quick_config(stage="2", deviation_map=True)):
        assert start_network(with_map, config).config.deviation_map
    assert deploy(trainee.state_dict(), with_map).config.deviation_map
    with pytest.raises(InputError, match=r"deviation_map must be learned in stage 1, .* got stage 2 alone"):
        start_network(plain, quick_config(stage="2", deviation_map=True))
    whole = quick_config(stage="2", deviation_map=True, whole_unet=True)
    assert start_network(plain, whole).config.deviation_map


def test_networks_for_use_are_those_that_were_trained(network):
    started, trainee, _ = prepare(network, stage="2")
    deployed = deploy(trainee.state_dict(), started)
    for part in ("unet", "refiner", "til"):
        own, used = getattr(trainee, part), deployed.svd.unet if part == "unet" else getattr(deployed, part)
        assert own is not used
        state = own.state_dict()
        for name, value in used.state_dict().items():
            assert value.data_ptr() == state[name].data_ptr()
    assert trained_parameters(trainee)
    assert not any(value.requires_grad for module in deployed.modules for value in module.parameters())


def test_merged_lora_computes_what_its_factors_did(network):
    started, trainee, config = prepare(network, stage="1", lora=4)
    with torch.no_grad():
        for name, value in trainee.named_parameters():
            if ".lora_B." in name:
                value.normal_(std=0.2)
    batch = Batches(TinyCache(), config, scaling=0.18215).read([0, 1])
    plain = Trainee(deploy(trainee.state_dict(), started))
    state = merge_lora(trainee.state_dict())
    assert set(state) == set(plain.state_dict())
    with torch.no_grad():
        assert torch.allclose(trainee.eval()(batch), plain.eval()(batch), atol=1e-4)


def test_lora_begins_alike_everywhere_and_leaves_the_generator_alone(tiny_network):
    states = []
    for _ in range(2):
        before = torch.get_rng_state()
        _, trainee, _ = prepare(copy_network(tiny_network), stage="1", lora=2)
        assert torch.equal(torch.get_rng_state(), before)
        states.append({name: value for name, value in trainee.state_dict().items() if "lora_A" in name})
    assert states[0]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize(
    ("package", "changes", "message"),
    [
        ("bitsandbytes", {"optimizer": "adamw8bit"}, "adamw8bit must have the package bitsandbytes"),
        ("peft", {"lora": 4}, "lora 4 must have the package peft"),
    ],
)
def test_packages_that_are_missing_are_named(network, monkeypatch, package, changes, message):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.optim", None)
    with pytest.raises(InputError, match=message):
        make_optimizer(prepare(network, **changes)[1], quick_config(**changes))


def test_adamw_gets_what_is_configured(network, monkeypatch):
    config = TrainConfig(learning_rate=1e-4, beta1=0.8, beta2=0.9, epsilon=1e-6, weight_decay=0.2)
    _, trainee, _ = prepare(network)
    (group,) = make_optimizer(trainee, config).param_groups
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (1e-4, (0.8, 0.9), 1e-6, 0.2)
    assert len(group["params"]) == len(trained_parameters(trainee))


def test_adamw_of_8_bits_gets_the_same(network, monkeypatch):
    """Of the package's interface, since it needs a GPU."""

    class AdamW8bit(torch.optim.AdamW):
        pass

    package, optim = types.ModuleType("bitsandbytes"), types.ModuleType("bitsandbytes.optim")
    optim.AdamW8bit = AdamW8bit
    monkeypatch.setitem(sys.modules, "bitsandbytes", package)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", optim)
    config = TrainConfig(optimizer="adamw8bit", learning_rate=1e-4, weight_decay=0.2)
    optimizer = make_optimizer(prepare(network)[1], config)
    assert isinstance(optimizer, AdamW8bit)
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (1e-4, 0.2)
