"""Panoramas and fisheye pictures are known by their metadata and name, and refused unless told otherwise."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.pipeline import ConvertConfig, convert
from spatialdreamer_core.video import probe
from spatialdreamer_core.video.projection import check_flat, photo_projection

QUICK = {"depth": "builtin", "preset": "ultrafast"}
SPHERICAL_V1 = bytes.fromhex("ffcc8263f8554a938814587a02521fdd") + (
    b'<?xml version="1.0"?><rdf:SphericalVideo xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
    b'xmlns:GSpherical="http://ns.google.com/videos/1.0/spherical/"><GSpherical:Spherical>true'
    b"</GSpherical:Spherical><GSpherical:Stitched>true</GSpherical:Stitched><GSpherical:StitchingSoftware>x"
    b"</GSpherical:StitchingSoftware><GSpherical:ProjectionType>equirectangular</GSpherical:ProjectionType></rdf:SphericalVideo>"
)


def box(kind, content):
    return struct.pack(">I4s", 8 + len(content), kind) + content


def sv3d(projection):
    """Make the box of Spherical Video V2."""
    poses = box(b"prhd", bytes(4 + 12))
    return box(
        b"sv3d", box(b"svhd", bytes(4) + b"test\0") + box(b"proj", poses + box(projection, bytes(4 + 16)))
    )


HEADS = {b"stsd": 8, b"avc1": 78}  # bytes before the boxes inside


def insert(content, path, new):
    """Put a box at the end of the box that a path of kinds leads to, whose sizes grow; mdat lies before."""
    place = 0
    while place < len(content):
        size, kind = struct.unpack_from(">I4s", content, place)
        if kind == path[0]:
            head, inner = 8 + HEADS.get(kind, 0), content[place + 8 : place + size]
            inner = inner[: head - 8] + insert(inner[head - 8 :], path[1:], new) if path[1:] else inner + new
            return content[:place] + box(kind, inner) + content[place + size :]
        place += size
    raise AssertionError(path)


SAMPLE = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1")
TAGS = {
    "an equirectangular panorama": (SAMPLE, sv3d(b"equi")),
    "a cube map": (SAMPLE, sv3d(b"cbmp")),
    "spherical V1": (SAMPLE[:2], box(b"uuid", SPHERICAL_V1)),
}


@pytest.mark.parametrize("kind", TAGS)
def test_a_film_that_states_its_projection_is_refused(make_video, tmp_path, kind):
    film = make_video("film.mp4", frames=2)
    assert probe(film).projection is None
    film.write_bytes(insert(film.read_bytes(), *TAGS[kind]))
    stated = "an equirectangular panorama" if kind == "spherical V1" else kind
    assert probe(film).projection == stated
    with pytest.raises(InputError, match=rf"must be a flat picture, .*says that it is {stated}; cut a"):
        convert(film, tmp_path / "out.mp4", ConvertConfig(**QUICK))
    assert convert(film, tmp_path / "out.mp4", ConvertConfig(**QUICK, projection="flat")) == 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_photo_that_states_its_projection_is_refused(tmp_path, kind):
    xmp = b'<x:xmpmeta><rdf:Description GPano:ProjectionType="equirectangular"/></x:xmpmeta>'
    photo = tmp_path / "photo"
    options = {}
    if kind == "JPEG":
        options["xmp"] = xmp
    else:
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    Image.fromarray(np.zeros((16, 32, 3), np.uint8)).save(photo, kind, **options)
    assert photo_projection(photo) == "an equirectangular panorama"
    with pytest.raises(InputError, match="metadata says that it is an equirectangular panorama"):
        convert(photo, tmp_path / "out.png", ConvertConfig(**QUICK))
    assert convert(photo, tmp_path / "out.png", ConvertConfig(**QUICK, projection="flat")) == 1


@pytest.mark.parametrize(
    "stem",
    [
        *("clip_180x180_LR", "Clip_360x180", "a_MKX200", "a_FISHEYE190_alpha", "a_RF52", "clip-VR180"),
        *("clip_equirectangular", "tour_mono360", "a vrca220"),
    ],
)
def test_names_that_say_what_the_picture_is(stem):
    with pytest.raises(InputError, match=r"got .*, whose name says so \(\w+\); .* or set projection to flat"):
        check_flat(f"/films/{stem}.mp4", stated=None)


@pytest.mark.parametrize(
    "stem", ["film", "Fisheye", "clip_360", "clip 180", "1080x1080", "VR", "clip_LR", "mkx2000", "180x180px"]
)
def test_names_of_flat_films_pass(stem):
    check_flat(f"/films/{stem}.mp4", stated=None)


def test_a_photo_without_tags_or_that_is_not_there_states_nothing(tmp_path):
    Image.fromarray(np.zeros((16, 32, 3), np.uint8)).save(tmp_path / "a.jpg")
    assert photo_projection(tmp_path / "a.jpg") is None
    assert photo_projection(tmp_path / "none.jpg") is None
