"""The frame that a live preview gets: which one, with which depth, in which form."""

import av
import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import DepthShaping, estimate_depth, shape_depth
from spatialdreamer_core.pipeline import ConvertConfig, convert, convert_frames, sample_film, sample_picture
from spatialdreamer_core.pipeline.parallax import make_sample, parallax_rules


def scene(index, size=(160, 96)):
    """A square before a wall; the first two frames are black, as films begin."""
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    if index >= 2:
        picture[...] = np.linspace(40, 160, height)[:, None, None]
        picture[30:80, 20 + 4 * index : 60 + 4 * index] = (230, 210, 60)
    return av.VideoFrame.from_ndarray(picture)


@pytest.fixture
def film(make_video):
    return make_video(frames=6, size=(160, 96), picture=scene)


def test_a_conversion_gives_its_first_frame_that_shows_something(film, tmp_path):
    samples = []
    convert(film, tmp_path / "out.mp4", ConvertConfig(depth_gamma=3.0), on_depth=samples.append)
    (sample,) = samples
    assert sample.time == pytest.approx(2 / 25)
    assert sample.picture.shape == (96, 160, 3)
    assert sample.depth.shape == (96, 160)
    assert sample.depth.dtype == np.float32
    assert 0 <= sample.depth.min() < sample.depth.max() <= 1


def test_a_film_whose_parts_are_kept_gives_one_frame(film, tmp_path):
    samples = []
    convert(film, tmp_path / "out.mp4", ConvertConfig(resume="on"), on_depth=samples.append)
    assert [sample.time for sample in samples] == [pytest.approx(2 / 25)]


def test_a_preview_that_fails_leaves_the_film_whole(film, tmp_path, caplog):
    def fail(sample):
        raise OSError("No space left on device")

    assert convert(film, tmp_path / "out.mp4", ConvertConfig(), on_depth=fail) == 6
    assert "the live preview is left out: No space left on device" in caplog.text


def test_the_curves_of_depth_are_left_to_the_page_and_its_edges_are_not():
    frames = torch.rand(1, 3, 60, 80, generator=torch.Generator().manual_seed(0))
    depth = torch.linspace(0, 1, 80).expand(1, 1, 60, 80).contiguous()
    depth[..., 20:40, 30:50] = 1.0
    samples = []
    config = ConvertConfig(depth_gamma=3.0, foreground_scale=2.0, edge_width=3, depth_near=0.9)
    list(convert_frames(frames, config, depth=depth, on_depth=samples.append))
    expected = shape_depth(depth, DepthShaping(edge_width=3))
    assert np.array_equal(samples[0].depth, expected[0, 0].numpy())


def test_one_frame_of_a_film_has_the_depth_of_that_frame_alone(film):
    sample = sample_film(film, ConvertConfig(start=0.11, edge_width=0))
    assert sample.time == pytest.approx(3 / 25)
    picture = torch.from_numpy(sample.picture).permute(2, 0, 1)[None] / 255
    assert np.abs(sample.depth - estimate_depth(picture)[0, 0].numpy()).max() < 1e-4


def test_one_frame_of_a_film_has_its_own_frame_of_a_depth_video(film, make_video):
    def map_of(index):  # a near square that moves
        plane = np.full((96, 160, 3), 40, np.uint8)
        plane[20:60, 10 * index : 10 * index + 30] = 200
        return av.VideoFrame.from_ndarray(plane)

    depth = make_video("depth.mp4", frames=6, size=(160, 96), picture=map_of)
    sample = sample_film(film, ConvertConfig(start=0.12, depth_file=depth, edge_width=0))
    near = np.argwhere(sample.depth[40] > 0.5)[:, 0]
    assert (near.min(), near.max()) == pytest.approx((30, 59), abs=1)
    assert sample.depth[40, [10, 45]] == pytest.approx([0, 1], abs=0.05), "by the range of this frame"


def test_a_moment_behind_the_film_is_refused(film):
    with pytest.raises(InputError, match="at least one frame that can be decoded, got none from 9 s"):
        sample_film(film, ConvertConfig(start=9.0))


def test_a_given_map_is_the_depth_of_its_picture():
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    depth = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(48, 0)
    sample = sample_picture(picture, ConvertConfig(edge_width=0, black_bars="off"), depth=depth)
    assert np.array_equal(sample.picture, picture)
    assert np.allclose(sample.depth, depth)


def test_large_frames_are_shrunk_and_edges_of_depth_stay_edges():
    depth = np.zeros((100, 2000), np.float32)
    depth[:, 999:] = 1.0
    sample = make_sample(np.zeros((100, 2000, 3), np.uint8), depth, time=0.0)
    assert sample.picture.shape == (48, 960, 3)
    assert set(np.unique(sample.depth)) == {0.0, 1.0}


def test_depth_travels_in_two_bytes():
    depth = np.array([[0.0, 1.0, 0.5, 1 / 65535]], np.float32)
    sample = make_sample(np.zeros((1, 4, 3), np.uint8), depth, time=0.0)
    packed = sample.packed_depth().astype(int)
    assert (packed[..., 0] * 256 + packed[..., 1]).tolist() == [[0, 65535, 32768, 1]]
    told = sample.describe()
    assert len(told["percentiles"]) == 101
    assert told["percentiles"][100] == 1.0
    assert 0 <= told["subject"] <= 1


def test_the_rules_name_what_suits_each_device():
    rules = parallax_rules()
    assert rules["devices"]["none"] == {}
    assert rules["devices"]["paper"] == {"divergence": 2.5, "convergence": 1.0}
    assert rules["defaults"]["divergence"] == 2.5
    assert set(rules["devices"]["tv"]) <= set(rules["defaults"])
