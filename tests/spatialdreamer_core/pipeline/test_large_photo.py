"""Photos in strips are what they are as a whole, wherever a filler does not look farther than a strip."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from spatialdreamer_core.depth import RowUpsampler, upsample_depth
from spatialdreamer_core.pipeline import ConvertConfig, convert, large_photo
from spatialdreamer_core.stereo import FORMATS, TWO_PICTURES, StereoLayout
from spatialdreamer_core.video import read_photo, write_photo


def picture(height=520, width=200, *, deep=False):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 65536, (height // 8, width // 8, 3)).astype(np.uint16)
    image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return image if deep else (image >> 8).astype(np.uint8)


def depth_map(height=65, width=25):
    depth = np.full((height, width), 0.2, np.float32)
    depth[:, 8:14] = 0.9
    depth[30:40, 14:20] = 0.6
    return depth


@pytest.fixture
def small_strips(monkeypatch):
    monkeypatch.setattr(large_photo, "_LARGE_PIXELS", 1000)
    monkeypatch.setattr(large_photo, "STRIP_PIXELS", 1000)  # 128 rows and the margins


def convert_both(tmp_path, monkeypatch, config, image):
    """Convert a photo in strips and as a whole."""
    write_photo(tmp_path / "photo.png", image)
    Image.fromarray((depth_map() * 65535).astype(np.uint16)).save(tmp_path / "depth.png")
    config = dataclasses.replace(config, depth_file=str(tmp_path / "depth.png"), depth_kind="normalised")
    results = []
    for name, limit in (("whole.png", 1 << 30), ("strips.png", 1000)):
        monkeypatch.setattr(large_photo, "_LARGE_PIXELS", limit)
        convert(tmp_path / "photo.png", tmp_path / name, config)
        results.append(read_photo(tmp_path / name))
    return results


OF_PHOTOS = [format for format in FORMATS if format not in TWO_PICTURES]


@pytest.mark.parametrize("format", OF_PHOTOS)
def test_strips_are_the_whole(tmp_path, monkeypatch, small_strips, format):
    whole, strips = convert_both(tmp_path, monkeypatch, ConvertConfig(format=format), picture())
    assert strips.shape == whole.shape
    difference = np.abs(strips.astype(int) - whole)
    assert (difference > 1).mean() < 0.003
    assert difference.max() < 40  # an estimate in a hole


@pytest.mark.parametrize(
    "changes",
    [
        {"eye": "left"},
        {"eye": "both"},
        {"border": "ease"},
        {"border": "floating_window", "convergence": 0.1},
        {"guided_upsampling": True},
        {"edge_width": 6, "edge_dilation": 4, "depth_gamma": 1.5},
    ],
)
def test_strips_are_the_whole_with_other_settings(tmp_path, monkeypatch, small_strips, changes):
    whole, strips = convert_both(tmp_path, monkeypatch, ConvertConfig(**changes), picture())
    assert (np.abs(strips.astype(int) - whole) > 1).mean() < 0.005


def test_no_seam_shows_in_a_wide_hole(tmp_path, monkeypatch, small_strips):
    config = ConvertConfig(divergence=20)
    y = np.mgrid[0:520, 0:200][0]
    image = np.repeat((y * 255 / 519)[..., None], 3, axis=-1).astype(np.uint8)
    _, strips = convert_both(tmp_path, monkeypatch, config, image)
    steps = np.abs(np.diff(strips[:, 200:].astype(int), axis=0)).max(axis=(1, 2))
    assert steps.max() <= 12  # a gradient of half a level a row


@pytest.mark.parametrize("format", OF_PHOTOS)
@pytest.mark.parametrize("size", [(33, 47), (16, 300)])
def test_pictures_are_packed_in_parts_as_at_once(monkeypatch, format, size):
    monkeypatch.setattr(large_photo, "STRIP_PIXELS", 100)
    left, right = (np.random.default_rng(i).integers(0, 256, (*size, 3)).astype(np.uint8) for i in range(2))
    views = (torch.from_numpy(view).permute(2, 0, 1)[None] for view in (left, right))
    layout = StereoLayout(format)
    expected = layout.pack(*views)[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(large_photo.pack_in_parts(left, right, layout=layout), expected)
    deep = large_photo.pack_in_parts(
        257 * left.astype(np.uint16), 257 * right.astype(np.uint16), layout=layout
    )
    assert np.abs(deep / 257 - expected).max() <= 1


@pytest.mark.parametrize("guided", [False, True])
def test_depth_is_raised_row_by_row_as_at_once(guided):
    depth, image = depth_map(), picture()
    guide = image if guided else None
    whole = upsample_depth(depth, image.shape[:2], guide=guide)
    upsampler = RowUpsampler(depth, image.shape[:2], guide=guide)
    for rows in ((0, 100), (100, 101), (101, 520)):
        np.testing.assert_allclose(upsampler.rows(*rows), whole[slice(*rows)], atol=2e-3 if guided else 1e-5)
    full = upsample_depth(depth, (130, 50))
    np.testing.assert_array_equal(RowUpsampler(full, (130, 50)).rows(3, 40), full[3:40])


def test_sixteen_bits_stay_through_a_conversion(tmp_path):
    write_photo(tmp_path / "photo.png", picture(deep=True))
    assert convert(tmp_path / "photo.png", tmp_path / "out.tif", ConvertConfig(depth="builtin")) == 1
    packed = read_photo(tmp_path / "out.tif")
    assert packed.dtype == np.uint16
    np.testing.assert_array_equal(packed[:, :200], picture(deep=True))
    assert len(np.unique(packed[:, 200:])) > 5000
    convert(tmp_path / "photo.png", tmp_path / "out.jpg", ConvertConfig(depth="builtin"))
    assert np.abs(read_photo(tmp_path / "out.jpg")[:, :200] - (picture(deep=True) / 257)).mean() < 3


@pytest.mark.parametrize("given", [False, True])
def test_black_bars_of_a_photo_in_strips_stay_in_both_eyes(tmp_path, given):
    image = picture(400, 240, deep=True) // 2 + 20000
    image[:56] = image[-56:] = 0
    write_photo(tmp_path / "photo.png", image)
    Image.fromarray((depth_map(100, 60) * 65535).astype(np.uint16)).save(tmp_path / "depth.png")
    config = ConvertConfig(
        depth="builtin", divergence=8, depth_file=tmp_path / "depth.png" if given else None
    )
    convert(tmp_path / "photo.png", tmp_path / "out.png", config)
    left, right = np.split(read_photo(tmp_path / "out.png"), 2, axis=1)
    np.testing.assert_array_equal(left, image)
    assert (left[56:-56] != right[56:-56]).any(-1).mean() > 0.2
    assert not right[:56].any()
    assert not right[-56:].any()


def test_the_contact_sheet_of_a_large_photo(tmp_path, small_strips):
    write_photo(tmp_path / "photo.png", picture())
    convert(
        tmp_path / "photo.png", tmp_path / "out.png", ConvertConfig(), preview_path=tmp_path / "sheet.png"
    )
    assert read_photo(tmp_path / "sheet.png").shape[1] == 1280


def test_an_output_that_its_format_cannot_hold_is_refused_before_the_work(tmp_path):
    write_photo(tmp_path / "photo.png", np.zeros((200, 9000, 3), np.uint8))
    with pytest.raises(ValueError, match=r"a WEBP file must have at most 16383 px a side, got 18000x200"):
        convert(tmp_path / "photo.png", tmp_path / "out.webp")
