"""Networks from configs that ask for too much, for something else, or for nothing that can be built."""

import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.weights.files import read_header
from spatialdreamer_core.weights.networks import build_network, check_config, check_types, limited

FILE = Path("config.json")


@pytest.fixture
def header(tmp_path):
    save_file({"weight": torch.zeros(4, 4), "bias": torch.zeros(4)}, tmp_path / "a.safetensors")
    return read_header(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "config",
    [
        {"backbone": "timm/resnet50"},
        {"use_timm_backbone": True},
        {"use_pretrained_backbone": True},
        {"backbone_config": {"backbone": "facebook/dinov2-base"}},
        {"backbone_config": {"model_type": "timm_backbone"}},
        {"image_model_config": {"model_type": "timm_wrapper"}},
        {"backbone_config": {"model_type": None}},
        {"list": [{"use_timm_backbone": 1}]},
    ],
)
def test_what_loads_another_network_is_refused(config):
    with pytest.raises(
        InputError, match=r"(come with all of its networks|must be one of beit, bit,).*; use "
    ):
        check_config(config, FILE)


@pytest.mark.parametrize(
    "config",
    [{"a": 2**63}, {"a": -(10**400)}, {"a": 1e300}, {"a": [[2**40]]}, {"a": [0] * 5000}, {"num_layers": 513}],
)
def test_numbers_that_no_network_has_are_refused(config):
    with pytest.raises(InputError, match=r"a network's config must be|numbers of a network's config must be"):
        check_config(config, FILE)


def test_nesting_is_bounded():
    config: dict = {}
    for _ in range(50):
        config = {"a": config}
    with pytest.raises(InputError, match="nested deeper than"):
        check_config(config, FILE)


def test_what_says_how_a_network_runs_is_left_out():
    published = {
        "backbone": None,
        "use_pretrained_backbone": False,
        "backbone_config": {"model_type": "beit"},
    }
    running = {"auto_map": {"AutoModel": "evil.Evil"}, "attn_implementation": "someone/kernels"}
    inner = {"quantization_config": {"quant_method": "x"}, "_attn_implementation": "someone/kernels"}
    given = {**published, **running, "inner": inner}
    assert check_config(given, FILE) == {**published, "inner": {}}


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Linear(2**18, 2**18),  # 256 GB if it took memory
        lambda: nn.ModuleList(nn.Linear(1, 1) for _ in range(2**40)),  # without end
    ],
)
def test_a_network_that_its_weights_cannot_fill_is_not_built(header, build):
    with pytest.raises(
        InputError, match=r"a\.safetensors has 2 tensors with 20 numbers, less than its config"
    ):
        build_network(lambda _: build(), {}, header, file=FILE, what="network")


def test_the_limit_holds_for_this_thread_and_this_time_alone(header):
    made = []
    with limited(header):
        other = threading.Thread(target=lambda: made.append(nn.Linear(1000, 1000)))
        other.start()
        other.join()
        nn.Linear(4, 4)
    assert len(made) == 1
    nn.Linear(1000, 1000)


def test_whatever_a_constructor_or_a_trial_raises_is_a_config_that_does_not_fit(header):
    def fail(_):
        raise RecursionError("deep")

    for build, trial in ((fail, None), (lambda _: nn.Linear(4, 4), fail)):
        with pytest.raises(
            InputError, match=r"must be that of a network, got config\.json \(deep\); download"
        ):
            build_network(build, {}, header, file=FILE, what="network", trial=trial)


def test_types_are_those_of_the_signature():
    diffusers = pytest.importorskip("diffusers")
    unet = diffusers.UNet2DConditionModel
    check_types(unet, {"block_out_channels": [8, 16], "attention_head_dim": [5, 10], "norm_eps": 1, "x": 1})
    check_types(unet, {"sample_size": 64, "cross_attention_dim": 1024, "norm_num_groups": None})
    for wrong in (
        {"norm_eps": "1e-5"},
        {"layers_per_block": 2.5},
        {"in_channels": True},
        {"block_out_channels": [8, "16"]},
        {"act_fn": 5},
    ):
        with pytest.raises(TypeError, match=f"{next(iter(wrong))} must be of type"):
            check_types(unet, wrong)
