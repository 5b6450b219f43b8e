"""Clips of `benchmarks.frame_matrix --trained`: videos to learn from, and held-out stereo clips with truth.

Scenes are those of `spatialdreamer_core.metrics`, each time with other textures, colours, depths, places and
speeds. A video model is to learn two kinds of clips: scenes over time, seen by one camera, and one moment of
a scene seen by a camera that moves sideways. Neither has a mask. Held out are other scenes of the same kinds,
with their true right view.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.ablation_pairs import SCENE_NAMES
from spatialdreamer_core.dvg import forward_warp
from spatialdreamer_core.flow import Flow, estimate_flow
from spatialdreamer_core.metrics import CLIPS, Camera, Layer, Scene, Sphere, render_scene
from spatialdreamer_core.svd import SVDModel, embed_images
from spatialdreamer_core.training.batches import Draw
from spatialdreamer_core.training.clips import EncodedSample

FRAMES = 4  # that are learnt and filled at a time: as many as the preset `fast` has views
_VIDEO = 8  # frames of a clip to learn from
HEIGHT, WIDTH = 24, 32  # px
BASELINE = 0.14  # of the two eyes: 4.5 px where the inverse depth is 1
_SIDE_STEP = (0.01, 0.05)  # of a camera that moves sideways: up to 1.6 px a frame
_HELD_OUT = 1_000_000  # the number of the first held-out scene


class StereoClip(NamedTuple):
    """A held-out clip."""

    left: Tensor  # [F, 3, H, W] in [0, 1]
    warped: Tensor  # [F, 3, H, W] in [0, 1]
    hole: Tensor  # [F, 1, H, W], 1 = hole
    disparity: Tensor  # [F, 1, H, W] px, of the left view
    truth: Tensor  # [F, 3, H, W] in [0, 1], the right view
    flow: Flow  # of the truth


@dataclass(frozen=True)
class Record:
    """What training asks of a clip."""

    name: str
    frames: int
    held_out: bool = False


class Videos:
    """Clips to learn from, each conditioned on its first picture, as SVD is; what training calls a cache.

    A clip is rendered when it is first read.
    """

    def __init__(self, model: SVDModel, count: int) -> None:
        self._codec, self._tower = model.codec, model.image_encoder
        names = (f"{SCENE_NAMES[number % len(SCENE_NAMES)]}_{number}" for number in range(count))
        self.clips = [Record(name, _VIDEO) for name in names]
        self._rendered: dict[int, tuple[Tensor, Tensor]] = {}  # [F, 3, H, W] in [0, 1], [F, 1, D]

    def read(self, index: int, frames: range) -> EncodedSample:
        """Return frames of a clip as training takes them, without any hole."""
        pictures, embeddings = self._render(index)
        latents = self._codec.encode(pictures[frames.start : frames.stop])
        return EncodedSample(
            target=self._codec.scaling * latents,
            condition=latents[:1].expand_as(latents),
            mask=torch.zeros(len(latents), 1, *latents.shape[-2:]),
            reference=torch.zeros_like(latents),
            embeddings=embeddings[frames.start, None].expand(len(latents), -1, -1),
        )

    def augment(self, drawn: Draw) -> Tensor:  # [F, C, h, w] unscaled
        """Encode the first picture of what was drawn under noise."""
        first = self._render(drawn.clip)[0][drawn.frames.start, None]
        generator = torch.Generator().manual_seed(drawn.noise_seed + 1)
        noise = torch.randn(first.shape, generator=generator) * (drawn.augmentation / 2)
        return self._codec.encode(first + noise).expand(len(drawn.frames), -1, -1, -1)

    def _render(self, index: int) -> tuple[Tensor, Tensor]:
        """Render a clip, every second one of each scene sideways, and embed its pictures."""
        if index not in self._rendered:
            pictures = render_video(index, sideways=index // len(SCENE_NAMES) % 2 == 1)
            self._rendered[index] = pictures, embed_images(self._tower, pictures)
        return self._rendered[index]


def render_video(number: int, *, sideways: bool) -> Tensor:  # [F, 3, H, W] in [0, 1]
    """Render a clip to learn from."""
    scene = make_scene(number)
    if sideways:
        generator = np.random.default_rng((number, 1))
        step = generator.choice((-1.0, 1.0)) * generator.uniform(*_SIDE_STEP)
        layers = tuple(replace(layer, velocity=(0.0, 0.0, 0.0)) for layer in scene.layers)
        scene = replace(scene, layers=layers, camera=Camera((step, 0, 0)))
    return render_scene(replace(scene, frames=_VIDEO)).frames


def render_held_out(number: int) -> StereoClip:
    """Render a held-out clip with its true right view, and warp its left one."""
    clip = render_scene(make_scene(_HELD_OUT + number), baseline=BASELINE)
    assert clip.disparity is not None
    assert clip.other is not None
    warped, hole = forward_warp(clip.frames, clip.disparity, eye="right")
    return StereoClip(clip.frames, warped, hole, clip.disparity, clip.other, estimate_flow(clip.other))


def make_scene(number: int) -> Scene:
    """Draw a scene of the kind that its number names."""
    generator = np.random.default_rng((number, 0))
    scene = CLIPS[SCENE_NAMES[number % len(SCENE_NAMES)]]
    camera = scene.camera
    speed = generator.uniform(0.5, 1.5)
    velocity = tuple(speed * each for each in camera.velocity)
    layers = tuple(_vary(layer, generator) for layer in scene.layers)
    camera = replace(camera, velocity=velocity, pan=speed * camera.pan)
    return replace(scene, layers=layers, camera=camera, size=(HEIGHT, WIDTH), frames=FRAMES)


def _vary(layer: Layer | Sphere, generator: np.random.Generator) -> Layer | Sphere:
    """Draw another surface of a kind."""
    right, down = generator.uniform(-0.12, 0.12), generator.uniform(-0.08, 0.08)
    changes = {
        "inverse_depth": layer.inverse_depth * generator.uniform(0.8, 1.2),
        "colour": tuple((np.array(layer.colour) + generator.uniform(-0.15, 0.15, 3)).clip(0.15, 0.85)),
        "seed": int(generator.integers(2**31)),
    }
    if isinstance(layer, Sphere):
        centre = layer.centre[0] + right, layer.centre[1] + down
        return replace(layer, **changes, centre=centre)
    if layer.shape != "full":
        sides = zip(layer.box, (right, down, right, down), strict=True)
        changes["box"] = tuple(side + shift for side, shift in sides)
    return replace(layer, **changes)
