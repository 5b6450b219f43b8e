"""A cache in memory, tiny networks and short runs, for tests of the loop."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from spatialdreamer_core.training.config import TrainConfig
from spatialdreamer_core.training.train import start_accelerator, train

SCALING = 2.0  # of that codec
CHANNELS, CONTEXT = 12, 64  # of the small world's codec and image tower
QUICK = {
    "batch": 2,
    "steps": 4,
    "frames": 3,
    "height": 16,
    "width": 16,
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
            condition = target * (1 - mask) / SCALING
            embeddings = draw(count, 1, CONTEXT)
            self.samples.append(TinySample(target, condition, mask, reference, embeddings))

    def read(self, index, frames):
        return TinySample(*(part[frames.start : frames.stop] for part in self.samples[index]))


def make_network():
    """Make a SpatialDreamer of two levels with few channels."""
    from spatialdreamer_core.spatialdreamer import SpatialDreamer
    from spatialdreamer_core.training.small_world import make_small_world

    return SpatialDreamer.from_svd(make_small_world(factor=2, widths=(64, 64), height=16, width=16))


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
