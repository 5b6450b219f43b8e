"""Measures, and the rendered clips with exact depth on which they are taken."""

from .clips import CLIPS, make_clip
from .synthetic import Camera, Layer, Scene, SceneClip, render_scene

__all__ = ["CLIPS", "Camera", "Layer", "Scene", "SceneClip", "make_clip", "render_scene"]
