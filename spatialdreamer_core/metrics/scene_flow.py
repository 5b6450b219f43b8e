"""Exact optical flow of a rendered scene, and where a pixel's point is seen in the neighbouring frame."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..flow import Flow
from .synthetic import Scene, SceneClip, _pixel_grid, _pose, _trace


def scene_flow(
    scene: Scene,
    clip: SceneClip,
) -> tuple[Flow, Tensor]:  # the flow, [F-1, 1, H, W]
    """Follow each pixel's point from frame to frame by the scene's own geometry.

    Args:
        scene: What was rendered.
        clip: What `render_scene` made of it.

    Returns:
        The flow; and, for its backward half, 1 where the point seen in frame t+1 is seen in frame t too, else
        0. Where no layer is met the flow is that of infinity and visibility 0.
    """
    pairs = range(len(clip.frames) - 1)
    ahead = [_follow(scene, clip, t, t + 1)[0] for t in pairs]
    back, seen = zip(*(_follow(scene, clip, t + 1, t) for t in pairs), strict=True)
    forward, backward, visible = (torch.from_numpy(np.stack(v)).float() for v in (ahead, back, seen))
    return Flow.between(forward, backward), visible


def _follow(scene: Scene, clip: SceneClip, start: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the flow of frame `start`'s pixels [2, H, W], and if frame `end` sees them too [1, H, W]."""
    first, second = _pose(scene, start), _pose(scene, end)
    height, width = scene.size
    pixels = _pixel_grid(scene.size, 1)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])[:, None, None]
    layer = clip.layer[start, 0].numpy()
    depth = clip.inverse_depth[start, 0].double().numpy()
    velocity = np.array([surface.velocity for surface in scene.layers] + [(0.0, 0.0, 0.0)])[
        layer
    ]  # [H, W, 3]
    moved = velocity.transpose(2, 0, 1) * (second.time - first.time)
    moved = moved + (first.position - second.position)[:, None, None]
    rays = np.concatenate([(pixels - centre) / first.focal, np.ones_like(pixels[:1])])
    point = np.tensordot(first.rotation, rays, axes=1) + depth * moved  # homogeneous: times inverse depth
    point = np.tensordot(second.rotation.T, point, axes=1)
    target = point[:2] / point[2] * second.focal + centre
    inside = (np.abs(target - centre) <= centre).all(axis=0)
    expected = depth / np.where(layer >= 0, point[2], 1)
    layer_there, depth_there, _ = _trace(scene, second, target)
    seen = inside & (layer >= 0) & (layer_there == layer) & (np.abs(depth_there - expected) < 1e-6)
    return target - pixels, seen[None]
