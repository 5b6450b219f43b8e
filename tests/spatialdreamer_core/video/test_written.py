"""A written film is opened again: what is not what was asked for gives an error, and no file."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.video import VideoWriter, probe, read_frames, writer
from spatialdreamer_core.video.matroska import set_view_shape
from spatialdreamer_core.video.stereo_metadata import stereo_metadata
from spatialdreamer_core.video.written import Written

HELD = Written(encoder="libx264", container="mp4", width=96, height=64, frames=20, sounds=1)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_what_was_asked_for_passes(make_video, suffix):
    path = make_video(f"film{suffix}", audio=("aac",))
    HELD.check(path, path=path)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("changes", "asked", "came"),
    [
        ({"width": 128}, "128x64", "96x64"),
        ({"height": 32}, "96x32", "96x64"),
        ({"frames": 21}, "21 frames", "20"),
        ({"frames": 19}, "19 frames", "20"),
        ({"sounds": 2}, "2 sound streams", "1"),
        ({"sounds": 0}, "0 sound streams", "1"),
        ({"encoder": "libx265"}, "libx265", "h264"),
    ],
)
def test_what_differs_is_told(make_video, suffix, changes, asked, came):
    path = make_video(f"film{suffix}", audio=("aac",))
    message = rf"must be what was asked for: {asked}, got {came} for .*out.mp4, which is not kept; choose"
    with pytest.raises(InputError, match=message):
        replace(HELD, **changes).check(path, path=path.with_name("out.mp4"))


def test_turned_pictures_are_told(make_video, turned):
    path = turned(make_video(audio=("aac",)), "quarter")
    with pytest.raises(InputError, match="upright pictures, got turned ones"):
        HELD.check(path, path=path)


@pytest.mark.parametrize(
    ("suffix", "container", "missing"),
    [(".mp4", "mp4", "the box st3d"), (".mkv", "matroska", "stereo_mode left_right, got None")],
)
def test_what_it_does_not_say_of_its_views_is_told(make_video, suffix, container, missing):
    path = make_video(f"film{suffix}", audio=("aac",))
    stereo = stereo_metadata("full_sbs", choice="no_sei")
    with pytest.raises(InputError, match=missing):
        replace(HELD, container=container, stereo=stereo).check(path, path=path)
    message_alone = replace(stereo_metadata("full_sbs"), matroska=None, st3d=None, view_packing=None)
    with pytest.raises(InputError, match="a message of frame packing, got a stream without"):
        replace(HELD, container=container, stereo=message_alone).check(path, path=path)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_lost_tag_is_told(tmp_path, caplog, suffix):
    clock = {"frame_rate": Fraction(25), "time_base": Fraction(1, 25)}
    tags = {"title": "A title", "my own tag": "{}", "Prompt": "x" * 5000, "empty": ""}
    path = tmp_path / f"out{suffix}"
    with VideoWriter(path, width=96, height=64, metadata=tags, **clock) as film:
        film.write(np.zeros((64, 96, 3), np.uint8), 0)
    assert caplog.messages == []
    held = replace(HELD, frames=1, sounds=0, container=suffix[1:], tags={**tags, "title": "B", "gone": "1"})
    held.check(path, path=path)
    assert caplog.messages == [f"{path}: tags that are not in it as given: title, gone"]


def test_a_file_that_differs_is_not_kept(tmp_path, monkeypatch):
    """As if the encoder had made another size of it."""

    class Other(Written):
        def __init__(self, **asked):
            super().__init__(**{**asked, "width": 5120})

    monkeypatch.setattr(writer, "Written", Other)
    clock = {"frame_rate": Fraction(25), "time_base": Fraction(1, 25)}
    with (
        pytest.raises(InputError, match=r"5120x64, got 96x64 for .*out.mp4, which is not kept"),
        VideoWriter(tmp_path / "out.mp4", width=96, height=64, **clock) as film,
    ):
        film.write(np.zeros((64, 96, 3), np.uint8), 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("width", "aspect"),
    [(128, Fraction(2)), (300, Fraction(2)), (512, Fraction(1, 2)), (96, Fraction(32, 27))],
)
@pytest.mark.parametrize("format", ["half_sbs", "half_tb"])
def test_matroska_keeps_the_shape_of_pixels_beside_stereo_mode(tmp_path, format, width, aspect):
    """At 300 px the view's width has one byte, in which twice its value has no room."""
    clock = {"frame_rate": Fraction(25), "time_base": Fraction(1, 25)}
    stereo = stereo_metadata(format)
    options = {"stereo": stereo, "sample_aspect_ratio": aspect, "preset": "ultrafast"}
    path = tmp_path / "film.mkv"
    with VideoWriter(path, width=width, height=64, **clock, **options) as film:
        for index in range(2):
            film.write(np.full((64, width, 3), 99, np.uint8), index)
    assert probe(path).sample_aspect_ratio == pytest.approx(aspect, rel=1 / width)  # whole pixels
    assert len(list(read_frames(path))) == 2


def test_matroska_without_a_size_of_views_is_told(make_video):
    with pytest.raises(InputError, match="must say how large a view is"):
        set_view_shape(make_video("film.mkv"), Fraction(2))
