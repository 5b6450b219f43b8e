"""Which weights are trained, how their steps are taken, and what comes out to be used.

Stage 1 trains RefinerNet and the UNet's spatial layers on single frames; stage 2 trains the UNet's temporal
layers and TIL on clips, and on demand the whole UNet. RefinerNet's end, which no gradient reaches, stays as
it is: distributed training waits for each trained weight's gradient.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import InputError
from ..spatialdreamer.attention import install_writers
from ..spatialdreamer.network import SpatialDreamer, add_deviation_map, assemble
from ..spatialdreamer.refiner import TEMPORAL, build_refiner, dead_parameters
from ..spatialdreamer.til import TemporalInteraction
from ..svd.unet import build_unet
from .config import TrainConfig
from .loss import Trainee, halve

_NEW = ("unet.conv_in.", "unet.add_embedding.", "til.")  # layers of the mask, the deviation strength, TIL
_ADAPTED = re.compile(r"\.(attn[12]\.to_(q|k|v|out\.0)|ff(_in)?\.net\.(0\.proj|2)|proj_in|proj_out)$")
_FACTOR = ".lora_A.default.weight"  # peft's name of a weight's first factor


def start_network(network: SpatialDreamer, config: TrainConfig) -> SpatialDreamer:
    """Prepare networks for a stage: with TIL in stage 2 unless it is off, and settings that say all this.

    Args:
        network: Untrained ones, or those of an earlier stage or run; shared, not copied.
        config: Of the run.

    Raises:
        InputError: If the networks have TIL, of stage 2, and stage 1 or a stage 2 without it is to follow; or
            they are to get a deviation map in a stage that trains no layer that takes it.
    """
    if config.deviation_map and not network.config.deviation_map:
        if config.stage == "2" and not config.whole_unet:
            raise InputError(
                "deviation_map must be learned in stage 1, or in stage 2 with whole_unet, got stage 2 alone "
                "from weights that have no map; leave it out, give --whole-unet, or train stage 1 anew"
            )
        network = add_deviation_map(network)
    settings = replace(
        network.config,
        stage="stage2" if config.stage == "2" and config.til else "stage1",  # which has no TIL
        til_neighbours=config.til_neighbours,
        til_weight=config.til_weight,
        blank_holes=True,
        noise_augmentation=0.02 if config.noise_augmentation else 0.0,
        reads_reference=True,
    )
    settings.check()
    til = network.til
    if config.stage == "1" and til is not None:
        raise InputError(
            "stage 1 must start from SVD or from weights of stage 1, got weights with TIL, of stage 2; "
            "choose others to start from, or stage 2"
        )
    if not config.til and til is not None:
        raise InputError(
            "stage 2 without TIL must start from weights of stage 1, got weights with TIL; choose others to "
            "start from, or leave til on"
        )
    if config.stage == "2" and config.til:
        if til is None:
            til = TemporalInteraction.from_refiner(network.refiner, settings)
        til.neighbours, til.weight = settings.til_neighbours, settings.til_weight
    return replace(network, til=til, config=settings, fills_holes=True)


def choose_trained(trainee: Trainee, config: TrainConfig) -> None:
    """Let the weights that a stage trains take gradients, in float32, and no others."""
    dead = {f"refiner.{name}" for name in dead_parameters(trainee.refiner)}
    wanted = {
        name for name, _ in trainee.named_parameters() if name not in dead and _is_trained(name, config)
    }
    if config.lora:
        factors = _add_lora(trainee, wanted, config)
        wanted = factors | {name for name in wanted if name.startswith(_NEW)}
    halved = config.precision == "bf16"
    for name, parameter in trainee.named_parameters():
        parameter.requires_grad_(name in wanted)
        if name in wanted:
            parameter.data = parameter.data.float()
        elif halved:
            halve(parameter)


def trained_parameters(trainee: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that are trained, by name."""
    return {name: value for name, value in trainee.named_parameters() if value.requires_grad}


def make_optimizer(trainee: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Make AdamW for the weights that are trained.

    Raises:
        InputError: If it is to be that of 8 bits, and bitsandbytes is not installed.
    """
    settings: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": (config.beta1, config.beta2),
        "eps": config.epsilon,
        "weight_decay": config.weight_decay,
    }
    parameters = list(trained_parameters(trainee).values())
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, **settings)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError:
        raise InputError(
            "optimizer adamw8bit must have the package bitsandbytes, which is not installed; "
            "pip install bitsandbytes, or choose adamw"
        ) from None
    return AdamW8bit(parameters, **settings)


def deploy(state: Mapping[str, Tensor], network: SpatialDreamer) -> SpatialDreamer:
    """Make networks for use from a trainee's tensors: LoRA is merged, tensors are shared where they can be.

    Args:
        state: By the trainee's names, LoRA's factors among them.
        network: Whose architecture, settings and base model they have.
    """
    state = merge_lora(state)
    with torch.device("meta"):
        config = {name: value for name, value in network.svd.unet.config.items() if name[0] != "_"}
        unet, refiner = build_unet(**config), build_refiner(network.svd.unet.config)
        til = None if network.til is None else TemporalInteraction(refiner, network.config)
    for name, module in (("unet", unet), ("refiner", refiner), ("til", til)):
        if module is not None:
            prefix = f"{name}."
            own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            module.load_state_dict(own, assign=True)
    install_writers(refiner)
    return assemble(network.svd, unet, refiner, til, network.config)


def merge_lora(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add LoRA's products to the weights that they belong to, which get their own names back."""
    merged = {
        name.replace(".base_layer.", "."): value for name, value in state.items() if ".lora_" not in name
    }
    for name, first in state.items():
        if name.endswith(_FACTOR):
            layer = name.removesuffix(_FACTOR)
            second = state[f"{layer}.lora_B.default.weight"]
            weight = merged[f"{layer}.weight"]
            merged[f"{layer}.weight"] = weight.float() + second.float() @ first.float()
    return merged


def _is_trained(name: str, config: TrainConfig) -> bool:
    """Tell whether a stage trains a parameter, by its name in the trainee."""
    part, _, rest = name.partition(".")
    temporal = any(each in rest for each in TEMPORAL)
    if config.stage == "1":
        return part == "refiner" or (part == "unet" and not temporal)
    return part == "til" or (part == "unet" and (temporal or config.whole_unet))


def _add_lora(trainee: nn.Module, wanted: set[str], config: TrainConfig) -> set[str]:
    """Put LoRA's factors beside the weights of attentions and feed-forwards; returns their names."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise InputError(
            f"lora {config.lora} must have the package peft, which is not installed; pip install peft, or "
            "leave lora at 0"
        ) from None
    targets = [
        name
        for name, module in trainee.named_modules()
        if isinstance(module, nn.Linear) and _ADAPTED.search(name) and f"{name}.weight" in wanted
    ]
    settings = LoraConfig(r=config.lora, lora_alpha=config.lora, target_modules=targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        inject_adapter_in_model(settings, trainee)
    return {name for name, _ in trainee.named_parameters() if ".lora_" in name}
