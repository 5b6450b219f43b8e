"""A stereo pair as input: told by its metadata for certain, hinted at by its name, never by its shape."""

from __future__ import annotations

import logging
from fractions import Fraction

import av
import numpy as np
import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.cli import main
from spatialdreamer_core.pipeline import ConvertConfig, convert
from spatialdreamer_core.video import FORMAT_SUFFIXES, check_one_view, probe

QUICK = ConvertConfig(depth="builtin", preset="ultrafast")


def film(path, *, size=(96, 40), codec="libx264", options=None, stream_tags=None, frames=2):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24, options=options or {})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.metadata.update(stream_tags or {})
        for index in range(frames):
            image = np.random.default_rng(index).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "written", "said"),
    [
        ("film.mkv", {"stream_tags": {"stereo_mode": "left_right"}}, "StereoMode is left_right"),
        ("film.mkv", {"stream_tags": {"stereo_mode": "top_bottom"}}, "StereoMode is top_bottom"),
        ("film.mp4", {"options": {"x264-params": "frame-packing=3"}}, "two views lie side by side in it"),
        ("film.mov", {"options": {"x264-params": "frame-packing=4"}}, "two views lie top-bottom in it"),
    ],
)
def test_metadata_is_certain(tmp_path, name, written, said):
    path = film(tmp_path / name, **written)
    with pytest.raises(InputError, match=f"input must have one view, got .*{name}.*{said}; convert the film"):
        convert(path, tmp_path / "out.mp4", QUICK)
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("film.mkv", {"stream_tags": {"stereo_mode": "mono"}}),
        ("film.mp4", {"options": {"x264-params": "frame-packing=6"}}),  # "2D" in H.264's list
        ("scope.mp4", {"size": (96, 40)}),  # 2.4:1
        ("panorama.mp4", {"size": (256, 64)}),
    ],
)
def test_one_view_of_any_shape_passes(tmp_path, name, written, caplog):
    path = film(tmp_path / name, **written)
    assert check_one_view(path, stated=probe(path).stereo) is None


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("format", [format for format in FORMAT_SUFFIXES if format != "wiggle"])
def test_our_own_outputs_are_known_under_any_name(tmp_path, format, suffix):
    source = film(tmp_path / "odd.mkv", size=(65, 41), codec="ffv1", frames=1)
    config = ConvertConfig(depth="builtin", preset="ultrafast", format=format)
    tags = {"prompt": "{}"} if suffix == ".mp4" else None  # as ComfyUI has them; else the name alone tells
    convert(source, tmp_path / f"renamed{suffix}", config, metadata=tags)
    with pytest.raises(InputError, match=rf"whose tag says that it is stereo \({format}\); convert the film"):
        convert(tmp_path / f"renamed{suffix}", tmp_path / "twice.mp4", QUICK)


def test_our_tag_on_a_film_of_another_size_says_nothing(tmp_path):
    """Whoever crops a view out of an output copies its tags."""
    source = film(tmp_path / "film.mp4")
    convert(source, tmp_path / "stereo.mkv", QUICK)
    with av.open(str(tmp_path / "stereo.mkv")) as stereo, av.open(str(tmp_path / "left.mkv"), "w") as left:
        left.metadata.update(stereo.metadata)
        stream = left.add_stream("libx264", rate=Fraction(24))
        stream.width, stream.height, stream.pix_fmt = 96, 40, "yuv420p"
        for frame in stereo.decode(video=0):
            view = np.ascontiguousarray(frame.to_ndarray(format="rgb24")[:, :96])
            left.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        left.mux(stream.encode())
    assert probe(tmp_path / "stereo.mkv").stereo is not None
    assert probe(tmp_path / "left.mkv").stereo is None


@pytest.mark.parametrize(
    "stem",
    [
        *(f"clip{suffix}" for suffix in FORMAT_SUFFIXES.values()),
        *(f"clip_00001{suffix}-2" for suffix in FORMAT_SUFFIXES.values()),
        "clip_qs8x6a0.75",
        "Film.2013.1080p.3D.HSBS.x264",
        "Film.2013.3D.Half-SBS.x264",
        "film_180x180_LR",
        "film 3D HOU",
        "film_sbs",
    ],
)
def test_names_that_hint_at_stereo(stem):
    warning = check_one_view(f"/films/{stem}.mp4", stated=None)
    assert warning.startswith(f"{stem}.mp4 is named like a stereo pair")


@pytest.mark.parametrize(
    "stem",
    [
        "film",
        "LR",
        "TB",
        "color",
        "SBS.Drama.E01.720p-NEXT",
        "lr_test_clip",
        "Half of it in 3D",
        "my dog in full HD",
        "scope_239",
        "film_2",
        "",
        "123",
    ],
)
def test_names_that_say_nothing(stem):
    assert check_one_view(f"/films/{stem}.mp4", stated=None) is None


def test_the_command_warns_in_one_line_or_refuses(tmp_path, capsys):
    film(tmp_path / "film_LR.mp4", frames=1)
    film(tmp_path / "tagged.mkv", stream_tags={"stereo_mode": "left_right"})
    arguments = ["-o", str(tmp_path / "out.mp4"), "--depth", "builtin", "--quiet"]
    assert main(["convert", str(tmp_path / "film_LR.mp4"), *arguments]) == 0
    assert capsys.readouterr().err.count("film_LR.mp4 is named like a stereo pair") == 1
    assert main(["convert", str(tmp_path / "tagged.mkv"), *arguments]) == 2
    assert capsys.readouterr().err.startswith("spatialdreamer: input must have one view, got")


def test_a_photo_is_judged_by_its_name(tmp_path, caplog):
    from PIL import Image

    Image.new("RGB", (64, 48), (90, 120, 30)).save(tmp_path / "photo_LR.png")
    with caplog.at_level(logging.WARNING):
        convert(tmp_path / "photo_LR.png", tmp_path / "out.png", QUICK)
    assert "photo_LR.png is named like a stereo pair" in caplog.text
