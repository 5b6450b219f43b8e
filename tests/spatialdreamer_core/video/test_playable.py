"""What browsers show, and previews of what they do not."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from spatialdreamer_core.video import (
    VideoWriter,
    plays_in_browsers,
    read_photo,
    shows_in_browsers,
    write_picture_preview,
    write_pictures_preview,
    write_preview,
)


def film(
    path, *, codec="libx265", pixel_format="yuv420p", size=(160, 96), frames=6, options=None, sound=True
):
    """Write a film of grey that gets brighter."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24, options={"preset": "ultrafast", **(options or {})})
        stream.width, stream.height, stream.pix_fmt = *size, pixel_format
        audio = container.add_stream("aac", rate=44100, layout="mono") if sound else None
        for index in range(frames):
            image = np.full((size[1], size[0], 3), 40 + 30 * (index % 6), np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame.reformat(format=pixel_format)))
        container.mux(stream.encode())
        if audio is not None:
            silence = np.zeros((1, 44100 * frames // 24), np.float32)
            for start in range(0, silence.shape[1], 1024):
                part = np.ascontiguousarray(silence[:, start : start + 1024])
                block = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
                block.sample_rate, block.pts = 44100, start
                container.mux(audio.encode(block))
            container.mux(audio.encode())
    return path


@pytest.mark.parametrize(
    ("codec", "pixel_format", "size", "options", "plays"),
    [
        ("libx264", "yuv420p", (160, 96), None, True),
        ("libx264", "yuv420p10le", (160, 96), None, False),
        ("libx264", "yuv444p", (160, 96), None, False),
        ("libx264", "yuv420p", (160, 96), {"crf": "0"}, False),  # lossless is a profile of its own
        ("libx264", "yuv420p", (4112, 48), None, False),
        ("libx265", "yuv420p", (160, 96), {"x265-params": "log-level=error"}, False),
    ],
)
def test_what_browsers_play(tmp_path, codec, pixel_format, size, options, plays):
    path = film(
        tmp_path / "film.mp4",
        codec=codec,
        pixel_format=pixel_format,
        size=size,
        frames=3,
        options=options,
        sound=False,
    )
    assert plays_in_browsers(path) is plays


@pytest.mark.parametrize(
    ("codec", "suffix", "plays"),
    [
        ("libsvtav1", ".webm", True),
        ("libsvtav1", ".mp4", True),
        ("libvpx-vp9", ".webm", True),
        ("libsvtav1", ".mkv", False),
        ("libx264", ".mkv", False),
        ("libx264", ".mov", False),
        ("ffv1", ".mkv", False),
    ],
)
def test_the_kind_of_file_counts_too(tmp_path, codec, suffix, plays):
    clock = {"frame_rate": Fraction(25), "time_base": Fraction(1, 25)}
    with VideoWriter(tmp_path / f"film{suffix}", width=96, height=64, codec=codec, **clock) as writer:
        writer.write(np.zeros((64, 96, 3), np.uint8), 0)
    assert plays_in_browsers(tmp_path / f"film{suffix}") is plays


@pytest.mark.parametrize(
    ("size", "pixel_format", "expected"),
    [((160, 96), "yuv420p10le", (160, 96)), ((2564, 64), "yuv420p", (1280, 32))],
)
def test_a_preview_is_small_and_plays(tmp_path, size, pixel_format, expected):
    options = {"x265-params": "log-level=error"}
    source = film(tmp_path / "film.mp4", size=size, pixel_format=pixel_format, options=options)
    done = []
    write_preview(source, tmp_path / "preview.mp4", on_frame=lambda: done.append(1))
    assert plays_in_browsers(tmp_path / "preview.mp4")
    with av.open(str(tmp_path / "preview.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 24
        assert len(container.streams.audio) == 1
    assert frames[0].shape == (expected[1], expected[0], 3)
    levels = [float(frame.mean()) for frame in frames]
    assert levels == pytest.approx([40 + 30 * index for index in range(6)], abs=4)
    assert len(done) == 6


def test_a_preview_ends_after_half_a_minute_and_an_interruption_leaves_nothing(tmp_path):
    source = film(tmp_path / "film.mp4", codec="libx264", size=(16, 16), frames=24 * 32, sound=False)
    write_preview(source, tmp_path / "preview.mp4", on_frame=lambda: None)
    with av.open(str(tmp_path / "preview.mp4")) as container:
        assert container.streams.video[0].frames == 24 * 30

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_preview(source, tmp_path / "none.mp4", on_frame=interrupt)
    assert {path.name for path in tmp_path.iterdir()} == {"film.mp4", "preview.mp4"}


def test_a_wide_preview_keeps_an_even_height_for_views_above_each_other(tmp_path):
    source = film(tmp_path / "film.mp4", codec="libx264", size=(320, 196), frames=2, sound=False)
    write_preview(source, tmp_path / "preview.mp4", on_frame=lambda: None, max_width=162)
    with av.open(str(tmp_path / "preview.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (162, 100)


def test_a_preview_of_pictures_takes_them_one_by_one(tmp_path):
    done, taken = [], []

    def pictures():
        for level in (40, 120, 200):
            taken.append(len(done))
            yield np.full((48, 128, 3), level, np.uint8)

    path = tmp_path / "preview.mp4"
    write_pictures_preview(pictures(), path, frame_rate=24, on_frame=lambda: done.append(1), max_width=64)
    assert taken == [0, 1, 2]
    assert plays_in_browsers(path)
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [frame.shape for frame in frames] == [(24, 64, 3)] * 3
    assert [float(frame.mean()) for frame in frames] == pytest.approx([40, 120, 200], abs=3)


def test_a_preview_of_a_photo_is_one_that_browsers_show(tmp_path):
    path = tmp_path / "preview.webp"
    write_picture_preview(np.full((128, 8192, 3), 120 * 257, np.uint16), path)
    assert shows_in_browsers(path)
    assert not any(shows_in_browsers(f"photo{suffix}") for suffix in (".tif", ".mpo", ".jps", ".heic"))
    photo = read_photo(path)
    assert photo.shape == (64, 4096, 3)
    assert float(photo.mean()) == pytest.approx(120, abs=2)
