"""Scenes of textured planes and spheres, rendered by exact ray casting: depth and second view are known.

A scene is described in its first view ("reference view"), see `surfaces.py`. Unit of length is the distance
whose inverse depth is 1; x points right, y down, z into the scene. Camera speeds are per frame: a camera
moving by 0.01 in x shifts what has inverse depth rho by `0.01 * rho * focal * width` pixels.

Nothing is approximated but colour (2x2 samples a pixel, bilinear texture): a pixel's ray meets every surface,
the nearest meeting is seen. The second view is rendered from the same surfaces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from ..checks import check_range, check_size
from .surfaces import ReferenceView, Surface, meet

_TEXTURE_SIZE = 512  # texels; textures repeat
_SAMPLES = 2  # colour samples a pixel along each axis
_BEHIND = -1  # layer index where no layer is met


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that moves evenly; it starts at the origin and looks along z."""

    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)  # movement a frame
    pan: float = 0.0  # radians a frame, about the vertical axis, positive to the right
    tilt: float = 0.0  # radians a frame, positive downwards
    roll: float = 0.0  # radians a frame, about the optical axis
    zoom: float = 1.0  # factor a frame on the focal length
    focal: float = 1.0  # focal length of the first frame, in widths of the view


@dataclass(frozen=True)
class Scene:
    """Layers seen by a camera over time."""

    layers: tuple[Surface, ...]
    camera: Camera = Camera()
    size: tuple[int, int] = (180, 320)  # height, width
    frames: int = 16
    noise: float = 0.0  # standard deviation of the sensor's noise, for values in [0, 1]
    seed: int = 0  # of the noise
    pause: tuple[int, int] | None = None  # from frame a to frame b everything stands still


@dataclass(frozen=True)
class SceneClip:
    """What a scene renders to."""

    frames: Tensor  # [F, 3, H, W] in [0, 1]
    inverse_depth: Tensor  # [F, 1, H, W], in the camera's own z
    layer: Tensor  # [F, 1, H, W] int64, index of the layer seen, -1 where none is
    other: Tensor | None  # [F, 3, H, W], the second eye's view, None without a baseline
    disparity: Tensor | None  # [F, 1, H, W] px in the first view: zero at infinity, larger is nearer
    other_hole: Tensor | None  # [F, 1, H, W], 1 where the second view sees what the first one does not


@dataclass(frozen=True)
class _Pose:
    """Camera at one time."""

    time: float
    position: np.ndarray  # [3]
    rotation: np.ndarray  # [3, 3], from camera to world axes
    focal: float  # pixels


def render_scene(
    scene: Scene,
    *,
    baseline: float = 0.0,
) -> SceneClip:
    """Render a scene's frames with their exact inverse depth, and the second eye's view.

    Args:
        scene: What is seen.
        baseline: Distance of the second camera to the right of the first (left if negative), in units of
            length; `baseline * focal * width` is the disparity of inverse depth 1 in pixels. 0: no second
            view.

    Returns:
        The clip. Disparity follows the project's convention, x' = x - d in the right eye's view.

    Raises:
        InputError: If the scene has no frames or no size, or `baseline` is not finite.
    """
    check_size("size", scene.size)
    check_range("frames", scene.frames, 1, 2**31 - 1, whole=True)
    check_range("baseline", baseline, -1e3, 1e3)
    textures = [_texture(layer.colour, layer.contrast, layer.seed) for layer in scene.layers]
    generator = np.random.default_rng(scene.seed)
    parts: dict[str, list[np.ndarray]] = {
        name: [] for name in ("frames", "depth", "layer", "other", "disparity", "hole")
    }
    for t in range(scene.frames):
        pose = _pose(scene, t)
        image = _colours(scene, pose, textures)
        layer, depth = _trace(scene, pose, _pixel_grid(scene.size, 1))[:2]
        parts["frames"].append(_add_noise(image, scene.noise, generator))
        parts["depth"].append(depth[None])
        parts["layer"].append(layer[None])
        if baseline:
            eye = replace(pose, position=pose.position + pose.rotation @ np.array([baseline, 0, 0]))
            parts["other"].append(_add_noise(_colours(scene, eye, textures), scene.noise, generator))
            sign = 1.0 if baseline > 0 else -1.0
            parts["disparity"].append(sign * baseline * pose.focal * depth[None])
            parts["hole"].append(_hidden_from(scene, pose, eye, baseline)[None])
    tensors = {name: torch.from_numpy(np.stack(values)) if values else None for name, values in parts.items()}
    frames, depth_all, layers = tensors["frames"], tensors["depth"], tensors["layer"]
    assert frames is not None
    assert depth_all is not None
    assert layers is not None
    other, disparity, hole = tensors["other"], tensors["disparity"], tensors["hole"]
    return SceneClip(frames, depth_all.float(), layers, other, _float(disparity), _float(hole))


def _float(tensor: Tensor | None) -> Tensor | None:
    """Convert to float32 what is there."""
    return None if tensor is None else tensor.float()


def _pose(scene: Scene, frame: int) -> _Pose:
    """Return the camera of a frame; its time counts only frames in which the scene moves."""
    time = float(frame)
    if scene.pause is not None:
        start, end = scene.pause
        time -= max(0, min(frame, end) - start)
    camera = scene.camera
    rotation = np.eye(3)
    for axis, rate in ((0, -camera.tilt), (1, camera.pan), (2, camera.roll)):
        vector = np.zeros(3)
        vector[axis] = rate * time
        rotation = rotation @ cv2.Rodrigues(vector)[0]
    focal = camera.focal * scene.size[1] * camera.zoom**time
    return _Pose(time, np.array(camera.velocity) * time, rotation, focal)


def _pixel_grid(size: tuple[int, int], samples: int) -> np.ndarray:  # [2, H * samples, W * samples]
    """Return the positions (x, y) of samples, in pixels with centres at integers."""
    axes = [(np.arange(length * samples) + 0.5) / samples - 0.5 for length in size]
    y, x = np.meshgrid(*axes, indexing="ij")
    return np.stack([x, y])


def _trace(scene: Scene, pose: _Pose, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Follow each pixel's ray to the nearest layer.

    Returns:
        Layer index [h, w], inverse depth along the camera's z [h, w], and the position on that layer's
        texture [2, h, w], texels.
    """
    height, width = scene.size
    view = ReferenceView(height, width, scene.camera.focal * width)
    rays = np.concatenate([(pixels - view.middle[:, None, None]) / pose.focal, np.ones_like(pixels[:1])])
    rays = np.tensordot(pose.rotation, rays, axes=1)
    best = np.zeros(pixels.shape[1:])
    index = np.full(pixels.shape[1:], _BEHIND)
    texture = np.zeros_like(pixels)
    for number, surface in enumerate(scene.layers):
        meeting = meet(surface, rays, pose.position - np.array(surface.velocity) * pose.time, view)
        nearer = meeting.met & (meeting.inverse_depth > best)
        best = np.where(nearer, meeting.inverse_depth, best)
        index = np.where(nearer, number, index)
        texture = np.where(nearer, meeting.texture, texture)
    return index, best, texture


@lru_cache(maxsize=16)
def _texture(colour: tuple[float, float, float], contrast: float, seed: int) -> np.ndarray:  # [T, T, 3]
    """Make a layer's repeating texture: blobs of several sizes about its mean colour, float32."""
    generator = np.random.default_rng(seed)
    total = np.zeros((_TEXTURE_SIZE, _TEXTURE_SIZE, 3), np.float32)
    for sigma in (1.2, 4.0, 12.0):
        margin = round(4 * sigma)
        noise = generator.standard_normal(total.shape, dtype=np.float32)
        wrapped = cv2.copyMakeBorder(noise, margin, margin, margin, margin, cv2.BORDER_WRAP)
        smooth = cv2.GaussianBlur(wrapped, (0, 0), sigma)[margin:-margin, margin:-margin]
        total += smooth / smooth.std()
    total = total.mean(axis=-1, keepdims=True) * 0.8 + total * 0.2  # mostly light and dark, a little colour
    return (np.array(colour, np.float32) + contrast * 0.4 * total).clip(0, 1)


def _colours(scene: Scene, pose: _Pose, textures: list[np.ndarray]) -> np.ndarray:  # [3, H, W] float32
    """Render a view."""
    height, width = scene.size
    index, _, seen_at = _trace(scene, pose, _pixel_grid(scene.size, _SAMPLES))
    x, y = (np.mod(axis, _TEXTURE_SIZE).astype(np.float32) for axis in seen_at)
    image = np.zeros((*index.shape, 3), np.float32)
    for number, texture in enumerate(textures):
        mine = index == number
        if mine.any():
            looked_up = cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
            image[mine] = looked_up[mine]
    image = image.reshape(height, _SAMPLES, width, _SAMPLES, 3).mean(axis=(1, 3))
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def _add_noise(image: np.ndarray, deviation: float, generator: np.random.Generator) -> np.ndarray:
    """Add the sensor's noise."""
    if deviation:
        image = image + deviation * generator.standard_normal(image.shape)
    return image.clip(0, 1).astype(np.float32)


def _hidden_from(scene: Scene, first: _Pose, second: _Pose, baseline: float) -> np.ndarray:  # [H, W]
    """Mark what the second view sees and the first one does not: covered there, or outside its frame."""
    pixels = _pixel_grid(scene.size, 1)
    index, depth, _ = _trace(scene, second, pixels)
    in_first = pixels.copy()
    in_first[0] += baseline * first.focal * depth  # parallel cameras: a shift along the row
    index_first, depth_first, _ = _trace(scene, first, in_first)
    inside = (in_first[0] > -0.5) & (in_first[0] < scene.size[1] - 0.5)
    seen = (index == index_first) & (np.abs(depth - depth_first) < 1e-6) & inside
    return 1.0 - seen
