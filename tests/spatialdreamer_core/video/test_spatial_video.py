"""Spatial video: what is needed for it is told, and with an x265 for two views both of them come back."""

from __future__ import annotations

import os
import shutil
import struct
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.cli import main
from spatialdreamer_core.video import VideoWriter, probe, read_frames
from spatialdreamer_core.video.boxes import film_boxes, walk_boxes
from spatialdreamer_core.video.multiview import find_multiview_x265, layer_box
from spatialdreamer_core.video.spatial_video import SpatialConfig, write_spatial_video
from spatialdreamer_core.video.stereo_metadata import read_stereo_boxes, stereo_metadata


def has_x265():
    try:
        return bool(find_multiview_x265())
    except InputError:
        return False


needs_x265 = pytest.mark.skipif(not has_x265(), reason="no x265 with ENABLE_MULTIVIEW on the PATH")
TIMES = [0, 1, 2, 5, 6, 8, 9, 10]


def write_pair(path, *, format="full_sbs", width=256, height=96, audio_from=None, said=True):
    """Write a film whose left view is red and whose right one is blue, at a variable rate."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0] = image[:, width // 2 :, 2] = 200
    clock = {"frame_rate": Fraction(25), "time_base": Fraction(1, 25)}
    stereo = stereo_metadata(format) if said else None
    with VideoWriter(
        path, width=width, height=height, **clock, codec="ffv1", stereo=stereo, audio_from=audio_from
    ) as film:
        for pts in TIMES:
            film.write(image, pts)
    return path


def put_on_path(monkeypatch, folder, text):
    """Make a program x265 that prints a text the only one on the PATH."""
    program = folder / "x265"
    program.write_text(f"#!{sys.executable}\nprint({text!r})\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_without_x265_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"x265 4.0 or newer .*, got none on the PATH; build it with cmake"):
        write_spatial_video(tmp_path / "film.mkv", tmp_path / "out.mov")


@pytest.mark.skipif(os.name == "nt", reason="a script is no program there")
def test_an_x265_of_one_view_is_told_from_one_of_two(tmp_path, monkeypatch):
    put_on_path(monkeypatch, tmp_path, "--crf <float>  Quality-based VBR")
    with pytest.raises(InputError, match=r"got .*x265, which has no --multiview-config; build it"):
        find_multiview_x265()
    put_on_path(monkeypatch, tmp_path, "--multiview-config   Configuration file for Multiview Encoding")
    assert find_multiview_x265() == str(tmp_path / "x265")


@pytest.mark.skipif(os.name == "nt", reason="a script is no program there")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"said": False},
            r"says it is full_sbs, got .* \(which says nothing of two views\); convert",
        ),
        ({"format": "full_tb"}, r"film that says it is full_sbs, got .* \(full_tb\); convert with"),
        ({"width": 254}, "each view must have even sides, got 127x96 px"),
    ],
)
def test_other_sources_are_refused(tmp_path, monkeypatch, options, message):
    source = write_pair(tmp_path / "film.mkv", **options)
    put_on_path(monkeypatch, tmp_path, "--multiview-config")
    with pytest.raises(InputError, match=message):
        write_spatial_video(source, tmp_path / "out.mov")
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.skipif(os.name == "nt", reason="a script is no program there")
def test_an_x265_that_fails_leaves_nothing(tmp_path, monkeypatch):
    source = write_pair(tmp_path / "film.mkv")
    put_on_path(monkeypatch, tmp_path, "x265 [error]: --multiview-config is broken")
    with pytest.raises(InputError, match=r"must encode both views, got exit code 0 \(x265 \[error\]: --mul"):
        write_spatial_video(source, tmp_path / "out.mov")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mkv", "x265"]


def test_the_second_view_s_parameter_sets_by_hand():
    sets = {32: b"\x40\x01v", 33: b"\x42\x01s", 34: b"\x44\x01p"}  # of the first view
    layered = (b"\x42\x09second", b"\x44\x09second")
    extradata = b"".join(b"\0\0\0\1" + unit for unit in (*sets.values(), *layered))
    configuration = bytes(13) + b"\xf1\x02\xfc" + bytes(5) + b"\x0f"
    box = layer_box(extradata, configuration)
    (lhvc,) = walk_boxes(box)
    assert lhvc.kind == b"lhvC"
    expected = b"\x01\xf1\x02\xfc\xcf\x02" + b"\xa1" + struct.pack(">HH", 1, 8) + layered[0]
    assert box[8:] == expected + b"\xa2" + struct.pack(">HH", 1, 8) + layered[1]
    with pytest.raises(InputError, match="the stream must hold two views, got one"):
        layer_box(b"\0\0\0\1\x42\x01s", configuration)


@needs_x265
@pytest.mark.parametrize("suffix", [".mov", ".mp4"])
def test_both_views_come_back_with_sound_and_cameras(make_video, packets, tmp_path, suffix):
    sound = make_video("sound.mp4", frames=11, audio=("aac",))
    source = write_pair(tmp_path / "film.mkv", audio_from=sound)
    seen = []
    out = write_spatial_video(
        source,
        tmp_path / f"out{suffix}",
        SpatialConfig(preset="ultrafast", baseline=63.5, camera_angle=71.5),
        on_frame=lambda done, total: seen.append(done),
    )
    assert seen == list(range(1, len(TIMES) + 1))
    info = probe(out)
    assert (info.width, info.height, info.codec, info.frame_count) == (128, 96, "hevc", len(TIMES))
    boxes = film_boxes(out)
    assert {b"hvcC", b"lhvC", b"vexu", b"hfov"} <= set(boxes)
    assert struct.pack(">4sI", b"blin", 0) + struct.pack(">I", 63_500) in boxes[b"vexu"]
    assert read_stereo_boxes(out) == {"hfov": "71.5", "eyes": "left first"}
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.codec_tag == "hvc1"
        stream.codec_context.options, stream.thread_type = {"view_ids": "-1"}, "NONE"
        frames = [
            (frame.pts * frame.time_base, frame.to_ndarray(format="rgb24")[48, 60])
            for frame in container.decode(stream)
        ]
    times = [frame.pts * frame.time_base for frame in read_frames(source)]
    assert [time for time, _ in frames] == [time for time in times for _ in range(2)]
    assert np.diff([float(time) for time in times]) == pytest.approx(np.diff(TIMES) / 25, abs=1.1e-3)
    for _, color in frames[::2]:
        assert color[0] > 180 > 30 > color[2], "the left eye's is red"
    for _, color in frames[1::2]:
        assert color[2] > 180 > 30 > color[0], "the right eye's is blue"
    assert [data for _, _, data in packets(out)] == [data for _, _, data in packets(source)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["film.mkv", f"out{suffix}", "sound.mp4"]
    )


@needs_x265
def test_the_command(tmp_path, capsys):
    source = write_pair(tmp_path / "film.mkv")
    arguments = ["spatial", str(source), "-o", str(tmp_path / "out.mov"), "--preset", "ultrafast", "--quiet"]
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out.mov'}\n"
    assert main(arguments) == 2
    assert "must be a new file" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0


def test_the_command_without_x265(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("x265") is None
    assert main(["spatial", "film.mkv", "-o", str(tmp_path / "out.mov")]) == 2
    assert "-DENABLE_MULTIVIEW=ON" in capsys.readouterr().err
