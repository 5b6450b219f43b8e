"""Clips in memory that stand for a dataset, of moving shapes with holes beside them, and tiny networks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

pytest.importorskip("accelerate")
pytest.importorskip("diffusers")


@dataclass(frozen=True)
class Record:
    name: str
    frames: int
    held_out: bool = False


class Clips:
    """A dataset in memory: each clip a picture of its own that moves, with a hole at its edge."""

    def __init__(self, *frames: int, size=(64, 128), held_out=()):
        self.records = [Record(f"clip{i}", count, i in held_out) for i, count in enumerate(frames)]
        self.size, self.asked, self.broken = size, [], set()

    def read(self, index, frames):
        from spatialdreamer_core.checks import InputError
        from spatialdreamer_core.training.clips import FittedClip

        if index in self.broken:
            raise InputError(f"clip{index} is damaged; build it again")
        self.asked.append((index, frames))
        generator = torch.Generator().manual_seed(index)
        height, width = self.size
        scene = torch.rand(1, 3, height // 8, width // 4, generator=generator)
        scene = torch.nn.functional.interpolate(scene, (height, 2 * width), mode="bilinear")
        target = torch.cat([scene[..., f : f + width] for f in frames])
        reference = torch.cat([scene[..., f + 4 : f + 4 + width] for f in frames])
        hole = torch.zeros(len(frames), 1, height, width)
        hole[..., height // 4 : height // 2, width // 3 : width // 3 + 9] = 1
        hole[..., -6:] = 1
        return FittedClip(target, reference, target * (1 - hole), hole)


@pytest.fixture
def make_clips():
    """Return what makes a dataset of clips of so many frames each."""
    return Clips


@pytest.fixture(scope="session")
def small_model():
    """A SpatialDreamer of a small world for pictures of 64x64, as training begins; not to be changed."""
    from spatialdreamer_core.spatialdreamer import SpatialDreamer
    from spatialdreamer_core.training.small_world import make_small_world

    network = SpatialDreamer.from_svd(make_small_world(widths=(64, 64), height=64, width=64))
    return replace(network, fills_holes=True)


@pytest.fixture(scope="session")
def tiny_network():
    """Return a tiny untrained SpatialDreamer, not to be changed."""
    from .tiny_training import make_network

    return make_network()


@pytest.fixture
def network(tiny_network):
    """Return a tiny SpatialDreamer of a test's own."""
    from .tiny_training import copy_network

    return copy_network(tiny_network)


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """Let each test choose precision and accumulation anew, which accelerate keeps for the process."""
    from accelerate.state import AcceleratorState, GradientState

    yield
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
