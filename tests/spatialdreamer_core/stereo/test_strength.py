"""What a scene's statistics make of its strength and place."""

from __future__ import annotations

import random

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import DepthShaping, SceneStatistics, measure_statistics, shape_depth
from spatialdreamer_core.dvg import Placement, depth_to_disparity
from spatialdreamer_core.metrics import CLIPS, SUBJECTS, make_clip
from spatialdreamer_core.stereo import (
    StrengthConfig,
    describe_placement,
    measure_comfort,
    reach_of,
    shaped,
)

SCENE = SceneStatistics(subject=0.6, low=0.1, high=0.9)
WANTED = Placement(2.5, 0.5, 0.0)


def test_by_default_nothing_is_done():
    assert StrengthConfig().choose(SCENE, WANTED) == WANTED
    assert not StrengthConfig().needs_statistics


def test_the_subject_lies_on_the_screen():
    assert StrengthConfig(auto_convergence=True).choose(SCENE, WANTED) == (2.5, 0.6, 0.0)


def test_what_is_within_the_limits_stays():
    assert StrengthConfig(comfort=True, max_crossed=1.0, max_uncrossed=1.0).choose(SCENE, WANTED) == WANTED


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((0.5, 3.0), (2.5, 0.7)),  # moved back until 2.5 · (0.9 - 0.7) = 0.5
        ((3.0, 0.5), (2.5, 0.3)),  # moved forward until 2.5 · (0.3 - 0.1) = 0.5
        ((0.5, 0.5), (1.25, 0.5)),  # too much for both: 1.25 · 0.8 = 1.0
        ((0.0, 0.8), (1.0, 0.9)),  # all behind the screen
        ((0.8, 0.0), (1.0, 0.1)),
    ],
)
def test_a_scene_is_moved_and_only_then_flattened(limits, expected):
    config = StrengthConfig(comfort=True, max_crossed=limits[0], max_uncrossed=limits[1])
    config.check()
    assert config.choose(SCENE, WANTED) == pytest.approx((*expected, 0.0))


def test_the_subject_stays_on_the_screen_within_limits():
    config = StrengthConfig(auto_convergence=True, comfort=True, max_crossed=0.5, max_uncrossed=0.5)
    assert config.choose(SCENE, WANTED) == pytest.approx((1.0, 0.6, 0.0)), "1 · (0.6 - 0.1) = 0.5"


def test_limits_hold_whatever_the_scene():
    drawn = random.Random(0)
    for _ in range(500):
        low, subject, high = sorted(drawn.random() for _ in range(3))
        config = StrengthConfig(
            auto_convergence=drawn.random() < 0.5,
            comfort=True,
            max_crossed=drawn.uniform(0.1, 3),
            max_uncrossed=drawn.uniform(0.1, 3),
        )
        wanted = Placement(drawn.uniform(0, 20), drawn.random(), 0.0)
        scene = SceneStatistics(subject, low, high)
        placement = config.choose(scene, wanted)
        reach = reach_of(scene, placement)
        assert reach.p99 <= config.max_crossed + 1e-9
        assert reach.p1 >= -config.max_uncrossed - 1e-9
        assert 0 <= placement.divergence <= wanted.divergence
        assert -1e-9 <= placement.convergence <= 1 + 1e-9
        if config.auto_convergence:
            assert placement.convergence == subject


def test_limits_hold_with_views_shifted_afterwards():
    drawn = random.Random(0)
    for _ in range(300):
        low, subject, high = sorted(drawn.random() for _ in range(3))
        config = StrengthConfig(drawn.random() < 0.5, comfort=True, max_crossed=2.0, max_uncrossed=3.0)
        offset = drawn.uniform(-2.9, 1.9)
        config.check(offset=offset)
        placement = config.shifted(offset).choose(
            SceneStatistics(subject, low, high), Placement(drawn.uniform(0.1, 20), drawn.random(), 0.0)
        )
        reach = reach_of(SceneStatistics(subject, low, high), placement)
        assert reach.p99 + offset <= 2 + 1e-9
        assert reach.p1 + offset >= -3 - 1e-9


def test_what_is_said_of_a_scene_counts_the_shift():
    assert "nearest: 2.0 % in front" in describe_placement(SCENE, WANTED, WANTED, offset=1.0)
    assert "nearest: 1.0 % in front" in describe_placement(SCENE, WANTED, WANTED)


@pytest.mark.parametrize(
    ("offset", "auto", "message"),
    [
        (
            3.5,
            False,
            r"ipd_offset must leave .* -3 to 3 % .* got 3\.5; bring it nearer to 0",
        ),
        (-3.5, True, r"got -3\.5"),
        (3.0, True, r"automatic convergence.* got 3 and 3 with an ipd_offset of 3; raise them"),
    ],
)
def test_a_shift_beyond_the_limits_is_refused(offset, auto, message):
    with pytest.raises(InputError, match=message):
        StrengthConfig(auto_convergence=auto, comfort=True).check(offset=offset)
    StrengthConfig(auto_convergence=auto).check(offset=offset)


@pytest.mark.parametrize("auto", [False, True])
def test_a_scene_of_one_depth_keeps_its_strength(auto):
    config = StrengthConfig(auto_convergence=auto, comfort=True)
    assert config.choose(SceneStatistics(0.5, 0.5, 0.5), WANTED) == WANTED


def test_the_suggestion_fills_the_limits_in_most_scenes():
    config = StrengthConfig(max_crossed=1.0, max_uncrossed=2.0)
    flat, deep = SceneStatistics(0.5, 0.4, 0.6), SceneStatistics(0.5, 0.0, 1.0)
    assert config.suggest([deep]) == pytest.approx(3.0)
    assert config.suggest([flat, deep, flat]) == pytest.approx(15.0)
    assert config.suggest([SceneStatistics(0.5, 0.5, 0.5)]) == 20.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_crossed": -1.0}, r"max_crossed must be between 0 and 20 \(% of width\), got -1"),
        ({"max_uncrossed": float("nan")}, "max_uncrossed must be between 0 and 20"),
        ({"comfort": 1}, "comfort must be"),
        (
            {"comfort": True, "max_crossed": 0.0, "max_uncrossed": 0.05},
            r"must leave room for depth, 0\.1 % .* got 0 and 0\.05; try 3 and 3",
        ),
        (
            {"comfort": True, "auto_convergence": True, "max_crossed": 0.0},
            r"with automatic convergence.* got 0 and 3; raise them, or give a convergence",
        ),
    ],
)
def test_errors(settings, message):
    with pytest.raises(InputError, match=message):
        StrengthConfig(**settings).check()


SHAPINGS = (
    DepthShaping(),
    DepthShaping(foreground_scale=2.0, gamma=1.5, near=0.9, far=0.1),
    DepthShaping(foreground_scale=-1.5, edge_width=3, edge_dilation=4),
)


@pytest.mark.parametrize("shaping", SHAPINGS, ids=["plain", "curves", "edges"])
@pytest.mark.parametrize("auto", [False, True])
def test_p99_stays_within_the_range_on_the_synthetic_set(shaping, auto):
    """Each clip, with depth as it is and shaped: measured on the disparity of every fourth frame."""
    config = StrengthConfig(auto_convergence=auto, comfort=True, max_crossed=0.6, max_uncrossed=0.9)
    for name in CLIPS:
        clip = _clip(name)
        depth = clip.inverse_depth[::4].clamp(0, 1)
        (scene,) = measure_statistics(clip.frames[::4], depth, shaping=shaping)
        placement = config.choose(shaped(scene, shaping), Placement(4.0, 0.3, 0.0))
        shaped_depth = shape_depth(depth, shaping)
        reach = measure_comfort(_disparity(shaped_depth, placement))
        assert reach.p99 <= 0.6 + 0.01, name
        assert reach.p1 >= -0.9 - 0.01, name


@pytest.mark.parametrize("shaping", SHAPINGS[:2], ids=["plain", "curves"])
def test_the_subject_is_on_the_screen_on_the_synthetic_set(shaping):
    """Within 0.3 % of the width, in every frame; the subject is a layer, which is known.

    One value holds for a scene, so where a dolly moves the subject and a curve multiplies that, it is more.
    """
    config = StrengthConfig(auto_convergence=True)
    for name, layer in SUBJECTS.items():
        if shaping != DepthShaping() and name.startswith("dolly"):
            continue
        clip = _clip(name)
        low, high = (float(clip.inverse_depth.quantile(share)) for share in (0.02, 0.98))
        depth = ((clip.inverse_depth - low) / (high - low)).clamp(0, 1)  # as `SceneRange` does
        (scene,) = measure_statistics(clip.frames, depth, shaping=shaping)
        placement = config.choose(shaped(scene, shaping), WANTED)
        disparity = _disparity(shape_depth(depth, shaping), placement)
        for frame, layers in zip(disparity, clip.layer, strict=True):
            off = 100 * float(frame[layers == layer].median()) / frame.shape[-1]
            assert abs(off) <= 0.3, f"{name}: {off:.2f} %"


def _clip(name):
    """Render a clip small, once."""
    if name not in _CLIPS:
        _CLIPS[name] = make_clip(name, size=(54, 96))
    return _CLIPS[name]


_CLIPS = {}


def _disparity(depth: torch.Tensor, placement: Placement) -> torch.Tensor:
    return depth_to_disparity(
        depth, divergence=placement.divergence, convergence=min(max(placement.convergence, 0.0), 1.0)
    )
