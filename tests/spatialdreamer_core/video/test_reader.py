from __future__ import annotations

import gc
import logging
from fractions import Fraction

import av
import numpy as np
import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.video import probe, read_frames
from spatialdreamer_core.video.decoder import FrameClock
from spatialdreamer_core.video.reader import count_frames

LONG_GOP = {"g": "12", "bf": "3"}


def test_frames_come_in_order_with_their_times(make_video, frame_number):
    path = make_video(frames=20, options=LONG_GOP)
    frames = list(read_frames(path))
    assert [frame_number(f.image) for f in frames] == list(range(20))
    assert [f.time for f in frames] == pytest.approx([i / 25 for i in range(20)])
    assert frames[0].image.shape == (64, 96, 3)
    assert frames[0].image.dtype == np.uint8


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.avi"])
@pytest.mark.parametrize("start", [0.0, 0.04, 1.0, 1.01, 2.36])
def test_as_many_frames_are_counted_as_a_start_leaves_out(make_video, frame_number, name, start):
    path = make_video(name, frames=60, options=LONG_GOP)
    count = count_frames(path, before=start)
    assert count == sum(frame.time < start for frame in read_frames(path))
    assert frame_number(next(read_frames(path, start=start)).image) == count % 24


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.avi"])
@pytest.mark.parametrize(("start", "end"), [(0.0, 0.4), (1.0, 1.4), (1.01, None), (2.32, 2.36), (0.6, 0.61)])
def test_a_range_is_exact(make_video, name, start, end):
    path = make_video(name, frames=60, options=LONG_GOP)
    whole = list(read_frames(path))
    expected = [f for f in whole if f.time >= start and (end is None or f.time < end)]
    part = list(read_frames(path, start=start, end=end))
    assert [f.pts for f in part] == [f.pts for f in expected]
    for a, b in zip(part, expected, strict=True):
        np.testing.assert_array_equal(a.image, b.image)


def test_a_range_starts_at_the_very_frame_whose_time_is_given(make_video):
    path = make_video(frames=60, rate=Fraction(30000, 1001), time_base=Fraction(1001, 30000))
    for frame in list(read_frames(path))[::7]:
        assert next(read_frames(path, start=frame.time)).pts == frame.pts


def test_decoded_frames_are_freed_at_once(make_video):
    path = make_video(frames=100)
    gc.collect()
    gc.freeze()  # what is there already is not looked at
    gc.disable()  # what refers to itself waits for the collector, and a film's frames fill the memory
    try:
        most = max(_count_decoded_frames() for _ in read_frames(path))
    finally:
        gc.enable()
        gc.unfreeze()
    assert most < 50  # the decoder hands over its last ones together


def _count_decoded_frames() -> int:
    return sum(type(thing) is av.VideoFrame for thing in gc.get_objects())


def test_a_variable_frame_rate_is_kept(make_video):
    pts = [0, 40, 50, 53, 200, 1000]
    path = make_video("vfr.mkv", frames=6, pts=pts, time_base=Fraction(1, 1000))
    assert [f.pts for f in read_frames(path)] == pts


def test_times_count_from_the_start_of_the_file(make_video):
    path = make_video("late.ts", frames=10)
    with av.open(str(path)) as container:
        assert container.start_time > 0
    assert next(read_frames(path)).time == 0
    assert probe(path).start_time > 0


@pytest.mark.parametrize(
    ("name", "undo"),
    [
        ("quarter", lambda image: np.rot90(image)),
        ("half", lambda image: np.rot90(image, 2)),
        ("three quarters", lambda image: np.rot90(image, -1)),
        ("mirrored", lambda image: image[:, ::-1]),
    ],
)
def test_turned_videos_come_out_upright(make_video, turned, name, undo):
    path = make_video(frames=1, picture=lambda index: av.VideoFrame.from_ndarray(corners(), format="rgb24"))
    stored = next(read_frames(path)).image
    image = next(read_frames(turned(path, name))).image
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(undo(image), stored)


def corners():
    image = np.zeros((64, 96, 3), np.uint8)
    image[:32, :48], image[:32, 48:], image[32:, :48] = 255, (255, 0, 0), (0, 255, 0)
    return image


def test_a_quarter_turn_is_clockwise(make_video, turned):
    path = make_video(frames=1, picture=lambda index: av.VideoFrame.from_ndarray(corners(), format="rgb24"))
    image = next(read_frames(turned(path, "quarter"))).image
    assert image.shape == (96, 64, 3)
    assert image[5, -5].min() > 200  # the white corner went from top left to top right


def test_a_start_beyond_the_end_gets_a_clear_error(make_video):
    with pytest.raises(InputError, match="got none from 9 s to the end"):
        list(read_frames(make_video(), start=9))


def test_an_empty_range_is_refused_at_once(make_video):
    with pytest.raises(InputError, match="start must be before end, got start 2 s and end 1 s"):
        read_frames(make_video(), start=2, end=1)


def noise(seed):
    rng = np.random.default_rng(seed)
    return av.VideoFrame.from_ndarray(rng.integers(0, 255, (64, 96, 3), np.uint8), format="rgb24")


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_a_file_that_breaks_off_gives_its_frames_and_then_an_error(make_video, name):
    faststart = {"movflags": "faststart"} if name.endswith("mp4") else {}
    path = make_video(name, frames=75, picture=noise)
    if faststart:
        path = remux(path, faststart)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    seen = []
    with pytest.raises(InputError, match=r"breaks off at 1\.\d\d s .* copy or download it again"):
        seen.extend(frame.pts for frame in read_frames(path))
    assert 25 <= len(seen) <= 50
    assert len(list(read_frames(path, end=0.4))) == 10  # the part before it can be used


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_a_start_in_the_lost_part_tells_where_the_file_breaks_off(make_video, name):
    path = make_video(name, frames=75, picture=noise, options={"g": "10"})
    path = remux(path, {"movflags": "faststart"}) if name.endswith("mp4") else path
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"breaks off at 1\.\d\d s"):
        list(read_frames(path, start=2.5))


@pytest.mark.parametrize("start", [None, 0.9])
def test_a_long_last_frame_is_no_lost_end(make_video, start):
    path = make_video(frames=26, options={"bf": "0"}, last_duration=100)
    assert probe(path).duration == pytest.approx(5.0)
    assert list(read_frames(path, start=start))[-1].time == 1.0


def remux(path, options):
    """Copy a file with its index in front."""
    target = path.with_name("front.mp4")
    with av.open(str(path)) as source, av.open(str(target), "w", container_options=options) as output:
        stream = output.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    return target


def damage(path, first, count):
    """Overwrite some video packets of a file."""
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size][first : first + count]
    data = bytearray(path.read_bytes())
    for position, size in places:
        data[position : position + size] = bytes(size)
    path.write_bytes(data)


def test_a_few_damaged_packets_are_skipped_with_a_warning(make_video, caplog):
    path = make_video(frames=75, picture=noise, options={"g": "5", "bf": "0"})
    damage(path, 30, 3)
    with caplog.at_level(logging.WARNING):
        times = [f.time for f in read_frames(path)]
    assert 65 <= len(times) < 75
    assert times == sorted(set(times))
    assert times[-1] == pytest.approx(74 / 25)
    assert "damaged packet" in caplog.text


def test_a_file_whose_packets_stay_damaged_gets_an_error(make_video):
    path = make_video(frames=75, picture=noise, options={"g": "5", "bf": "0"})
    damage(path, 30, 45)
    with pytest.raises(InputError, match=r"breaks off at 1\.\d\d s"):
        list(read_frames(path))


def test_missing_and_repeated_times_are_repaired():
    clock = FrameClock(Fraction(1, 1000), step=Fraction(1, 25), origin=Fraction(0))
    assert [clock.repair(pts) for pts in (None, None, 80, 80, 70, 120)] == [0, 40, 80, 81, 82, 120]
    assert [clock.repair(pts) for pts in (10_000, 40, 80, None)] == [10_000, 10_040, 10_080, 10_120]


def test_a_stream_without_times_can_be_read_from_a_start(make_video, frame_number):
    path = make_video("raw.h264", frames=20, options=LONG_GOP)
    assert [frame_number(f.image) for f in read_frames(path, start=0.6)] == list(range(15, 20))


def test_the_file_is_closed_when_the_iterator_is(make_video):
    path = make_video()
    frames = read_frames(path)
    next(frames)
    frames.close()
    path.rename(path.with_name("moved.mp4"))  # fails on Windows while the file is open
