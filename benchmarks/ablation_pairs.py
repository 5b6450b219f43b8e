"""Pairs of `benchmarks.ablation`: of films with built-in depth, and of synthetic scenes with true depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spatialdreamer_core.fill import render_pair
from spatialdreamer_core.metrics import CLIPS as SCENES
from spatialdreamer_core.metrics.synthetic import Scene, render_scene
from spatialdreamer_core.training.dataset import DatasetConfig, DVGClip, build_dataset, open_dataset

FRAMES = 8
HEIGHT, WIDTH = 64, 96
DIVERGENCES = (4.0, 10.0)  # % of the width: at 96 px less leaves holes of a pixel
HELD_OUT = 4  # every fourth synthetic scene, and the last fourth of a film's scene
LOOKS = 3  # of each synthetic scene: textures and divergence
SCENE_NAMES = (
    *("translate_right", "upside_down_left", "strips_right", "studio_right", "orbit", "dolly_ground"),
    *("walker_two_layers", "translate_left", "dolly_in", "upside_down_right", "strips_left", "studio_dolly"),
)


@dataclass(frozen=True)
class Record:
    """What training and validation ask of a clip."""

    name: str
    frames: int
    held_out: bool


class Pairs:
    """Pairs of films and of synthetic scenes as one dataset, in memory."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._clips: list[DVGClip] = []

    def add(self, name: str, clip: DVGClip, *, held_out: bool) -> None:
        """Add a clip."""
        self.records.append(Record(name, len(clip.hole), held_out))
        self._clips.append(clip)

    def read(self, index: int, frames: range) -> DVGClip:
        """Return frames of a clip."""
        return DVGClip(*(part[frames.start : frames.stop] for part in self._clips[index]))


def make_pairs(films: Sequence[Path], folder: Path, *, refined: bool) -> Pairs:
    """Render the pairs of films, as `spatialdreamer dataset build` does, and of synthetic scenes."""
    config = DatasetConfig(
        frames=FRAMES,
        clips_per_scene=16,
        size=160,
        divergence_low=DIVERGENCES[0],
        divergence_high=DIVERGENCES[1],
        held_out=0.0,
        depth="builtin",
        refine_masks=refined,
        device="cpu",  # the same pairs on every machine
    )
    pairs = Pairs()
    build_dataset(films, folder / f"dataset_{refined}", config)
    dataset = open_dataset(folder / f"dataset_{refined}")
    scenes: dict[str, list[int]] = {}
    for index, record in enumerate(dataset.records):
        scenes.setdefault(record.scene, []).append(index)
    for clips in scenes.values():
        known = len(clips) - len(clips) // HELD_OUT
        for place, index in enumerate(clips):
            pairs.add(dataset.records[index].name, dataset.read(index), held_out=place >= known)
    for number, name in enumerate(SCENE_NAMES):
        for look in range(LOOKS):
            clip = render_synthetic(SCENES[name], number, look, refined=refined)
            pairs.add(f"{name}_{look}", clip, held_out=number % HELD_OUT == HELD_OUT - 1)
    return pairs


def render_synthetic(scene: Scene, number: int, look: int, *, refined: bool) -> DVGClip:
    """Render a pair of a scene with its true depth, in textures of its own."""
    kind = LOOKS * number + look
    layers = tuple(replace(layer, seed=layer.seed + 100 * (kind + 1)) for layer in scene.layers)
    clip = render_scene(replace(scene, layers=layers, size=(HEIGHT, WIDTH), frames=FRAMES))
    low, high = DIVERGENCES
    pair = render_pair(
        clip.frames,
        clip.inverse_depth / clip.inverse_depth.max(),
        side="right" if kind % 2 else "left",
        divergence=low + (high - low) * look / (LOOKS - 1),
        refine=refined,
    )
    return DVGClip(clip.frames, pair.reference, pair.warped, pair.hole)
