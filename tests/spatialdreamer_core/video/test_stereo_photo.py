"""MPO, JPS and animations: what Pillow and a walk over the bytes find in them."""

from __future__ import annotations

import struct
import zlib

import av
import numpy as np
import pytest
from PIL import Image

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.pipeline import ConvertConfig, convert
from spatialdreamer_core.video import check_one_view, read_photo
from spatialdreamer_core.video.hdr import side_data
from spatialdreamer_core.video.photo_kind import photo_kind
from spatialdreamer_core.video.stereo_photo import (
    STEREO_PHOTO_SUFFIXES,
    check_stereo_photo,
    packing_format,
    save_stereo_photo,
)
from spatialdreamer_core.video.stereo_source import photo_stereo

RED, BLUE = (255, 0, 0), (0, 0, 255)


def card(height=24, width=40):
    """Left is red with a white dot, right is blue with the dot 4 px farther left."""
    card = np.empty((height, 2 * width, 3), np.uint8)
    card[:, :width], card[:, width:] = RED, BLUE
    card[8:16, 20:28] = card[8:16, width + 16 : width + 24] = 255
    return card


def is_eye(picture, color):
    """Tell whether a picture is one of the card's views, and where its dot begins."""
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    bright = pixels[12].min(-1) > 200
    return np.abs(pixels[2, 2] - color).max() < 12, int(bright.argmax())


def segments(jpeg):
    """Walk over a JPEG's segments up to its picture: each marker with its content."""
    assert jpeg[:2] == b"\xff\xd8"
    place, found = 2, []
    while jpeg[place + 1] != 0xDA:
        marker, length = jpeg[place + 1], struct.unpack_from(">H", jpeg, place + 2)[0]
        found.append((marker, jpeg[place + 4 : place + 2 + length], place + 4))
        place += 2 + length
    return found


def directory(header, place):
    """Read a TIFF directory of little-endian values: tags with counts and values, and where the next is."""
    count = struct.unpack_from("<H", header, place)[0]
    entries = [struct.unpack_from("<HHII", header, place + 2 + 12 * i) for i in range(count)]
    return {tag: (number, value) for tag, _, number, value in entries}, struct.unpack_from(
        "<I", header, place + 2 + 12 * count
    )[0]


def test_an_mpo_is_read_by_pillow_left_first(tmp_path):
    path = tmp_path / "card.mpo"
    save_stereo_photo(path, card(), suffix=".mpo", format="full_sbs")
    assert photo_kind(path) == "JPEG"
    with Image.open(path) as photo:
        assert photo.format == "MPO"
        assert photo.n_frames == 2
        assert photo.size == (40, 24)
        assert is_eye(photo, RED) == (True, 20)
        photo.seek(1)
        assert is_eye(photo, BLUE) == (True, 16)
        kinds = [entry["Attribute"]["MPType"] for entry in photo.mpinfo[0xB002]]
        assert kinds == ["Multi-Frame Image: (Disparity)"] * 2


def test_an_mpo_is_two_whole_jpegs_that_its_index_tells(tmp_path):
    path = tmp_path / "card.mpo"
    save_stereo_photo(path, card(), suffix=".mpo", format="full_sbs")
    content = path.read_bytes()
    marker, body, place = next(part for part in segments(content) if part[1].startswith(b"MPF\0"))
    assert marker == 0xE2
    header = body[4:]
    assert header[:4] == b"II*\0"
    index, attributes_at = directory(header, struct.unpack_from("<I", header, 4)[0])
    assert index[0xB000] == (4, int.from_bytes(b"0100", "little"))
    assert index[0xB001] == (1, 2)
    size, entries_at = index[0xB002]
    assert size == 32
    first, second = (struct.unpack_from("<IIIHH", header, entries_at + 16 * i) for i in range(2))
    assert [entry[0] & 0xFFFFFF for entry in (first, second)] == [0x020002] * 2
    assert first[0] >> 29 == 1, "the representative picture"
    assert first[2] == 0
    begins = place + 4 + second[2]  # from the header
    assert begins == first[1]
    assert begins + second[1] == len(content)
    for start, end in ((0, first[1]), (begins, len(content))):
        assert content[start : start + 2] == b"\xff\xd8"
        assert content[end - 2 : end] == b"\xff\xd9"
    attributes, following = directory(header, attributes_at)
    assert attributes == {0xB101: (1, 1), 0xB204: (1, 1)}
    assert following == 0
    other = next(body for _, body, _ in segments(content[begins:]) if body.startswith(b"MPF\0"))[4:]
    assert directory(other, 8)[0] == {
        0xB000: (4, int.from_bytes(b"0100", "little")),
        0xB101: (1, 2),
        0xB204: (1, 1),
    }


@pytest.mark.parametrize("format", ["full_sbs", "cross_eyed"])
def test_a_jps_has_the_right_view_on_the_left_and_says_so(tmp_path, format):
    path = tmp_path / "card.jps"
    assert packing_format(".jps", format) == "full_sbs"
    save_stereo_photo(path, card(), suffix=".jps", format=format)
    with Image.open(path) as photo:
        assert photo.format == "JPEG"
        assert photo.size == (80, 24)
        assert is_eye(photo.crop((0, 0, 40, 24)), BLUE) == (True, 16)
        assert is_eye(photo.crop((40, 0, 80, 24)), RED) == (True, 20)
    body = next(body for marker, body, _ in segments(path.read_bytes()) if marker == 0xE3)
    assert body[:8] == b"_JPSJPS_"
    length, separation, flags, layout, media = struct.unpack_from(">HBBBB", body, 8)
    assert (length, separation, flags, layout, media) == (4, 0, 0, 2, 1)
    with av.open(str(path), format="jpeg_pipe") as container:
        stated = side_data(next(container.decode(video=0)), "STEREO3D")
    assert struct.unpack_from("2i", stated) == (1, 1), "FFmpeg reads side by side, the other way round"
    assert check_one_view(path, stated=None).startswith("card.jps is named like a stereo pair")
    with pytest.raises(InputError, match=r"must have one view, got .*, whose JPS header says that two views"):
        check_one_view(path, stated=photo_stereo(path))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("format", "mode"), [("full_sbs", 1), ("cross_eyed", 0), ("half_sbs", None)])
def test_a_png_says_which_half_is_the_left_eyes(tmp_path, format, mode, dtype):
    path = tmp_path / "card.png"
    values = card().astype(dtype) * (257 if dtype == np.uint16 else 1)
    save_stereo_photo(path, values, suffix=".png", format=format, metadata={"prompt": "{}"})
    content, place, chunks = path.read_bytes(), 8, {}
    while place < len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        chunks[kind] = content[place + 8 : place + 8 + length]
        named = content[place + 4 : place + 8 + length]
        assert struct.unpack_from(">I", content, place + 8 + length)[0] == zlib.crc32(named)
        place += 12 + length
    assert chunks.get(b"sTER") == (None if mode is None else bytes([mode]))
    if mode is not None:
        assert list(chunks).index(b"sTER") < list(chunks).index(b"IDAT")
    assert np.array_equal(read_photo(path), values)
    assert (b"tEXt" in chunks) == (dtype == np.uint8)
    assert (photo_stereo(path) is not None) == (mode is not None)
    if mode is not None:
        with pytest.raises(InputError, match=r"got .*card.png, whose chunk sTER says that two views"):
            convert(path, tmp_path / "twice.png", ConvertConfig(depth="builtin"))


def test_a_png_of_other_widths_has_no_chunk_that_would_be_wrong(tmp_path):
    save_stereo_photo(tmp_path / "a.png", card(width=36), suffix=".png", format="full_sbs")
    assert photo_stereo(tmp_path / "a.png") is None
    assert photo_stereo(tmp_path / "none.png") is None


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_wiggle_picture_shows_both_views_in_turn_for_ever(tmp_path, suffix):
    path = tmp_path / f"card{suffix}"
    save_stereo_photo(path, card(), suffix=suffix, format="wiggle")
    with Image.open(path) as photo:
        assert photo.n_frames == 2
        assert photo.size == (40, 24)
        assert photo.info["loop"] == 0
        for index, (color, dot) in enumerate(((RED, 20), (BLUE, 16))):
            photo.seek(index)
            photo.load()
            assert is_eye(photo, color) == (True, dot)
            assert photo.info["duration"] == 150


def test_still_parts_of_a_wiggle_gif_do_not_flicker(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (32, 48, 3)).astype(np.uint8)
    pictures = np.hstack([noise, noise])
    pictures[:8, 48:] = 255 - pictures[:8, 48:]
    save_stereo_photo(tmp_path / "a.gif", pictures, suffix=".gif", format="wiggle")
    with Image.open(tmp_path / "a.gif") as photo:
        left = np.asarray(photo.convert("RGB")).astype(int)
        photo.seek(1)
        right = np.asarray(photo.convert("RGB")).astype(int)
    assert np.abs(left - right)[8:].mean() < np.abs(left - noise)[8:].mean()


def test_16_bits_are_rounded_to_8(tmp_path):
    deep = card().astype(np.uint16) * 257
    for name, values in (("deep.mpo", deep), ("plain.mpo", card())):
        save_stereo_photo(tmp_path / name, values, suffix=".mpo", format="full_sbs")
    assert (tmp_path / "deep.mpo").read_bytes() == (tmp_path / "plain.mpo").read_bytes()


@pytest.mark.parametrize(
    ("suffix", "format", "said"),
    [
        (
            ".mpo",
            "anaglyph",
            "format must be full_sbs for a .mpo file, which holds both views whole, got",
        ),
        (".MPO", "cross_eyed", "format must be full_sbs for a .mpo file"),
        (".jps", "half_sbs", "format must be full_sbs or cross_eyed for a .jps file"),
        (
            ".gif",
            "full_sbs",
            "wiggle goes with .gif and .webp files, and .gif with it alone, got .*sbs",
        ),
        (".png", "wiggle", "wiggle goes with .gif and .webp files, .* got the format wiggle for a .png file"),
        (".mpo", "wiggle", "format must be full_sbs for a .mpo file"),
    ],
)
def test_files_and_formats_that_do_not_go_together_are_refused(suffix, format, said):
    with pytest.raises(InputError, match=said):
        packing_format(suffix, format)


def test_sides_are_checked_as_they_are_written(tmp_path):
    check_stereo_photo(tmp_path / "a.mpo", 100, 100_000, format="full_sbs")
    with pytest.raises(InputError, match="MPO file must have at most 65500 px a side, got 70000x100"):
        check_stereo_photo(tmp_path / "a.mpo", 100, 140_000, format="full_sbs")
    with pytest.raises(InputError, match="JPS file must have at most 65500 px a side, got 100000x100"):
        check_stereo_photo(tmp_path / "a.jps", 100, 100_000, format="full_sbs")
    with pytest.raises(InputError, match="WEBP file must have at most 16383 px a side"):
        check_stereo_photo(tmp_path / "a.webp", 100, 40_000, format="wiggle")


@pytest.fixture
def photo(tmp_path):
    y, x = np.mgrid[0:49, 0:66]
    image = np.stack([x * 3, y * 5, (x + y) * 2], axis=-1).astype(np.uint8)
    image[20:30, 20:40] = (240, 30, 30)
    path = tmp_path / "photo.png"
    Image.fromarray(image).save(path)
    return path


@pytest.mark.parametrize("suffix", STEREO_PHOTO_SUFFIXES)
def test_a_photo_is_converted_to_every_kind_of_file(tmp_path, photo, suffix):
    format = "wiggle" if suffix == ".gif" else "full_sbs"
    config = ConvertConfig(depth="builtin", divergence=8.0, format=format)
    output = tmp_path / f"out{suffix}"
    assert convert(photo, output, config) == 1
    views = []
    with Image.open(output) as written:
        for index in range(written.n_frames if suffix in (".mpo", ".gif") else 1):
            written.seek(index)
            views.append(np.asarray(written.convert("RGB")))
    if len(views) == 1:
        assert views[0].shape == (49, 132, 3)
        views = np.split(views[0], 2, axis=1)
        views = views[::-1] if suffix == ".jps" else views
    left, right = (view.astype(int) for view in views)
    source = read_photo(photo).astype(int)
    assert np.abs(left - source).mean() < (12 if suffix == ".gif" else 3)
    assert np.abs(right - source).mean() > 2


def test_a_photo_for_a_film_and_a_film_for_a_photo_are_refused(tmp_path, photo, make_video):
    with pytest.raises(InputError, match=r"frame_sequential must have a film, got the photo .*; choose"):
        convert(photo, tmp_path / "out.png", ConvertConfig(format="frame_sequential", depth="builtin"))
    film = make_video("film.mp4", frames=3)
    with pytest.raises(InputError, match=r"wiggle must have a photo, .*, got the film .*film.mp4; convert"):
        convert(film, tmp_path / "out.mp4", ConvertConfig(format="wiggle", depth="builtin"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "photo.png"]
