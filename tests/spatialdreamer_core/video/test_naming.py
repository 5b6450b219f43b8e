from __future__ import annotations

import os
from pathlib import Path

import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.video import FORMAT_SUFFIXES, output_path_for


@pytest.mark.parametrize(
    ("format", "name"),
    [
        ("full_sbs", "clip_LRF_Full_SBS.mp4"),
        ("half_sbs", "clip_LR.mp4"),
        ("full_tb", "clip_TBF_fulltb.mp4"),
        ("half_tb", "clip_TB.mp4"),
        ("cross_eyed", "clip_RLF_cross.mp4"),
        ("anaglyph", "clip_redcyan.mp4"),
        ("row_interlaced", "clip_row_interlaced.mp4"),
        ("column_interlaced", "clip_column_interlaced.mp4"),
        ("checkerboard", "clip_checkerboard.mp4"),
        ("frame_sequential", "clip_frame_sequential.mp4"),
        ("rgbd", "clip_RGBD.mp4"),
        ("vr180", "clip_180x180_LR.mp4"),
        ("quilt", "clip_qs2x1.mp4"),
    ],
)
def test_each_format_has_the_suffix_that_players_know(format, name):
    assert output_path_for(Path("films/clip.avi"), format=format) == Path("films") / name
    assert format in FORMAT_SUFFIXES


def test_a_quilt_says_the_shape_of_its_views():
    assert output_path_for("clip.avi", format="quilt", aspect=16 / 9).name == "clip_qs2x1a1.78.mp4"
    assert output_path_for("clip.avi", format="half_sbs", aspect=16 / 9).name == "clip_LR.mp4"


@pytest.mark.parametrize(("name", "expected"), [("a.jpg", ".gif"), ("a.webp", ".webp"), ("a.png", ".gif")])
def test_a_wiggle_picture_is_an_animation(name, expected):
    assert output_path_for(name, format="wiggle").name == f"a_wiggle{expected}"


def test_folder_and_container_can_be_chosen():
    path = output_path_for("films/my.clip.mp4", format="half_sbs", folder="out", container=".mkv")
    assert path == Path("out/my.clip_LR.mkv")


@pytest.mark.parametrize(
    ("name", "expected"), [("a.JPG", "a_LR.JPG"), ("a.webp", "a_LR.webp"), ("a.bmp", "a_LR.png")]
)
def test_a_photo_stays_a_photo(name, expected):
    assert output_path_for(name, format="half_sbs", container=".mkv").name == expected


@pytest.mark.parametrize("stem", ["x" * 251, "日" * 83, "\udcff" * 251])
def test_a_name_that_leaves_no_room_for_the_format_is_cut(tmp_path, stem):
    path = output_path_for(tmp_path / f"{stem}.mp4", format="full_sbs")
    assert path.name.endswith("_LRF_Full_SBS.mp4")
    assert 250 < len(os.fsencode(path.name)) <= 255
    assert stem.startswith(path.name.removesuffix("_LRF_Full_SBS.mp4"))


def test_unknown_choices_are_refused():
    with pytest.raises(InputError, match=r"format must be one of full_sbs.*, got 'sbs'"):
        output_path_for("a.mp4", format="sbs")
    with pytest.raises(InputError, match=r"container must be one of .*, got 'mp4'"):
        output_path_for("a.mp4", format="half_sbs", container="mp4")


def test_films_and_photos_of_one_name_fit_into_one_folder(tmp_path):
    for name in ("m.mp4", "m.mkv", "M.avi", "m.srt", "m.png", "m.bmp", "m.jpg", "alone.mkv", "alone.jpg"):
        (tmp_path / name).write_bytes(b"")
    names = {
        name: output_path_for(tmp_path / name, format="full_sbs", folder="out").name
        for name in ("m.mp4", "m.mkv", "M.avi", "m.png", "m.bmp", "m.jpg", "alone.mkv", "alone.jpg")
    }
    assert names == {
        "m.mp4": "m_LRF_Full_SBS.mp4",
        "m.mkv": "m.mkv_LRF_Full_SBS.mp4",
        "M.avi": "M.avi_LRF_Full_SBS.mp4",
        "m.png": "m_LRF_Full_SBS.png",
        "m.bmp": "m.bmp_LRF_Full_SBS.png",
        "m.jpg": "m_LRF_Full_SBS.jpg",
        "alone.mkv": "alone_LRF_Full_SBS.mp4",
        "alone.jpg": "alone_LRF_Full_SBS.jpg",
    }
