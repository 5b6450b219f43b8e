"""A cache in memory, tiny networks and short runs, for tests of the loop."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from spatialdreamer_core.training.config import TrainConfig
from spatialdreamer_core.training.train import start_accelerator, train

CHANNELS, CONTEXT = 4, 32
QUICK = {
    "batch": 2,
    "steps": 4,
    "frames": 3,
    "height": 64,
    "width": 64,
    "learning_rate": 1e-3,
    "precision": "fp32",
    "cpu": True,
    "gradient_checkpointing": False,
    "tracker": "none",
    "checkpoint_every": 2,
    "validate_every": 2,
}


@dataclass(frozen=True)
class TinyClip:
    name: str
    frames: int
    held_out: bool = False


class TinySample(NamedTuple):
    target: Tensor
    condition: Tensor
    mask: Tensor
    reference: Tensor
    embeddings: Tensor


class TinyCache:
    """Random clips: the target is the reference a little changed, the condition is the target with holes."""

    def __init__(self, frames=(5, 4, 3), *, held_out=(), size=8, seed=0):
        self.clips = [
            TinyClip(f"clip_{index}", count, index in held_out) for index, count in enumerate(frames)
        ]
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape):
            return torch.randn(*shape, generator=generator)

        self.samples = []
        for count in frames:
            reference = draw(count, CHANNELS, size, size)
            target = reference + 0.2 * draw(count, CHANNELS, size, size)
            mask = (draw(count, 1, size, size) > 1).float()
            condition = target * (1 - mask) / 0.18215
            embeddings = draw(count, 1, CONTEXT)
            self.samples.append(TinySample(target, condition, mask, reference, embeddings))

    def read(self, index, frames):
        return TinySample(*(part[frames.start : frames.stop] for part in self.samples[index]))


def make_network(tiny_svd, *, width=64):
    """Make a SpatialDreamer with four levels of so few channels."""
    from diffusers import UNetSpatioTemporalConditionModel

    from spatialdreamer_core.spatialdreamer import SpatialDreamer
    from spatialdreamer_core.svd import SVDModel

    torch.manual_seed(0)
    unet = UNetSpatioTemporalConditionModel(
        sample_size=None,
        in_channels=8,
        block_out_channels=(width,) * 4,
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=256 * 3,
        cross_attention_dim=CONTEXT,
        num_attention_heads=(width // 64,) * 4,
        num_frames=14,
    ).eval()
    return SpatialDreamer.from_svd(SVDModel(unet, tiny_svd.make_vae(), tiny_svd.make_image_encoder()))


def copy_network(network):
    """Copy what is trained of an untrained network."""
    from spatialdreamer_core.spatialdreamer.network import assemble

    unet, refiner = copy.deepcopy(network.svd.unet), copy.deepcopy(network.refiner)
    return assemble(network.svd, unet, refiner, None, network.config)


def quick_config(**changes) -> TrainConfig:
    config = TrainConfig(**{**QUICK, **changes})
    config.check()
    return config


def run(network, folder, *, cache=None, config=None, **options):
    """Train in a folder; `options` go to the settings if they are some, else to `train`."""
    settings = {name: options.pop(name) for name in list(options) if hasattr(TrainConfig, name)}
    config = quick_config(**settings) if config is None else config
    folder.mkdir(parents=True, exist_ok=True)
    accelerator = start_accelerator(config, folder)
    return train(config, cache or TinyCache(), network, folder, accelerator, **options)
