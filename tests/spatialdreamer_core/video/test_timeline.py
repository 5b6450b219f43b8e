"""Files whose clock restarts, leaps or wraps: all streams stay in step with the frames."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest

from spatialdreamer_core.pipeline import ConvertConfig, convert
from spatialdreamer_core.video import VideoWriter, probe, read_frames
from spatialdreamer_core.video.reader import count_frames
from spatialdreamer_core.video.timeline import Timeline

WRAP = 2**33


def record(path, *, codec, sound, start=0.0, frames=25, first=0):
    """Write a second of video and sound whose clock begins anywhere."""
    rng = np.random.default_rng(first)
    with av.open(str(path), "w", container_options={"muxdelay": "0", "muxpreload": "0"}) as container:
        video, audio = container.add_stream(codec, rate=25), container.add_stream(sound, rate=48000)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        video.codec_context.time_base = Fraction(1, 25)
        audio.codec_context.open(strict=False)
        length = audio.codec_context.frame_size or 1152
        sounds = frames * 1920 // length
        for index in range(frames):
            level = 10 + 10 * ((first + index) % 24)
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), level, np.uint8))
            frame.pts, frame.time_base = round(start * 25) + index, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for index in range(sounds):
            samples = (rng.normal(size=(2, length)) * 0.1).astype(np.float32)
            planar = audio.codec_context.format.name
            resampler = av.AudioResampler(format=planar, layout="stereo", rate=48000)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
            frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
            frame.pts = round(start * 48000) + index * length
            for converted in resampler.resample(frame):
                container.mux(audio.encode(converted))
        container.mux(audio.encode())
    return path.read_bytes()


def joined(tmp_path, name, starts, **codecs):
    """Write a file of parts with clocks of their own."""
    parts = [
        record(tmp_path / f"part{index}{name[name.index('.') :]}", start=start, first=8 * index, **codecs)
        for index, start in enumerate(starts)
    ]
    path = tmp_path / name
    path.write_bytes(b"".join(parts))
    return path


def streams(path):
    """Return the times of a file's frames, and its sound packets with their times."""
    with av.open(str(path)) as container:
        sound = [
            (float(p.pts * p.time_base), bytes(p))
            for p in container.demux(audio=0)
            if p.size and p.pts is not None
        ]
    return [frame.time for frame in read_frames(path)], sound


TS = {"codec": "libx264", "sound": "mp2"}
MPEG = {"codec": "mpeg2video", "sound": "ac3"}


@pytest.mark.parametrize("target", ["out.mp4", "out.mkv"])
@pytest.mark.parametrize(
    ("name", "starts", "codecs"),
    [
        ("reset.ts", (100, 0), TS),
        ("reset.ts", (0, 0, 0), TS),
        ("leap.ts", (0, 5000), TS),
        ("reset.vob", (0, 0), MPEG),
        ("reset.mpg", (300, 20, 7000), MPEG),
        ("wrap.ts", (WRAP / 90000 - 3.48,), TS),
        ("wrapped.ts", (WRAP / 90000 - 20, 10), TS),
    ],
)
def test_sound_keeps_step_with_the_picture_over_a_restart(tmp_path, name, starts, codecs, target):
    source = joined(tmp_path, name, starts, **codecs)
    out = tmp_path / target
    info = probe(source)
    with VideoWriter(out, width=96, height=64, source=info, audio_from=source) as writer:
        for frame in read_frames(source):
            writer.write(frame.image, frame.pts)
    times, sound = streams(out)
    parts = len(starts)
    assert len(times) == 25 * parts
    with av.open(str(source)) as container:
        expected = [bytes(p) for p in container.demux(audio=0) if p.size]
    assert [data for _, data in sound] == expected
    each = len(sound) // parts
    delays = [sound[each * part][0] - times[25 * part] for part in range(parts)]
    assert delays == pytest.approx([delays[0]] * parts, abs=0.03)
    assert times[-1] - times[0] == pytest.approx((25 * parts - 1) / 25, abs=0.01)
    steps = np.diff([time for time, _ in sound])
    assert steps.min() > 0
    assert steps.max() < 0.1


def test_a_part_behind_a_restart_can_be_converted(tmp_path, frame_number):
    source = joined(tmp_path, "reset.ts", (50, 3), **TS)
    whole = list(read_frames(source))
    part = list(read_frames(source, start=1.4))
    assert [f.pts for f in part] == [f.pts for f in whole if f.time >= 1.4]
    assert [frame_number(f.image) for f in part] == [frame_number(f.image) for f in whole if f.time >= 1.4]
    assert count_frames(source, before=1.4) + len(part) == len(whole)
    out = tmp_path / "out.mp4"
    assert convert(source, out, ConvertConfig(start=1.4, end=1.8)) == len([f for f in part if f.time < 1.8])
    times, sound = streams(out)
    assert sound[0][0] == pytest.approx(times[0], abs=0.05)
    assert sound[-1][0] == pytest.approx(times[-1], abs=0.05)


def packet(index, seconds, duration=0.04, kind="audio"):
    ticks = round(seconds * 1000)
    return SimpleNamespace(
        stream_index=index,
        pts=ticks,
        dts=ticks,
        duration=round(duration * 1000),
        time_base=Fraction(1, 1000),
        stream=SimpleNamespace(type=kind),
    )


def test_sound_that_restarts_first_waits_for_the_picture():
    timeline = Timeline(leaps=True, step=Fraction(1, 25))
    assert [timeline.follow(packet(0, t)) for t in (8.0, 8.04)] == [0, 0]
    assert timeline.place(packet(1, 8.0), wait=True) == 0
    assert timeline.place(packet(1, 1.0), wait=True) is None
    assert timeline.follow(packet(0, 1.0)) == Fraction(708, 100)
    assert timeline.place(packet(1, 1.0), wait=True) == Fraction(708, 100)


def test_sound_that_restarts_later_stays_with_the_old_clock_until_then():
    timeline = Timeline(leaps=True, step=Fraction(1, 25))
    timeline.follow(packet(0, 8.0))
    timeline.place(packet(1, 8.0), wait=True)
    shift = timeline.follow(packet(0, 2.0))
    assert timeline.place(packet(1, 8.04), wait=True) == 0
    assert timeline.place(packet(1, 2.0), wait=True) == shift > 0


def test_sound_that_restarts_alone_goes_on():
    timeline = Timeline(leaps=True, step=Fraction(1, 25))
    timeline.follow(packet(0, 8.0))
    timeline.place(packet(1, 8.0), wait=True)
    assert timeline.place(packet(1, 1.0), wait=True) is None
    assert timeline.place(packet(1, 1.0), wait=False) == Fraction(704, 100)


def test_a_gap_in_the_sound_is_no_restart():
    timeline = Timeline(leaps=True, step=Fraction(1, 25))
    timeline.place(packet(1, 0.0), wait=True)
    for index in range(1000):
        timeline.follow(packet(0, index / 25))
    assert timeline.place(packet(1, 39.9), wait=True) == 0
    assert timeline.place(packet(2, 39.0, duration=5, kind="subtitle"), wait=True) == 0
    assert timeline.place(packet(2, 40.0, duration=5, kind="subtitle"), wait=True) == 0  # they overlap


def test_a_long_step_ahead_is_kept_where_a_clock_cannot_leap():
    timeline = Timeline(leaps=False, step=Fraction(1, 25))
    assert [timeline.follow(packet(0, t)) for t in (0.0, 3600.0)] == [0, 0]


def test_a_stray_packet_does_not_move_what_follows():
    timeline = Timeline(leaps=True, step=Fraction(1, 25))
    for index in range(50):
        assert timeline.follow(packet(0, index / 25)) == 0
    assert timeline.follow(packet(0, 0.5)) != 0
    assert timeline.follow(packet(0, 2.04)) == 0
    assert timeline.follow(packet(0, 70_000.0)) != 0
    assert timeline.follow(packet(0, 2.12)) == 0


def test_subtitles_take_the_clock_of_the_picture_beside_them():
    timeline = Timeline(leaps=True, step=Fraction(1, 25))
    timeline.follow(packet(0, 100.0))
    assert timeline.place(packet(2, 98.0, duration=4, kind="subtitle"), wait=True) == 0
    shift = timeline.follow(packet(0, 3.0))
    assert shift > 90
    assert timeline.place(packet(2, 100.5, duration=2, kind="subtitle"), wait=True) == 0
    assert timeline.place(packet(2, 3.5, duration=2, kind="subtitle"), wait=True) == shift
