from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from spatialdreamer_core.video import read_photo, write_photo
from spatialdreamer_core.video.icc import to_srgb

# Primaries relative to D50, as the profiles state them.
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))


def gamma_curve(exponent):
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(exponent * 256))


def srgb_curve():
    numbers = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    return b"para" + bytes(4) + struct.pack(">HH5i", 3, 0, *(round(65536 * n) for n in numbers))


def table_curve(exponent):
    table = np.rint(65535 * np.linspace(0, 1, 256) ** exponent).astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">I", 256) + table.tobytes()


def make_profile(primaries, curve):
    """Write an ICC profile of three primaries and one curve."""
    xyz = [
        b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * v) for v in column)) for column in primaries
    ]
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(79)
    names = (b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC", b"wtpt", b"desc", b"cprt")
    contents = [*xyz, curve, curve, curve, white, text, b"text" + bytes(5)]
    contents = [content + bytes(-len(content) % 4) for content in contents]
    offset = 132 + 12 * len(names)
    table, body = struct.pack(">I", len(names)), b""
    for name, content in zip(names, contents, strict=True):
        table += struct.pack(">4sII", name, offset + len(body), len(content))
        body += content
    size = offset + len(body)
    header = struct.pack(">I4xI4s4s4s12x4s", size, 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    header += bytes(28) + struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    return header + table + body


PROFILES = {
    "adobe": make_profile(ADOBE_RGB, gamma_curve(2.19921875)),
    "p3": make_profile(DISPLAY_P3, srgb_curve()),
    "table": make_profile(ADOBE_RGB, table_curve(1.8)),
}


def colours():
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(64, 64, 3)


@pytest.mark.parametrize("name", PROFILES)
def test_sixteen_bits_are_converted_as_little_cms_converts_eight(tmp_path, name):
    eight = to_srgb(colours(), PROFILES[name], tmp_path)
    sixteen = to_srgb(257 * colours().astype(np.uint16), PROFILES[name], tmp_path)
    assert sixteen.dtype == np.uint16
    assert np.abs(eight.astype(int) - colours()).max() > 10
    assert np.abs(sixteen / 257 - eight).max() < 1.5


def test_an_srgb_profile_changes_nothing(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = np.random.default_rng(0).integers(0, 65536, (8, 8, 3)).astype(np.uint16)
    np.testing.assert_array_equal(to_srgb(image.copy(), profile, tmp_path), image)


@pytest.mark.parametrize("broken", [b"broken", PROFILES["adobe"][:200], PROFILES["adobe"][:150] + bytes(400)])
def test_a_broken_profile_is_ignored_and_said(tmp_path, caplog, broken):
    image = np.full((2, 2, 3), 999, np.uint16)
    np.testing.assert_array_equal(to_srgb(image.copy(), broken, tmp_path), image)
    assert "its colour profile is ignored" in caplog.text


def test_a_photo_with_a_profile_keeps_its_bits(tmp_path):
    pixels = 257 * colours().astype(np.uint16)
    write_photo(tmp_path / "photo.png", pixels)
    content = (tmp_path / "photo.png").read_bytes()
    Image.fromarray(colours()).save(tmp_path / "eight.png", icc_profile=PROFILES["adobe"])
    eight = (tmp_path / "eight.png").read_bytes()
    start = eight.index(b"iCCP") - 4
    chunk = eight[start : start + 12 + struct.unpack(">I", eight[start : start + 4])[0]]
    (tmp_path / "photo.png").write_bytes(content[:33] + chunk + content[33:])
    sixteen = read_photo(tmp_path / "photo.png")
    assert sixteen.dtype == np.uint16
    assert np.abs(sixteen / 257 - read_photo(tmp_path / "eight.png")).max() < 1.5
