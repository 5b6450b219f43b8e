"""Surfaces of synthetic scenes, planes and spheres, and where a ray meets them.

A surface is described as the reference view, a scene's first one, sees it: positions and sizes are fractions
of that view. Velocities are per frame, in units of length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

_NEAREST = 1e-6  # depth below which nothing is seen


@dataclass(frozen=True)
class Layer:
    """A textured plane cut out by an outline."""

    inverse_depth: float  # at the outline's centre, in the reference view
    shape: Literal["full", "rectangle", "ellipse"] = "full"
    box: tuple[float, float, float, float] = (
        0.0,
        0.0,
        1.0,
        1.0,
    )  # left, top, right, bottom; fractions of the view
    slant: tuple[float, float] = (0.0, 0.0)  # change of inverse depth across the view's width and height
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)  # the layer's own movement a frame
    colour: tuple[float, float, float] = (0.5, 0.5, 0.5)  # mean RGB
    contrast: float = 0.25  # amplitude of the texture
    seed: int = 0  # of the texture


@dataclass(frozen=True)
class Sphere:
    """A textured ball."""

    inverse_depth: float  # of its centre
    centre: tuple[float, float]  # x and y, fractions of the view
    radius: float  # fraction of the view's width, for what is as far as the centre
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)  # its own movement a frame
    colour: tuple[float, float, float] = (0.5, 0.5, 0.5)  # mean RGB
    contrast: float = 0.25  # amplitude of the texture
    seed: int = 0  # of the texture


Surface = Layer | Sphere


class Meeting(NamedTuple):
    """Where rays meet a surface."""

    inverse_depth: np.ndarray  # [h, w], along the camera's z
    texture: np.ndarray  # [2, h, w], position on the surface's texture, texels
    met: np.ndarray  # [h, w] bool


class ReferenceView(NamedTuple):
    """The view in which surfaces are described."""

    height: int
    width: int
    focal: float  # px

    @property
    def middle(self) -> np.ndarray:  # [2]
        """Return the position of the optical axis, pixels with centres at integers."""
        return np.array([(self.width - 1) / 2, (self.height - 1) / 2])


def meet(
    surface: Surface,
    rays: np.ndarray,  # [3, h, w], world axes; 1 along the camera's z
    position: np.ndarray,  # [3], of the camera, where the surface is at rest
    view: ReferenceView,
) -> Meeting:
    """Follow rays from the camera to a surface."""
    if isinstance(surface, Sphere):
        return _meet_sphere(surface, rays, position, view)
    return _meet_layer(surface, rays, position, view)


def _meet_layer(layer: Layer, rays: np.ndarray, position: np.ndarray, view: ReferenceView) -> Meeting:
    """Follow rays to a plane; its texture lies on it as the reference view sees it."""
    # The plane is n . X = 1, which makes inverse depth n . (x / f, y / f, 1) in the reference view.
    left, top, right, bottom = layer.box
    middle = (np.array([left + right, top + bottom]) / 2 - 0.5) * (view.width, view.height) / view.focal
    slant = np.array(layer.slant) * view.focal / (view.width, view.height)
    normal = np.array([*slant, layer.inverse_depth - slant @ middle])
    along = np.tensordot(normal, rays, axes=1) / (1 - normal @ position)
    point = position[:, None, None] * along + rays  # homogeneous: divided by depth
    in_front = point[2] > _NEAREST
    seen_at = point[:2] / np.where(in_front, point[2], np.inf) * view.focal + view.middle[:, None, None]
    return Meeting(along, seen_at, in_front & _contains(layer, seen_at, view))


def _contains(layer: Layer, seen_at: np.ndarray, view: ReferenceView) -> np.ndarray:
    """Tell which points of a layer, given in the reference view, lie inside its outline."""
    if layer.shape == "full":
        return np.ones(seen_at.shape[1:], bool)
    left, top, right, bottom = layer.box
    x, y = (seen_at[0] + 0.5) / view.width, (seen_at[1] + 0.5) / view.height
    across = np.abs(x - (left + right) / 2) / ((right - left) / 2)
    down = np.abs(y - (top + bottom) / 2) / ((bottom - top) / 2)
    return (across**2 + down**2 < 1) if layer.shape == "ellipse" else (np.maximum(across, down) < 1)


def _meet_sphere(sphere: Sphere, rays: np.ndarray, position: np.ndarray, view: ReferenceView) -> Meeting:
    """Follow rays to the near side of a ball; its texture is wrapped around it by longitude and latitude."""
    depth = 1 / sphere.inverse_depth
    radius = sphere.radius * view.width  # px, as seen at the centre's depth
    across = (np.array(sphere.centre) - 0.5) * (view.width, view.height) / view.focal
    to_camera = position - depth * np.array([*across, 1.0])
    # |to_camera + s · ray|² = radius², for the smaller s.
    size = radius / view.focal * depth
    a = (rays**2).sum(0)
    b = np.tensordot(to_camera, rays, axes=1)
    root = b**2 - a * (to_camera @ to_camera - size**2)
    s = (-b - np.sqrt(np.maximum(root, 0))) / a
    met = (root > 0) & (s > _NEAREST)
    s = np.where(met, s, 1.0)
    x, y, z = (to_camera[:, None, None] + s * rays) / size
    texture = np.stack([np.arctan2(x, -z), np.arcsin(np.clip(y, -1, 1))]) * radius
    return Meeting(1 / s, texture, met)
