"""Measures, and the rendered clips with exact depth on which they are taken."""

from .clips import CLIPS, MOTION_CLIPS, make_clip
from .surfaces import Layer, Sphere
from .synthetic import Camera, Scene, SceneClip, render_scene

__all__ = [
    "CLIPS",
    "MOTION_CLIPS",
    "Camera",
    "Layer",
    "Scene",
    "SceneClip",
    "Sphere",
    "make_clip",
    "render_scene",
]
