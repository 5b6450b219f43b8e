"""Whatever a picture shows, or does not show, every cue, filter and motion of it is finite."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spatialdreamer_core.depth import (
    BuiltinDepth,
    SceneRangeMeter,
    estimate_depth,
    guide_depth,
    stabilise_depth,
)
from spatialdreamer_core.depth.alignment import fit_scale_shift, typical_range
from spatialdreamer_core.depth.camera_motion import centred_grid, fit_camera_motion
from spatialdreamer_core.depth.cues import (
    CueWeights,
    combine_cues,
    focus_cue,
    haze_cue,
    subject_cue,
    support_cue,
)
from spatialdreamer_core.depth.edges import clean_edges, dilate_foreground, steepen_edges
from spatialdreamer_core.depth.guided_filter import ColourGuide, guided_upsample
from spatialdreamer_core.dvg import depth_to_disparity, forward_warp
from spatialdreamer_core.flow import Flow, dis_flow, estimate_flow, flow_confidence

SIZES = [(1, 1), (3, 40), (40, 1), (16, 16), (64, 96)]


def textured(height, width, seed=0):
    """Draw a picture full of detail."""
    rng = np.random.default_rng(seed)
    return rng.integers(60, 256, (height, width, 3), np.uint8)


def barred(height, width, *, rows=0.0, columns=0.0, level=0):
    """Draw a picture with bars over a share of its height or width on either side."""
    picture = textured(height, width)
    y, x = round(rows * height), round(columns * width)
    picture[:y], picture[height - y :] = level, level
    picture[:, :x], picture[:, width - x :] = level, level
    return picture


def flat_with_noise(height, width):
    """Draw one colour with a little noise."""
    rng = np.random.default_rng(1)
    return (40 + rng.integers(0, 2, (height, width, 3))).astype(np.uint8)


def graphics(height, width):
    """Draw flat areas of a few colours."""
    picture = np.full((height, width, 3), (250, 250, 250), np.uint8)
    picture[height // 4 : height // 2, width // 4 :] = (255, 0, 0)
    picture[height // 2 :, : width // 2] = (0, 0, 255)
    return picture


PICTURES = {
    "black": lambda h, w: np.zeros((h, w, 3), np.uint8),
    "white": lambda h, w: np.full((h, w, 3), 255, np.uint8),
    "grey": lambda h, w: np.full((h, w, 3), 119, np.uint8),
    "blue": lambda h, w: np.full((h, w, 3), (0, 0, 255), np.uint8),
    "nearly flat": flat_with_noise,
    "graphics": graphics,
    "letterbox": lambda h, w: barred(h, w, rows=0.14),
    "pillarbox": lambda h, w: barred(h, w, columns=0.14),
    "windowbox": lambda h, w: barred(h, w, rows=0.2, columns=0.2, level=16),
    "nearly all bars": lambda h, w: barred(h, w, rows=0.45, columns=0.45),
}

every_picture = pytest.mark.parametrize("name", PICTURES)
every_size = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[1]}x{size[0]}")


def assert_finite(*values):
    for value in values:
        assert np.isfinite(np.asarray(value)).all()


@every_size
@every_picture
def test_cues_and_filters(name, size):
    picture = PICTURES[name](*size)
    for cue in (support_cue, haze_cue, subject_cue):
        assert_finite(cue(picture))
    focus = focus_cue(picture[..., 0])
    assert_finite(focus)
    assert 0 <= focus.min() <= focus.max() <= 1
    prior = combine_cues(picture, CueWeights())
    guide = ColourGuide(picture.astype(np.float32) / 255, radius=3, epsilon=1e-3, shrink=2)
    assert_finite(prior, guide.filter(prior))
    assert_finite(guided_upsample(prior, picture, size=size, radius=4, epsilon=1e-3))
    assert_finite(steepen_edges(prior, radius=2), clean_edges(prior), dilate_foreground(prior, radius=2))


@every_size
@every_picture
def test_motion(name, size):
    picture = PICTURES[name](*size)
    grey = picture[..., 0].copy()
    for other in (grey, np.roll(grey, 1, axis=1), 255 - grey):
        there, back = dis_flow(grey, other), dis_flow(other, grey)
        assert_finite(there, back)
        flows = [torch.from_numpy(flow).permute(2, 0, 1)[None] for flow in (there, back)]
        assert_finite(flow_confidence(*flows))
        x, y = centred_grid(*size)
        motion = fit_camera_motion(there, x, y)
        assert_finite(motion.field(x, y), motion.weights)


@every_size
@every_picture
def test_clips(name, size):
    """A picture rests, jumps, and turns black."""
    picture = PICTURES[name](*size)
    clip = np.stack([picture, picture, np.roll(picture, 2, axis=1), np.zeros_like(picture)])
    frames = torch.from_numpy(clip).permute(0, 3, 1, 2) / 255
    depth = estimate_depth(frames, estimator="builtin")
    assert_finite(depth, guide_depth(depth[1:2], frames[1:2]))
    assert 0 <= depth.min() <= depth.max() <= 1
    assert_finite(*forward_warp(frames, depth_to_disparity(depth), eye="right"))
    flow = estimate_flow(frames, method="dis_fast")
    assert_finite(stabilise_depth(frames[:, :1], flow))


@every_picture
def test_builtin_depth_fed_frame_by_frame(name):
    """Flow that says something where the picture says nothing must not break it either."""
    picture, builtin = PICTURES[name](48, 80), BuiltinDepth()
    for flow in (np.zeros((48, 80, 2), np.float32), np.full((48, 80, 2), 3, np.float32)):
        assert_finite(builtin.step(picture, flow, None), builtin.step(picture, flow, -flow))
        assert_finite(builtin.step(picture, None, -flow))


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-30, 1e30])
def test_ranges_and_fits_of_flat_depth(value):
    """A scene of one depth lies in the middle, whatever its unit."""
    depth = torch.full((1, 1, 12, 20), value)
    meter = SceneRangeMeter()
    meter.add(depth)
    scene = meter.result()
    assert_finite((scene.low, scene.high), typical_range([depth, depth]))
    assert (scene.normalise(depth) == 0.5).all()
    for weight in (torch.ones_like(depth), torch.zeros_like(depth)):
        assert_finite(fit_scale_shift(depth, depth, weight), fit_scale_shift(depth, depth * 2, weight))
    still = torch.zeros(2, 2, 12, 20)
    assert_finite(stabilise_depth(depth.expand(3, -1, -1, -1), Flow.between(still, still)))
