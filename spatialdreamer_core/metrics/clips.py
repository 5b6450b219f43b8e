"""Named synthetic clips: the arrangements and motions on which depth and view synthesis are measured."""

from __future__ import annotations

from dataclasses import replace

from ..checks import check_choice
from .surfaces import Layer, Sphere
from .synthetic import Camera, Scene, SceneClip, render_scene

_FAR = Layer(0.12, colour=(0.50, 0.55, 0.60), seed=1)
_MIDDLE = Layer(0.40, "rectangle", (-0.30, 0.45, 0.55, 1.50), colour=(0.55, 0.45, 0.35), seed=2)
_NEAR = Layer(0.85, "ellipse", (0.45, 0.05, 0.85, 0.60), colour=(0.35, 0.50, 0.35), seed=3)
_LAYERS = (_FAR, _MIDDLE, _NEAR)

# Near at the top, far at the bottom: what a prior on position gets wrong.
_UPSIDE_DOWN = (
    _FAR,
    Layer(0.40, "rectangle", (-1.0, -1.0, 2.0, 0.65), colour=(0.55, 0.45, 0.35), seed=5),
    Layer(0.85, "rectangle", (-1.0, -1.0, 2.0, 0.33), colour=(0.40, 0.45, 0.50), seed=6),
)
# Upright strips: position in the frame says nothing.
_STRIPS = (
    _FAR,
    Layer(0.40, "rectangle", (0.36, -1.0, 3.0, 2.0), colour=(0.55, 0.45, 0.35), seed=8),
    Layer(0.85, "rectangle", (0.70, -1.0, 3.0, 2.0), colour=(0.40, 0.45, 0.50), seed=9),
)
_WALKER = Layer(
    0.70, "ellipse", (0.10, 0.20, 0.38, 0.85), velocity=(0.012, 0.0, 0.0), colour=(0.60, 0.45, 0.40), seed=11
)
_GROUND = (
    Layer(0.10, colour=(0.55, 0.60, 0.70), seed=12),
    Layer(0.60, "rectangle", (-2.0, 0.45, 3.0, 1.45), slant=(0.0, 1.0), colour=(0.45, 0.50, 0.35), seed=13),
)
# Round things, poles a few pixels wide, a slanted floor and a wall without texture.
_STUDIO = (
    Layer(0.15, colour=(0.55, 0.55, 0.58), contrast=0.0),
    Layer(0.50, "rectangle", (-1.0, 0.62, 2.0, 1.40), slant=(0.0, 0.9), colour=(0.5, 0.42, 0.35), seed=14),
    Sphere(0.55, (0.30, 0.50), 0.12, colour=(0.60, 0.35, 0.30), seed=15),
    Sphere(0.85, (0.72, 0.62), 0.09, velocity=(-0.01, 0.0, 0.0), colour=(0.30, 0.40, 0.60), seed=16),
    Layer(0.70, "rectangle", (0.495, -0.5, 0.503, 0.95), colour=(0.25, 0.25, 0.25), seed=17),
    Layer(0.45, "rectangle", (0.86, -0.5, 0.872, 0.85), colour=(0.70, 0.65, 0.40), seed=18),
)

# A street to drive along: sky, far houses, house fronts on either side, a road, a car and a post.
_STREET = (
    Layer(0.02, colour=(0.72, 0.80, 0.90), contrast=0.02, seed=21),
    Layer(0.09, "rectangle", (0.28, 0.40, 0.74, 0.54), colour=(0.55, 0.50, 0.48), seed=22),
    Layer(2.664, "rectangle", (-6.0, 0.05, 0.34, 0.62), slant=(-0.8, 0.0), colour=(0.6, 0.5, 0.4), seed=23),
    Layer(2.68, "rectangle", (0.70, 0.20, 7.0, 0.62), slant=(0.8, 0.0), colour=(0.30, 0.42, 0.28), seed=24),
    Layer(4.5, "rectangle", (-9.0, 0.5, 10.0, 8.0), slant=(0.0, 1.2), colour=(0.42, 0.42, 0.44), seed=25),
    Layer(0.26, "rectangle", (0.55, 0.50, 0.66, 0.71), colour=(0.55, 0.20, 0.18), seed=26),
    Layer(0.38, "rectangle", (0.30, 0.05, 0.315, 0.81), colour=(0.25, 0.25, 0.25), seed=27),
)

CLIPS: dict[str, Scene] = {
    "translate_right": Scene(_LAYERS, Camera((0.012, 0, 0))),
    "translate_left": Scene(_LAYERS, Camera((-0.012, 0, 0))),
    "upside_down_right": Scene(_UPSIDE_DOWN, Camera((0.012, 0, 0))),
    "upside_down_left": Scene(_UPSIDE_DOWN, Camera((-0.012, 0, 0))),
    "strips_right": Scene(_STRIPS, Camera((0.012, 0, 0))),
    "strips_left": Scene(_STRIPS, Camera((-0.012, 0, 0))),
    "translate_up": Scene(_LAYERS, Camera((0, -0.012, 0))),
    "translate_pan": Scene(_LAYERS, Camera((0.012, 0, 0), pan=0.002)),
    "translate_counter_pan": Scene(_LAYERS, Camera((0.012, 0, 0), pan=-0.003)),
    "orbit": Scene(_LAYERS, Camera((0.012, 0, 0), pan=-0.010)),
    "translate_roll": Scene(_LAYERS, Camera((-0.012, 0, 0), roll=0.003)),
    "upside_down_pan": Scene(_UPSIDE_DOWN, Camera((-0.012, 0, 0), pan=-0.002, roll=0.002)),
    "translate_pause": Scene(_LAYERS, Camera((0.012, 0, 0)), pause=(6, 16)),
    "dolly_in": Scene(_LAYERS, Camera((0, 0, 0.015)), frames=12),
    "dolly_out": Scene(_LAYERS, Camera((0, 0, -0.025)), frames=12),
    "dolly_upside_down": Scene(_UPSIDE_DOWN, Camera((0, 0, 0.015)), frames=12),
    "dolly_ground": Scene(_GROUND, Camera((0, 0, 0.03)), frames=12),
    "studio_right": Scene(_STUDIO, Camera((0.010, 0, 0))),
    "studio_dolly": Scene(_STUDIO, Camera((0, 0, 0.012)), frames=12),
    "walker": Scene((_FAR, _WALKER)),
    "walker_two_layers": Scene((_FAR, _MIDDLE, _WALKER)),
    "walker_pan": Scene((_FAR, _WALKER), Camera(pan=0.004)),
    "walker_stops": Scene((_FAR, _WALKER), frames=20, pause=(8, 20)),
    "pan": Scene(_LAYERS, Camera(pan=0.01)),
    "zoom": Scene(_LAYERS, Camera(zoom=1.01)),
    "still": Scene(_LAYERS),
    "still_noise": Scene(_LAYERS, noise=2 / 255),
}

# The layer that a viewer takes for the subject, of clips that have one.
SUBJECTS: dict[str, int] = {
    **dict.fromkeys(("translate_right", "translate_left", "translate_up", "translate_pan", "orbit"), 2),
    **dict.fromkeys(("still", "still_noise", "pan", "zoom", "dolly_in", "dolly_out"), 2),
    **dict.fromkeys(("walker", "walker_pan", "walker_stops"), 1),
    "walker_two_layers": 2,
}

# What tells the depth of a moving camera from what only looks like it; not among the clips that views are
# measured on.
MOTION_CLIPS: dict[str, Scene] = {
    "drive": Scene(_STREET, Camera((0, 0, 0.15)), frames=12),
    "drive_back": Scene(_STREET, Camera((0, 0, -0.15)), frames=12),
    "drive_fast": Scene(_STREET, Camera((0, 0, 0.35)), frames=8),
    "drive_turn": Scene(_STREET, Camera((0.02, 0, 0.15), pan=0.01), frames=12),
    "drive_past": Scene(_STREET, Camera((0.10, 0, 0.0)), frames=12),
    "street_pan": Scene(_STREET, Camera(pan=0.015), frames=12),
    "street_zoom": Scene(_STREET, Camera(zoom=1.02), frames=12),
    "walker_zoom": Scene((_FAR, _WALKER), Camera(zoom=1.01), frames=12),
    "orbit_left": Scene(_LAYERS, Camera((-0.012, 0, 0), pan=0.010)),
    "orbit_strips": Scene(_STRIPS, Camera((0.012, 0, 0), pan=-0.006)),
    "studio_left": Scene(_STUDIO, Camera((-0.010, 0, 0))),
    "studio_back": Scene(_STUDIO, Camera((0, 0, -0.012)), frames=12),
}


def make_clip(
    name: str,
    *,
    size: tuple[int, int] | None = None,
    frames: int | None = None,
    baseline: float = 0.0,
) -> SceneClip:
    """Render one of `CLIPS` or `MOTION_CLIPS`.

    Args:
        name: A key of either.
        size: Height and width instead of the scene's own.
        frames: Number of frames instead of the scene's own.
        baseline: See `render_scene`.

    Raises:
        InputError: If the name is unknown, or see `render_scene`.
    """
    scenes = CLIPS | MOTION_CLIPS
    check_choice("name", name, tuple(scenes))
    scene = scenes[name]
    scene = replace(
        scene,
        size=scene.size if size is None else size,
        frames=scene.frames if frames is None else frames,
    )
    return render_scene(scene, baseline=baseline)
