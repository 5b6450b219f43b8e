"""Interlaced frames come out whole, one for each; others come out as they are."""

from __future__ import annotations

import logging
from fractions import Fraction

import av
import numpy as np
import pytest

from spatialdreamer_core.pipeline import ConvertConfig, convert
from spatialdreamer_core.video import probe, read_frames
from spatialdreamer_core.video.deinterlace import Deinterlacer
from spatialdreamer_core.video.reader import count_frames

FIELD_ORDERS = {"tff": 2, "bff": 3}  # of FFmpeg
X264 = {"tff": "tff=1", "bff": "bff=1"}


def moving(index, parity):
    """Draw a frame whose two fields show a bar at different moments."""
    image = np.full((96, 160, 3), 60, np.uint8)
    first, second = (0, 1) if parity == "tff" else (1, 0)
    for field, moment in ((first, 2 * index), (second, 2 * index + 1)):
        image[field::2, 10 + 6 * moment : 40 + 6 * moment] = 220
    return image


def combing(image):
    """Measure how much neighbouring lines differ where lines two apart are the same."""
    lines = image.astype(int)
    return float(np.maximum(np.abs(lines[2:] + lines[:-2] - 2 * lines[1:-1]) - 80, 0).mean())


def field_frame(index, parity, *, marked=True, format="yuv420p"):
    """Make a frame of two fields, marked as such or not."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=160, height=96, format=format, time_base=Fraction(1, 25))
    mark, sink = graph.add("setfield", parity if marked else "prog"), graph.add("buffersink")
    source.link_to(mark)
    mark.link_to(sink)
    graph.configure()
    frame = av.VideoFrame.from_ndarray(moving(index, parity)).reformat(format=format)
    frame.pts, frame.time_base = index, Fraction(1, 25)
    graph.vpush(frame)
    return graph.vpull()


def make_interlaced(path, *, codec="libx264", parity="tff", frames=8, marked=True):
    """Write an interlaced film."""
    with av.open(str(path), "w") as container:
        options = {"x264-params": X264[parity]} if marked and codec == "libx264" else {}
        stream = container.add_stream(codec, rate=25, options={**options, "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        if codec == "mpeg2video" and marked:
            stream.codec_context.flags |= 0x00040000 | 0x20000000  # interlaced DCT and motion estimation
            stream.codec_context.bit_rate = 4_000_000
        for index in range(frames):
            container.mux(stream.encode(field_frame(index, parity, marked=marked)))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("parity", ["tff", "bff"])
@pytest.mark.parametrize(
    ("name", "codec"),
    [("clip.mp4", "libx264"), ("clip.ts", "libx264"), ("clip.mkv", "libx264"), ("clip.vob", "mpeg2video")],
)
def test_interlaced_frames_come_out_whole_and_all_of_them(tmp_path, caplog, name, codec, parity):
    path = make_interlaced(tmp_path / name, codec=codec, parity=parity)
    with caplog.at_level(logging.INFO):
        whole = list(read_frames(path))
    raw = list(read_frames(path, deinterlace=False))
    assert [f.pts for f in whole] == [f.pts for f in raw]
    assert len(raw) == 8
    assert count_frames(path, before=100) == 8
    assert caplog.text.count("interlaced frames are deinterlaced") == 1
    assert np.mean([combing(f.image) for f in raw]) > 5
    assert np.mean([combing(f.image) for f in whole]) < 1


def test_the_first_field_is_the_one_that_stays(tmp_path):
    for parity, first in (("tff", 0), ("bff", 1)):
        path = make_interlaced(tmp_path / f"{parity}.mp4", parity=parity)
        for frame, raw in zip(read_frames(path), read_frames(path, deinterlace=False), strict=True):
            kept, source = frame.image[first::2].astype(int), raw.image[first::2].astype(int)
            assert np.abs(kept - source).mean() < 4


def test_progressive_films_are_untouched(make_video, caplog):
    path = make_video(frames=12)
    with caplog.at_level(logging.INFO):
        frames = [f.image for f in read_frames(path)]
    assert np.array_equal(frames, [f.image for f in read_frames(path, deinterlace=False)])
    assert not caplog.text


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_of_codecs_without_marks_the_container_is_believed(tmp_path, order):
    path = tmp_path / "clip.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("v210", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv422p10le"
        if not hasattr(stream.codec_context, "field_order"):
            pytest.skip("this version of PyAV does not know it")
        stream.codec_context.field_order = FIELD_ORDERS[order]
        for index in range(6):
            frame = av.VideoFrame.from_ndarray(moving(index, order)).reformat(format="yuv422p10le")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        stated = container.streams.video[0].codec_context.field_order
    if stated < 2:
        pytest.skip("this muxer did not write it")
    frames = list(read_frames(path))
    assert len(frames) == 6
    assert np.mean([combing(f.image) for f in frames]) < 1


def test_mixed_films_change_only_where_they_are_marked():
    context = av.CodecContext.create("h264", "r")
    deinterlacer = Deinterlacer(context)
    frames = [field_frame(index, "tff", marked=4 <= index < 8) for index in range(12)]
    done = [f for frame in frames for f in deinterlacer.step(frame)]
    done += deinterlacer.finish()
    assert [f.pts for f in done] == list(range(12))
    for index, (before, after) in enumerate(zip(frames, done, strict=True)):
        same = np.array_equal(before.to_ndarray(), after.to_ndarray())
        assert same == (not 4 <= index < 8)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_interlaced_films_keep_their_frames(tmp_path, frames):
    path = make_interlaced(tmp_path / "clip.mp4", frames=frames)
    assert [f.pts * f.time_base for f in read_frames(path)] == [Fraction(i, 25) for i in range(frames)]


def test_the_output_is_whole_unless_that_is_switched_off(tmp_path):
    path = make_interlaced(tmp_path / "clip.mp4")
    combed = {}
    for choice in ("auto", "off"):
        out = tmp_path / f"{choice}.mkv"
        assert convert(path, out, ConvertConfig(deinterlace=choice, crf=8)) == 8
        assert probe(out).frame_rate == 25
        combed[choice] = np.mean([combing(f.image[:, :160]) for f in read_frames(out)])
    assert combed["auto"] < 1 < 5 < combed["off"]


def test_a_part_of_an_interlaced_film_is_the_same(tmp_path):
    path = make_interlaced(tmp_path / "clip.mp4", frames=20)
    whole = {f.pts: f.image for f in read_frames(path)}
    part = list(read_frames(path, start=0.6))
    assert [f.pts * f.time_base for f in part] == [Fraction(i, 25) for i in range(15, 20)]
    assert all(np.abs(f.image.astype(int) - whole[f.pts]).max() <= 2 for f in part)
