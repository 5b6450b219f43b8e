from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, features

from spatialdreamer_core.video import is_photo, output_path_for
from spatialdreamer_core.video.photo_kind import FILM, photo_kind

PICTURES = [Image.fromarray(np.full((24, 32, 3), 60 * i, np.uint8)) for i in range(3)]


def encode(kind, *, animated=False, **options):
    file = io.BytesIO()
    if animated:
        options |= {"save_all": True, "append_images": PICTURES[1:]}
    PICTURES[0].save(file, kind, **options)
    return file.getvalue()


KINDS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "TGA", "DDS", "PCX", "SGI", "JPEG2000")


@pytest.mark.parametrize("name", ["a.bin", "a.mp4", "no_suffix"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_is_one_under_any_name(tmp_path, kind, name):
    content = encode(kind)
    if kind == "TGA":
        content += bytes(8) + b"TRUEVISION-XFILE.\0"
    (tmp_path / name).write_bytes(content)
    assert photo_kind(tmp_path / name) == kind
    assert is_photo(tmp_path / name)
    assert output_path_for(tmp_path / name, format="full_sbs").suffix == ".png"


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.mkv", "a"])
@pytest.mark.parametrize("container", ["clip.mp4", "clip.mkv", "clip.avi", "clip.ts", "clip.mpg", "clip.mov"])
def test_a_film_is_one_under_any_name(tmp_path, make_video, container, name):
    codec = {"clip.mpg": "mpeg1video", "clip.avi": "mpeg4"}.get(container, "libx264")
    path = make_video(container, frames=3, codec=codec)
    path.rename(tmp_path / name)
    assert photo_kind(tmp_path / name) == FILM
    assert not is_photo(tmp_path / name)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_animations_that_play_are_films(tmp_path, kind):
    (tmp_path / "a.png").write_bytes(encode(kind))
    assert is_photo(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(encode(kind, animated=True))
    assert not is_photo(tmp_path / "a.png")


@pytest.mark.skipif(not features.check("avif"), reason="needs a Pillow that writes AVIF")
@pytest.mark.parametrize("animated", [False, True])
def test_avif(tmp_path, animated):
    (tmp_path / "a").write_bytes(encode("AVIF", animated=animated))
    assert photo_kind(tmp_path / "a") == "HEIF"
    assert is_photo(tmp_path / "a")


def test_jpeg_one_after_another_is_a_film(tmp_path):
    (tmp_path / "a.mjpeg").write_bytes(2 * encode("JPEG"))
    assert not is_photo(tmp_path / "a.mjpeg")


@pytest.mark.parametrize("kind", [*KINDS, "MPO"])
def test_whatever_is_cut_or_damaged_is_no_error(tmp_path, kind):
    content = encode(kind, animated=kind in ("PNG", "GIF", "MPO"))
    rng = np.random.default_rng(0)
    for end in (0, 1, 9, 13, 20, 40, len(content) // 2):
        damaged = bytearray(content[:end])
        if end > 12:
            damaged[rng.integers(8, end)] = rng.integers(256)
        (tmp_path / "a").write_bytes(damaged)
        assert is_photo(tmp_path / "a") in (True, False)


def test_what_cannot_be_read_is_told_by_its_suffix(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "text.jpg").write_text("text")
    names = ("a.png", "b.JPG", "c.jpeg", "d.webp", "e.tif", "f.TIFF", "g.bmp", "h.heic", "i.jfif", "j.avif")
    for name in (*names, "folder.png", "text.jpg", "nul\0.png"):
        assert is_photo(tmp_path / name), name
    assert not any(is_photo(tmp_path / name) for name in ("a.mp4", "b.gif", "c", "png"))
