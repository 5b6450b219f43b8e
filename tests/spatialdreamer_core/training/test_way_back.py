"""Clips whose views lie elsewhere than on the truth teach what the stereo deviation strength asks for.

The small world cannot show it within minutes: it sees the left view through its attention alone, which takes
longer to learn where to look. So a smaller network that gets both views side by side learns from the same
batches that train SpatialDreamer, and is measured on held-out clips, whose views do lie on the truth.
"""

import os

import pytest
import torch
from torch import nn
from torch.nn import functional as F

pytest.importorskip("accelerate")
pytest.importorskip("diffusers")

from spatialdreamer_core.cli import main
from spatialdreamer_core.spatialdreamer import SpatialDreamer
from spatialdreamer_core.spatialdreamer.inputs import window_deviation
from spatialdreamer_core.training.batches import Batches
from spatialdreamer_core.training.config import from_preset
from spatialdreamer_core.training.dataset import open_dataset
from spatialdreamer_core.training.latents import build_latents
from spatialdreamer_core.training.small_world import make_small_world

VIDEOS = os.environ.get("SPATIALDREAMER_TRAINING_VIDEOS")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not VIDEOS, reason="SPATIALDREAMER_TRAINING_VIDEOS names no videos"),
]
STEPS, BATCH, WIDTH = 400, 8, 64
STRENGTHS = torch.tensor([0.5, 1.0, 2.0])


class Block(nn.Module):
    """A residual block that is told the strength."""

    def __init__(self):
        super().__init__()
        self.first, self.second = (nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(2))
        self.told = nn.Linear(8, WIDTH)
        nn.init.zeros_(self.second.weight)

    def forward(self, x, strength):
        told = self.told(strength)[:, :, None, None]
        return x + self.second(F.silu(self.first(F.silu(x)) + told))


class SideBySide(nn.Module):
    """Changes the rendered view by what it sees of it, of the left view, of the holes and of the strength."""

    def __init__(self, channels):
        super().__init__()
        self.begin = nn.Conv2d(2 * channels + 1, WIDTH, 3, padding=1)
        self.blocks = nn.ModuleList([Block() for _ in range(3)])
        self.end = nn.Conv2d(WIDTH, channels, 1)
        nn.init.zeros_(self.end.weight)

    def forward(self, warped, reference, mask, deviation):
        waves = deviation[:, None] * torch.tensor([3.0, 6.0, 12.0, 25.0])
        x = self.begin(torch.cat([warped, reference, mask], dim=1))
        for block in self.blocks:
            x = block(x, torch.cat([waves.sin(), waves.cos()], dim=1))
        return warped + self.end(x)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """The dataset, its latents, and a network that has learned from them."""
    folder = tmp_path_factory.mktemp("dataset") / "made"
    look = ["--size", "192", "--clips-per-scene", "12", "--divergence-low", "2", "--divergence-high", "8"]
    ways = ["--way-back-low", "0.4", "--way-back-high", "2.5"]
    rules = ["--held-out", "0.3", "--least-motion", "0", "--depth", "builtin", "--quiet"]
    videos = VIDEOS.split(os.pathsep)
    assert main(["dataset", "build", *videos, "-o", str(folder), *look, *ways, *rules]) == 0
    dataset, world = open_dataset(folder), make_small_world()
    latents = folder.parent / "latents"
    cache = build_latents(dataset, SpatialDreamer.from_svd(world), latents, height=64, width=96)
    scaling, channels = world.codec.scaling, world.codec.channels
    batches = Batches(cache, from_preset("test", "1", batch=BATCH), scaling=scaling)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SideBySide(channels)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    for step in range(STEPS):
        batch = batches.read(range(step * BATCH, (step + 1) * BATCH))
        views = (scaling * batch.condition[:, 0], batch.reference[:, 0], batch.mask[:, 0])
        loss = (network(*views, batch.deviation) - batch.target[:, 0]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return dataset, cache, network, scaling


@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_more_strength_moves_the_whole_view_farther_the_true_way(learned, side):
    """The share of the true displacement, by regression on the difference of the true views."""
    dataset, cache, network, scaling = learned
    shares = []
    for clip in cache.clips:
        if not clip.held_out or dataset.records[clip.index].side != side:
            continue
        sample = cache.read(clip.index, range(1))
        strength = window_deviation(sample.condition, sample.reference, sample.mask, scaling=scaling)
        views = (scaling * sample.condition, sample.reference, sample.mask)
        whole = network(*(view.expand(3, -1, -1, -1) for view in views), strength * STRENGTHS)
        true = (sample.target - sample.reference) * (sample.mask < 0.5)
        shares.append(((whole - sample.reference) * true).flatten(1).sum(1) / true.square().sum())
    half, usual, double = torch.stack(shares).mean(0).tolist()
    print(f"x2 on the {side}: {half:.3f}, {usual:.3f} and {double:.3f} of the displacement")
    assert half < double - 0.05
    assert usual < double
    assert 0.7 < usual < 1.1
