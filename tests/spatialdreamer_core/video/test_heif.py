from __future__ import annotations

import logging
import struct

import numpy as np
import pytest
from PIL import Image, features

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.video import is_photo, read_photo

from .heic import box, heic, nclx


def smooth(height=100, width=150):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([40 + x, 30 + 2 * y, 220 - x], axis=-1).astype(np.uint8)


def difference(read, expected):
    assert read.shape == expected.shape
    return np.abs(read.astype(int) - expected).mean()


def test_one_picture(tmp_path):
    heic(tmp_path / "a.heic", smooth())
    assert is_photo(tmp_path / "a.heic")
    assert difference(read_photo(tmp_path / "a.heic"), smooth()) < 1.5


@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv422p10le", "yuv444p12le"])
def test_more_than_eight_bits_stay(tmp_path, pixel_format):
    heic(tmp_path / "a.heic", smooth(), pixel_format=pixel_format)
    read = read_photo(tmp_path / "a.heic")
    assert read.dtype == np.uint16
    assert difference(read / 257, smooth()) < 2


def test_tiles_make_up_the_whole(tmp_path):
    heic(tmp_path / "a.heic", smooth(), tile=(64, 64))
    assert difference(read_photo(tmp_path / "a.heic"), smooth()) < 1.5


def test_missing_tiles_are_refused(tmp_path):
    heic(tmp_path / "a.heic", smooth(), tile=(64, 64), missing=1)
    with pytest.raises(
        InputError, match=r"tiles must make up the whole, got 5 tiles for 3x2 .*save it as JPEG"
    ):
        read_photo(tmp_path / "a.heic")


@pytest.mark.parametrize("tile", [None, (64, 64)])
def test_turned_and_mirrored(tmp_path, tile):
    properties = (box("irot", b"\1"), box("imir", b"\1"))
    heic(tmp_path / "a.heic", smooth(), tile=tile, properties=properties)
    assert difference(read_photo(tmp_path / "a.heic"), np.rot90(smooth())[:, ::-1]) < 1.5
    heic(tmp_path / "b.heic", smooth(), tile=tile, properties=(box("imir", b"\0"),))
    assert difference(read_photo(tmp_path / "b.heic"), smooth()[::-1]) < 1.5


def test_cropped(tmp_path):
    clap = box("clap", struct.pack(">4IiIiI", 100, 1, 60, 1, -5, 1, 10, 1))
    heic(tmp_path / "a.heic", smooth(), properties=(clap,))
    assert difference(read_photo(tmp_path / "a.heic"), smooth()[30:90, 20:120]) < 1.5
    clap = box("clap", struct.pack(">4IiIiI", 100, 1, 60, 1, 90, 1, 0, 1))
    heic(tmp_path / "a.heic", smooth(), properties=(clap,))
    with pytest.raises(InputError, match=r"crop is not within"):
        read_photo(tmp_path / "a.heic")


def test_transparency_is_composited_over_black(tmp_path):
    alpha = np.full((100, 150, 3), 128, np.uint8)
    urn = box("auxC", b"urn:mpeg:hevc:2015:auxid:1\0", version=0)
    heic(tmp_path / "a.heic", smooth(), extra=[(alpha, (urn,))], references=[("auxl", 2, [1])])
    assert difference(read_photo(tmp_path / "a.heic"), smooth() * (128 / 255)) < 1.5


def test_other_pictures_are_named(tmp_path, caplog):
    heic(tmp_path / "a.heic", smooth(), extra=[(smooth(), ())])
    with caplog.at_level(logging.WARNING):
        assert difference(read_photo(tmp_path / "a.heic"), smooth()) < 1.5
    assert "holds 2 pictures: only the main one is used" in caplog.text


def test_a_thumbnail_is_none_of_them(tmp_path, caplog):
    heic(tmp_path / "a.heic", smooth(), extra=[(smooth(50, 64), ())], references=[("thmb", 2, [1])])
    read_photo(tmp_path / "a.heic")
    assert not caplog.text


def test_hdr_is_refused(tmp_path):
    heic(tmp_path / "a.heic", smooth(), color=nclx(transfer=16))
    with pytest.raises(InputError, match=r"standard range, got HDR \(PQ\)"):
        read_photo(tmp_path / "a.heic")


def test_a_size_that_no_memory_holds_is_refused_before_decoding(tmp_path):
    heic(tmp_path / "a.heic", smooth())
    content = (tmp_path / "a.heic").read_bytes()
    (tmp_path / "a.heic").write_bytes(
        content.replace(struct.pack(">II", 150, 100), struct.pack(">II", 60000, 50000))
    )
    with pytest.raises(InputError, match=r"at most 213 megapixels, got 60000x50000"):
        read_photo(tmp_path / "a.heic")


def test_a_lying_size_is_refused(tmp_path):
    heic(tmp_path / "a.heic", smooth())
    content = (tmp_path / "a.heic").read_bytes()
    (tmp_path / "a.heic").write_bytes(
        content.replace(struct.pack(">II", 150, 100), struct.pack(">II", 300, 200))
    )
    with pytest.raises(InputError, match=r"decoded whole.*not the size that the boxes state"):
        read_photo(tmp_path / "a.heic")


def test_hostile_counts_cost_no_time(tmp_path):
    heic(tmp_path / "a.heic", smooth(64, 64))
    content = bytearray((tmp_path / "a.heic").read_bytes())
    place = content.index(b"iloc")
    pieces = place + 4 + 4 + 2 + 2 + 6  # after the version, the sizes, the count and the first item's fields
    content[pieces : pieces + 2] = b"\xff\xff"
    content[place + 8 : place + 10] = b"\0\0"  # no bytes for any of them
    (tmp_path / "a.heic").write_bytes(content)
    with pytest.raises(InputError, match=r"decoded whole"):
        read_photo(tmp_path / "a.heic")


def test_damaged_files_give_one_error(tmp_path):
    heic(tmp_path / "a.heic", smooth(64, 64))
    content = (tmp_path / "a.heic").read_bytes()
    rng = np.random.default_rng(0)
    boxes = content.index(b"mdat")
    for _ in range(60):
        damaged = bytearray(content)
        for position in rng.integers(8, boxes, rng.integers(1, 4)):
            damaged[position] = rng.integers(256)
        (tmp_path / "b.heic").write_bytes(damaged)
        try:
            assert read_photo(tmp_path / "b.heic").ndim == 3
        except InputError:
            continue
    (tmp_path / "b.heic").write_bytes(content[:-50])
    with pytest.raises(InputError, match=r"decoded whole.*cut short"):
        read_photo(tmp_path / "b.heic")


@pytest.mark.skipif(not features.check("avif"), reason="needs a Pillow that writes AVIF")
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0", "4:0:0"])
@pytest.mark.parametrize("range", ["full", "limited"])
def test_avif_is_what_pillow_reads(tmp_path, subsampling, range):
    image = Image.fromarray(smooth(101, 151))
    image.save(tmp_path / "a.avif", subsampling=subsampling, range=range, quality=90)
    with Image.open(tmp_path / "a.avif") as opened:
        expected = np.asarray(opened.convert("RGB"))
    assert difference(read_photo(tmp_path / "a.avif"), expected) < 0.5


@pytest.mark.skipif(not features.check("avif"), reason="needs a Pillow that writes AVIF")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_orientation(tmp_path, orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(smooth()).save(tmp_path / "a.avif", exif=exif)
    with Image.open(tmp_path / "a.avif") as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    assert difference(read_photo(tmp_path / "a.avif"), expected) < 0.5


def test_grey_stays_grey(tmp_path):
    grey = np.repeat(smooth()[..., :1], 3, axis=-1)
    heic(tmp_path / "a.heic", grey)
    assert np.ptp(read_photo(tmp_path / "a.heic").astype(int), axis=-1).max() <= 2
