import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.flow import Motion
from spatialdreamer_core.training.dataset import DatasetConfig
from spatialdreamer_core.training.dataset.quality import (
    BLURRED,
    DARK,
    FLOW,
    STATIC,
    FrameQuality,
    Quality,
    find_fault,
    measure_clip,
    measure_frame,
    measure_sharpness,
)
from spatialdreamer_core.training.dataset.scene_clips import draw_geometry
from spatialdreamer_core.training.dataset.scenes import (
    choose_held_out,
    find_scenes,
    name_video,
    place_clips,
    read_scene,
)


def test_scenes_begin_at_the_cuts(film, config):
    video = find_scenes(film, config)
    assert video.name == name_video(film)
    assert video.fps == 25
    assert [(scene.frames, scene.start, scene.end) for scene in video.scenes] == [
        (10, 0.0, 0.4),
        (3, 0.4, 0.52),
        (9, 0.52, None),
    ]


def test_each_scene_is_read_by_itself(film, config):
    from spatialdreamer_core.video import read_frames

    whole = [frame.image for frame in read_frames(film)]
    video = find_scenes(film, config)
    read = [f.image for scene in video.scenes for f in read_scene(film, scene, config, frames=scene.frames)]
    assert len(read) == len(whole) == 22
    assert all(np.array_equal(a, b) for a, b in zip(read, whole, strict=True))


def test_a_stereo_film_is_refused(tmp_path, films, config):
    scenes_of, write_film = films
    film = write_film(tmp_path / "film_LRF_Full_SBS.mp4", scenes_of(4))
    with pytest.raises(InputError, match="named like a stereo pair"):
        find_scenes(film, config)


def test_a_panorama_is_refused(tmp_path, films, config):
    scenes_of, write_film = films
    film = write_film(tmp_path / "film_360x180.mp4", scenes_of(4))
    with pytest.raises(InputError, match="must be a flat picture"):
        find_scenes(film, config)
    assert find_scenes(film, dataclasses.replace(config, projection="flat")).scenes


@pytest.mark.parametrize(
    ("frames", "stride", "most", "expected"),
    [
        (3, 1, 9, []),
        (4, 1, 9, [0]),
        (15, 1, 9, [0, 4, 8]),
        (15, 2, 9, [0, 7]),
        (80, 1, 1, [0]),
        (80, 1, 2, [0, 76]),
        (80, 1, 3, [0, 40, 76]),
    ],
)
def test_places_of_clips(config, frames, stride, most, expected):
    settings = dataclasses.replace(config, stride=stride, clips_per_scene=most)
    assert place_clips(frames, settings) == expected


def test_places_never_overlap(config):
    for frames in range(200):
        for most in (1, 3, 7):
            settings = dataclasses.replace(config, stride=2, clips_per_scene=most)
            starts = place_clips(frames, settings)
            assert all(b - a >= settings.span for a, b in pairwise(starts))
            assert not starts or starts[-1] + settings.span <= frames
            assert len(starts) == min(most, frames // settings.span)


def test_held_out_scenes_do_not_depend_on_the_others():
    scenes = {f"film-{number:06d}" for number in range(400)}
    held_out = choose_held_out(scenes, share=0.1, seed=0)
    assert 20 < len(held_out) < 60
    part = set(sorted(scenes)[:200])
    assert choose_held_out(part, share=0.1, seed=0) == held_out & part
    assert choose_held_out(scenes, share=0.1, seed=1) != held_out
    assert choose_held_out(scenes, share=0.0, seed=0) == set()


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_of_two_scenes_one_is_held_out(share):
    for seed in range(20):
        assert len(choose_held_out({"a", "b"}, share=share, seed=seed)) == 1
        assert choose_held_out({"a"}, share=share, seed=seed) == set()


def test_geometry_is_drawn_by_the_clips_own_name(config):
    drawn = [draw_geometry(f"film-{number}", config) for number in range(2000)]
    assert drawn[7] == draw_geometry("film-7", config)
    assert 850 < sum(side == "right" for side, _ in drawn) < 1150
    divergences = np.array([divergence for _, divergence in drawn])
    assert divergences.min() >= 1
    assert divergences.max() <= 4
    assert abs(divergences.mean() - 2.5) < 0.1
    assert draw_geometry("film-7", dataclasses.replace(config, seed=1)) != drawn[7]


def test_geometry_stays_the_same_in_later_versions(config):
    assert draw_geometry("film-0", config) == ("left", 3.393)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, None),
        ({"brightness": 0.05}, DARK),
        ({"motion": 0.04}, STATIC),
        ({"sharpness": 0.24}, BLURRED),
        ({"flow_confidence": 0.49}, FLOW),
        ({"brightness": 0.0, "motion": 0.0, "sharpness": 0.0}, DARK),
    ],
)
def test_each_fault_has_its_threshold(changes, fault):
    good = Quality(brightness=0.4, motion=2.0, sharpness=0.5, flow_confidence=0.9)
    assert find_fault(good._replace(**changes), DatasetConfig()) == fault


def test_a_clip_of_one_frame_needs_no_motion():
    still = measure_clip([FrameQuality(0.4, 0.5, None, None)])
    assert find_fault(still, DatasetConfig(frames=1)) is None
    assert find_fault(still, DatasetConfig(frames=2)) == STATIC


def test_motion_is_that_of_the_fastest_tenth():
    flow = torch.zeros(2, 10, 200)
    flow[0, :, :40] = 4.0
    motion = Motion(flow, torch.full((1, 10, 200), 0.75))
    small = np.full((10, 200, 3), 51, np.uint8)
    measured = measure_frame(small, motion)
    assert measured == (pytest.approx(0.2), 0.0, pytest.approx(2.0), pytest.approx(0.75))


def test_sharpness_is_that_of_edges():
    step = np.zeros((40, 60), np.float32)
    step[:, 30:] = 1
    assert measure_sharpness(step) == pytest.approx(1)
    assert measure_sharpness(0.1 * step) == pytest.approx(1, abs=1e-3), "contrast does not count"
    ramp = np.clip((np.arange(60, dtype=np.float32) - 20) / 20, 0, 1)
    assert measure_sharpness(np.tile(ramp, (40, 1))) < 0.55
    assert measure_sharpness(np.full((40, 60), 0.5, np.float32)) == 0
