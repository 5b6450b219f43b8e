"""Sizes of depth: what depth models make of a film's size belongs to it, other shapes do not."""

import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import load_depth
from spatialdreamer_core.depth.files.sizes import check_frame_size, is_size_of_film

FILMS = (
    (1920, 1080),
    (1920, 800),
    (1920, 804),
    (1998, 1080),
    (854, 480),
    (720, 576),
    (1080, 1920),
    (640, 480),
)


def belongs(depth, film):
    return is_size_of_film(*depth, film_width=film[0], film_height=film[1])


def depthcrafter(width, height, max_res):
    """Return the size by the rule of DepthCrafter's `read_video_frames`."""
    rounded = round(width / 64) * 64, round(height / 64) * 64
    if max(rounded) > max_res:
        scale = max_res / max(width, height)
        rounded = round(width * scale / 64) * 64, round(height * scale / 64) * 64
    return rounded


@pytest.mark.parametrize("film", FILMS)
@pytest.mark.parametrize("max_res", [512, 640, 720, 768, 1024, 1280, 2048])
def test_sizes_of_depthcrafter(film, max_res):
    assert belongs(depthcrafter(*film, max_res), film)


@pytest.mark.parametrize("film", FILMS)
@pytest.mark.parametrize("multiple", [8, 14, 16, 32, 64])
@pytest.mark.parametrize("scale", [0.4, 0.53, 1, 1.7])
def test_sides_rounded_to_the_nearest_down_or_up(film, multiple, scale):
    for how in (round, np.floor, np.ceil):
        assert belongs([int(how(side * scale / multiple)) * multiple for side in film], film)


@pytest.mark.parametrize(
    ("depth", "film"),
    [
        ((1024, 448), (1920, 800)),
        ((832, 512), (854, 480)),
        ((1024, 448), (480, 200)),  # of a film that was made smaller afterwards
        ((924, 518), (1920, 1080)),  # Depth Anything
        ((1920, 1080), (1920, 1080)),  # Video Depth Anything keeps the size
        ((1280, 720), (854, 480)),
        ((640, 360), (848, 480)),
    ],
)
def test_sizes_that_belong_to_a_film(depth, film):
    assert belongs(depth, film)
    assert belongs(depth[::-1], film[::-1])


@pytest.mark.parametrize(
    ("depth", "film"),
    [
        ((640, 480), (1920, 1080)),
        ((256, 192), (1920, 1080)),  # at few multiples of 64, rounding leads anywhere
        ((512, 384), (1920, 1080)),
        ((1024, 576), (1440, 1080)),
        ((1024, 448), (1920, 1080)),
        ((1024, 576), (1920, 800)),
        ((1080, 1920), (1920, 1080)),
        ((1920, 1036), (1920, 1080)),  # cropped
        ((1920, 800), (1920, 1080)),
        ((1856, 1080), (1920, 1080)),
        ((512, 512), (1920, 1080)),
        ((833, 512), (854, 480)),  # no multiple of anything
        ((64, 64), (1920, 1080)),
    ],
)
def test_sizes_of_other_pictures(depth, film):
    assert not belongs(depth, film)
    assert not belongs(depth[::-1], film[::-1])


def test_a_clip_with_its_video_is_checked_as_a_film_is(tmp_path):
    np.savez(tmp_path / "crafted.npz", depth=np.random.default_rng(0).random((2, 64, 128)))
    assert load_depth(tmp_path / "crafted.npz", frames=torch.zeros(2, 3, 50, 120)).shape == (2, 1, 64, 128)
    with pytest.raises(InputError, match=r"aspect ratio of the input \(120x90\), got 128x64 in .*crafted"):
        load_depth(tmp_path / "crafted.npz", frames=torch.zeros(2, 3, 90, 120))


@pytest.mark.parametrize("size", [(20000, 10000), (10**9, 1), (2**70, 2**70)])
def test_frames_that_are_too_large(size):
    with pytest.raises(InputError, match=r"at most 67 megapixels, got \d+x\d+ in film\.npy; save it smaller"):
        check_frame_size("film.npy", width=size[0], height=size[1])
