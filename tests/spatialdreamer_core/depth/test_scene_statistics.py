"""Where a scene's subject is, and how far its depth reaches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import (
    DepthShaping,
    SceneRange,
    SceneStatistics,
    SubjectMeter,
    find_subject,
    measure_statistics,
    shape_depth,
)
from spatialdreamer_core.metrics import make_clip

GREY = np.full((90, 160, 3), 128, np.uint8)
NOISE = np.random.default_rng(0).integers(0, 255, GREY.shape, dtype=np.uint8)
SIZE = (90, 160)


def scene_of(*boxes, far=0.1):
    """A far wall and boxes in front of it, each (depth, top, bottom, left, right) in shares of the frame."""
    depth = np.full(SIZE, far, np.float32)
    for value, top, bottom, left, right in boxes:
        depth[round(90 * top) : round(90 * bottom), round(160 * left) : round(160 * right)] = value
    return depth


def test_the_subject_is_what_stands_in_the_middle():
    depth = scene_of((0.7, 0.3, 0.9, 0.4, 0.6))
    assert find_subject(NOISE, depth) == pytest.approx(0.7, abs=1e-6)
    assert find_subject(GREY, depth) == pytest.approx(0.7, abs=1e-6), "where nothing is sharp, too"


def test_what_is_nearer_counts_for_little_at_the_rim():
    depth = scene_of((0.6, 0.2, 0.9, 0.35, 0.65), (1.0, 0.3, 1.0, 0.0, 0.12))
    assert find_subject(NOISE, depth) == pytest.approx(0.6, abs=0.02)


def test_a_blurred_foreground_is_not_the_subject():
    depth = scene_of((0.5, 0.1, 0.9, 0.3, 0.52), (1.0, 0.1, 0.9, 0.52, 0.64))
    picture = NOISE.copy()
    picture[:, round(0.52 * 160) :] = 128
    assert find_subject(NOISE, depth) == pytest.approx(1.0, abs=0.02)
    assert find_subject(picture, depth) == pytest.approx(0.5, abs=0.02)


def test_it_is_a_place_where_something_is():
    """A person and a wall: the mean would lie between them."""
    depth = scene_of((0.8, 0.2, 1.0, 0.4, 0.6), (0.3, 0.0, 1.0, 0.6, 1.0))
    assert min(abs(find_subject(NOISE, depth) - value) for value in (0.8, 0.3, 0.1)) < 0.02


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (250.0, -40.0), (1e-3, 5.0), (1e-3, 0.0)])
def test_the_unit_does_not_matter(scale, shift):
    clip = make_clip("translate_right", size=SIZE, frames=1)
    depth = clip.inverse_depth[0, 0].numpy()
    picture = (clip.frames[0] * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    expected = find_subject(picture, depth)
    found = (find_subject(picture, depth * np.float32(scale) + np.float32(shift)) - shift) / scale
    assert found == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (2, 3), (1000, 20)])
def test_any_size(size):
    picture, depth = np.zeros((*size, 3), np.uint8), np.random.default_rng(1).random(size, np.float32)
    assert 0 <= find_subject(picture, depth) <= 1
    assert find_subject(picture, np.full(size, 0.3, np.float32)) == pytest.approx(0.3)


def test_a_scenes_subject_is_the_median_of_its_frames():
    meter = SubjectMeter()
    for value, weight in ((0.3, 1), (0.4, 1), (0.9, 8), (0.8, 1)):
        meter.add(NOISE, scene_of((value, 0.2, 0.9, 0.4, 0.6)), weight=weight)
    assert meter.result() == pytest.approx(0.9, abs=0.01)


def test_each_scene_is_measured_by_itself():
    scenes = [make_clip(name, size=SIZE, frames=9) for name in ("walker", "translate_left")]
    frames, depth = (torch.cat([getattr(s, part) for s in scenes]) for part in ("frames", "inverse_depth"))
    both = measure_statistics(frames, depth, cuts=[9])
    assert both == [measure_statistics(s.frames, s.inverse_depth)[0] for s in scenes]
    assert [scene.subject for scene in both] == pytest.approx([0.70, 0.85], abs=0.01)
    assert [scene.high for scene in both] == pytest.approx([0.70, 0.85], abs=0.01)
    assert [scene.low for scene in both] == pytest.approx([0.12, 0.12], abs=0.01)


@pytest.mark.parametrize("shaping", [DepthShaping(edge_dilation=6), DepthShaping(edge_width=4)])
def test_the_range_is_that_of_what_is_warped(shaping):
    """A thing of 0.8 % of the frame does not count, until its outline is dilated."""
    depth = torch.from_numpy(scene_of((0.9, 0.4, 0.49, 0.4, 0.49)))[None, None]
    (plain,) = measure_statistics(torch.zeros(1, 3, *SIZE), depth)
    assert plain.high == pytest.approx(0.1)
    (scene,) = measure_statistics(torch.zeros(1, 3, *SIZE), depth, shaping=shaping)
    shaped = shape_depth(depth, shaping)
    assert scene.low <= float(shaped.quantile(0.01)) + 1e-3
    assert scene.high >= float(shaped.quantile(0.99)) - 1e-3


def test_normalised_depth_fills_its_range():
    assert SceneStatistics.within(SceneRange(10.0, 30.0), 25.0) == (0.75, 0.0, 1.0)
    assert SceneStatistics.within(SceneRange(10.0, 30.0), 99.0) == (1.0, 0.0, 1.0)
    assert SceneStatistics.within(SceneRange(3.0, 3.0), 3.0) == (0.5, 0.5, 0.5), "one depth"


def test_one_colour_and_one_depth():
    (scene,) = measure_statistics(torch.full((1, 3, *SIZE), 0.5), torch.full((1, 1, *SIZE), 0.25))
    assert scene == pytest.approx((0.25, 0.25, 0.25), abs=1e-6)


def test_what_cannot_be_measured_is_refused():
    depth = torch.rand(2, 1, *SIZE)
    depth[1, 0, 3, 4] = float("nan")
    with pytest.raises(InputError, match=r"`depth` must be .*NaN"):
        measure_statistics(torch.zeros(2, 3, *SIZE), depth)
    with pytest.raises(InputError, match="cut"):
        measure_statistics(torch.zeros(2, 3, *SIZE), torch.zeros(2, 1, *SIZE), cuts=[2])
