from __future__ import annotations

import logging
import re
import shutil
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.video import VideoWriter, probe, read_frames

CLOCK = {"frame_rate": Fraction(25), "time_base": Fraction(1, 12800)}


def gray(level, *, height=64, width=96):
    return np.full((height, width, 3), level, np.uint8)


def copy(source, target, *, start=None, end=None, **options):
    """Write the frames of a file, as a conversion does."""
    info = probe(source)
    size = {"width": info.width, "height": info.height}
    with VideoWriter(target, **size, source=info, audio_start=start, audio_end=end, **options) as writer:
        for frame in read_frames(source, start=start, end=end):
            writer.write(frame.image, frame.pts)
    return target


def write_all(path, images, times, *, width=96, height=64, **options):
    """Write images at given times."""
    with VideoWriter(path, width=width, height=height, **CLOCK, **options) as writer:
        for image, pts in zip(images, times, strict=True):
            writer.write(image, pts)


def leftovers(folder):
    return [p.name for p in folder.iterdir() if "partial" in p.name]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_frames_and_duration_are_kept(make_video, tmp_path, frame_number, suffix):
    source = make_video(frames=20)
    out = copy(source, tmp_path / f"out{suffix}")
    frames = list(read_frames(out))
    assert [frame_number(f.image) for f in frames] == list(range(20))
    assert [f.time for f in frames] == pytest.approx([i / 25 for i in range(20)], abs=1e-3)
    assert probe(out).duration == pytest.approx(0.8, abs=2e-3)
    assert probe(out).frame_rate == 25
    assert leftovers(tmp_path) == []


def test_a_variable_frame_rate_is_kept_exactly(tmp_path, frame_number):
    pts = [7000, 7001, 7900, 8300, 60_000, 60_512, 61_024]
    out = tmp_path / "out.mp4"
    with VideoWriter(out, width=96, height=64, **CLOCK) as writer:
        for index, value in enumerate(pts):
            writer.write(gray(10 + 10 * index), value)
    frames = list(read_frames(out))
    assert [f.pts * f.time_base for f in frames] == [Fraction(p - pts[0], 12800) for p in pts]
    assert [frame_number(f.image) for f in frames] == list(range(len(pts)))
    assert probe(out).duration == pytest.approx((pts[-1] - pts[0] + 512) / 12800, abs=0.02)


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60)])
def test_broadcast_rates_are_kept_exactly(make_video, tmp_path, rate):
    source = make_video(frames=30, rate=rate, time_base=1 / rate)
    out = copy(source, tmp_path / "out.mp4")
    assert [f.pts * f.time_base for f in read_frames(out)] == [i / rate for i in range(30)]
    assert probe(out).frame_rate == rate
    assert probe(out).duration == pytest.approx(float(30 / rate))


@pytest.mark.parametrize(("width", "height"), [(351, 143), (350, 143), (351, 144), (1, 1)])
def test_odd_sizes_are_padded_by_repeating_the_edge(tmp_path, width, height):
    out = tmp_path / "out.mp4"
    image = np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8)[None, :, None], (height, width, 3))
    with VideoWriter(out, width=width, height=height, crf=1, **CLOCK) as writer:
        writer.write(image, 0)
    read = next(read_frames(out)).image.astype(int)
    assert read.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(read[:height, :width] - image).max() <= 4
    assert np.abs(read[height - 1 :, :width] - image[-1]).max() <= 4
    assert np.abs(read[:height, width - 1 :] - image[:, -1:]).max() <= 4


def test_a_turned_source_gives_an_upright_file_without_the_flag(make_video, turned, tmp_path):
    source = turned(make_video(frames=3), "quarter")
    out = copy(source, tmp_path / "out.mp4")
    info = probe(out)
    assert (info.width, info.height, info.rotation) == (64, 96, 0)


def test_the_pixel_shape_is_kept(make_video, tmp_path):
    source = make_video(frames=2, aspect=Fraction(16, 11))
    assert probe(copy(source, tmp_path / "out.mp4")).sample_aspect_ratio == Fraction(16, 11)
    half = copy(source, tmp_path / "half.mkv", sample_aspect_ratio=Fraction(2))
    assert probe(half).sample_aspect_ratio == 2


def test_metadata_is_written(tmp_path):
    with VideoWriter(
        tmp_path / "out.mkv",
        width=96,
        height=64,
        metadata={"title": "A title", "comment": "settings"},
        stream_metadata={"stereo_mode": "left_right"},
        **CLOCK,
    ) as writer:
        writer.write(gray(9), 0)
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert container.metadata["title"] == "A title"
        assert container.metadata["COMMENT"] == "settings"
        assert container.streams.video[0].metadata["stereo_mode"] == "left_right"


def test_the_index_of_an_mp4_is_in_front(make_video, tmp_path):
    data = copy(make_video(audio=("aac",)), tmp_path / "out.mp4").read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")


PLAIN, NOT_IN_MOV = ("aac", "mp3", "ac3"), ("flac", "libopus")
FITTING = [(c, s) for c in PLAIN for s in (".mp4", ".mkv", ".mov")] + [
    (c, s) for c in NOT_IN_MOV for s in (".mp4", ".mkv")
]


@pytest.mark.parametrize(("codec", "suffix"), FITTING)
def test_audio_packets_are_the_same_at_the_same_times(make_video, packets, tmp_path, codec, suffix):
    source = make_video("clip.mkv" if codec in NOT_IN_MOV else "clip.mp4", frames=50, audio=(codec,))
    out = copy(source, tmp_path / f"out{suffix}", audio_from=source)
    expected, got = packets(source), packets(out)
    assert len(got) == len(expected) > 10
    assert [data for _, _, data in got] == [data for _, _, data in expected]
    video_shift = packets(out, "video")[0][1] - packets(source, "video")[0][1]
    times = [time - video_shift for _, time, _ in got]
    assert times == pytest.approx([time for _, time, _ in expected], abs=1.1e-3)


def test_all_audio_streams_are_copied_with_their_language(make_video, packets, tmp_path):
    source = make_video("clip.mkv", frames=50, audio=("aac", "libopus"))
    out = copy(source, tmp_path / "out.mp4", audio_from=source)
    for stream in (0, 1):
        assert [p[2] for p in packets(out) if p[0] == stream] == [
            p[2] for p in packets(source) if p[0] == stream
        ]
    assert probe(out).audio_codecs == probe(source).audio_codecs


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_range_takes_the_audio_of_that_range(make_video, packets, tmp_path, suffix):
    source = make_video(frames=100, audio=("aac",))
    out = copy(source, tmp_path / f"out{suffix}", start=1.5, end=2.5, audio_from=source)
    assert next(read_frames(out)).time == 0
    expected = [
        (t, data) for _, t, data in packets(source) if 1.52 <= t < 2.5
    ]  # the first frame is at 1.52 s
    got = packets(out)
    assert [data for _, _, data in got] == [data for _, data in expected]
    assert [t for _, t, _ in got] == pytest.approx([t - 1.52 for t, _ in expected], abs=1.1e-3)


def test_audio_longer_than_the_video_and_a_late_start_are_kept(make_video, packets, tmp_path):
    source = make_video(frames=10, pts=range(25, 35), audio=("aac",), audio_seconds=3)
    out = copy(source, tmp_path / "out.mp4", audio_from=source)
    assert next(read_frames(out)).time == pytest.approx(next(read_frames(source)).time) == 1.0
    assert [p[2] for p in packets(out)] == [p[2] for p in packets(source)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_transport_stream_keeps_its_sound_in_sync(make_video, packets, tmp_path, suffix):
    source = make_video("clip.ts", frames=50, audio=("aac",))
    out = copy(source, tmp_path / f"out{suffix}", audio_from=source)
    clock = probe(source).start_time
    expected, got = [t - clock for _, t, _ in packets(source)], [t for _, t, _ in packets(out)]
    assert got == pytest.approx(expected, abs=2e-3)
    with av.open(str(out)) as container:  # the sound can be decoded without the stream's own headers
        assert sum(f.samples for f in container.decode(audio=0)) >= 2 * 48000 - 2048


def test_audio_is_interleaved_with_the_video(make_video, tmp_path):
    source = make_video(frames=250, audio=("aac",))
    out = copy(source, tmp_path / "out.mp4", audio_from=source)
    with av.open(str(out)) as container:
        places = [(p.pos, p.stream.type, float(p.dts * p.time_base)) for p in container.demux() if p.size]
    latest = {"video": 0.0, "audio": 0.0}
    for _, kind, time in sorted(places):
        latest[kind] = time
        if time < 9:
            assert abs(latest["video"] - latest["audio"]) < 1.5


def test_a_source_without_audio_is_fine(make_video, tmp_path):
    source = make_video(frames=5)
    assert probe(copy(source, tmp_path / "out.mp4", audio_from=source)).audio_codecs == ()


@pytest.mark.parametrize(("codec", "suffix"), [("pcm_u8", ".mp4"), ("flac", ".mov"), ("libopus", ".mov")])
def test_audio_that_the_container_cannot_hold_is_left_out_with_a_line(
    make_video, tmp_path, caplog, codec, suffix
):
    source = make_video("clip.mkv", frames=5, audio=("aac", codec))
    with caplog.at_level(logging.WARNING):
        out = copy(source, tmp_path / f"out{suffix}", audio_from=source)
    assert probe(out).audio_codecs == ("aac",)
    assert len(list(read_frames(out))) == 5
    assert f"left out, not for this container: audio stream 2 ({codec.removeprefix('lib')})" in caplog.text
    assert probe(copy(source, tmp_path / "out.mkv", audio_from=source)).audio_codecs[0] == "aac"
    assert len(probe(tmp_path / "out.mkv").audio_codecs) == 2


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("frames", [0, 1, 60])
def test_nothing_is_left_after_an_exception(make_video, tmp_path, failure, frames):
    source = make_video(frames=5, audio=("aac",))
    out = tmp_path / "out.mp4"
    out.write_bytes(b"an older file")

    def work():
        with VideoWriter(out, width=96, height=64, audio_from=source, overwrite=True, **CLOCK) as writer:
            for index in range(frames):
                writer.write(gray(index), index * 512)
            raise failure

    with pytest.raises(failure):
        work()
    assert out.read_bytes() == b"an older file"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4", "out.mp4"]


def test_the_name_appears_only_when_the_file_is_whole(tmp_path):
    out = tmp_path / "deep" / "folder" / "out.mp4"
    with VideoWriter(out, width=96, height=64, **CLOCK) as writer:
        for index in range(60):
            writer.write(gray(index), index * 512)
        assert not out.exists()
        assert len(leftovers(out.parent)) == 1
    assert [p.name for p in out.parent.iterdir()] == ["out.mp4"]


def test_names_with_colons_spaces_and_other_scripts_work(make_video, tmp_path):
    source = make_video(frames=3)
    odd = tmp_path / ("%03d Film 立体 " + "long" * 40 + ".mp4")
    shutil.copy(source, odd)
    out = copy(odd, odd.with_name(odd.stem + "_LR.mp4"), audio_from=odd)
    assert probe(out).frame_count == 3


def test_a_video_without_frames_is_refused(tmp_path):
    with (
        pytest.raises(InputError, match="at least one frame"),
        VideoWriter(tmp_path / "out.mp4", width=96, height=64, **CLOCK),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codec": "h265"}, "codec must be one of .*libx264.*, got 'h265'"),
        ({"codec": "prores_ks"}, r"codec must be one that goes into .mp4 .*, got ProRes .*into .mov or .mkv"),
        ({"preset": "quick"}, "choose another codec, container or size"),
        ({"frame_rate": None}, "give both, or a `source`"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_once(tmp_path, options, message):
    with (
        pytest.raises(InputError, match=message),
        VideoWriter(tmp_path / "out.mp4", width=96, height=64, **{**CLOCK, **options}),
    ):
        pytest.fail("the work must not begin")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("images", "times", "message"),
    [
        (
            [gray(1, width=97)],
            [0],
            "`image` must be uint8 or uint16 of shape [64, 96, 3], got uint8 [64, 97, 3]",
        ),
        ([gray(1) / 255], [0], "`image` must be uint8 or uint16 of shape [64, 96, 3], got float64"),
        ([gray(1), gray(1)], [512, 512], "`pts` must rise from frame to frame, got 512 after 512"),
    ],
)
def test_frames_that_do_not_fit_are_refused(tmp_path, images, times, message):
    with pytest.raises(InputError, match=re.escape(message)):
        write_all(tmp_path / "out.mp4", images, times)
    assert list(tmp_path.iterdir()) == []


def test_hevc_in_mp4_has_the_tag_that_apple_plays(tmp_path):
    with VideoWriter(tmp_path / "out.mp4", width=96, height=64, codec="libx265", **CLOCK) as writer:
        writer.write(gray(1), 0)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


NOISE_WRITER = """
import sys
from fractions import Fraction
import numpy as np
from spatialdreamer_core.checks import InputError
from spatialdreamer_core.video import VideoWriter

rng = np.random.default_rng(0)
try:
    with VideoWriter(sys.argv[1], width=320, height=240, frame_rate=Fraction(25), time_base=Fraction(1, 25),
                     crf=1, preset="ultrafast") as writer:
        for index in range(int(sys.argv[2])):
            writer.write(rng.integers(0, 255, (240, 320, 3)).astype(np.uint8), index)
except InputError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.parametrize("frames", [1, 40])  # the limit is met while closing, and while writing
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
def test_a_file_size_limit_gives_one_clear_error_and_leaves_nothing(tmp_path, frames):
    limit = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    )
    out = tmp_path / "out.mp4"
    result = subprocess.run(
        [sys.executable, "-c", limit + NOISE_WRITER, str(out), str(frames)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2, result.stderr
    assert result.stdout.startswith("output file must fit the file system, got 'File too large'")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of 300 KB, which only root can do."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("frames", [1, 40])
def test_a_full_disk_gives_one_clear_error_and_leaves_nothing(small_disk, frames):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (480, 640, 3)).astype(np.uint8)
    images = [np.roll(noise, index * 7) for index in range(frames)]
    with pytest.raises(InputError, match=r"No space left on device.*free space or choose another folder"):
        write_all(small_disk / "out.mp4", images, range(0, 512 * frames, 512), width=640, height=480, crf=1)
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("size", [(64, 96), (33, 51)])
def test_a_fourth_channel_is_left_out(tmp_path, size):
    rgba = np.random.default_rng(0).integers(0, 256, (*size, 4), np.uint8)
    with VideoWriter(tmp_path / "out.mkv", width=size[1], height=size[0], **CLOCK) as writer:
        frames = [writer.prepare(image) for image in (rgba, np.ascontiguousarray(rgba[..., :3]))]
        assert np.array_equal(*(frame.to_ndarray() for frame in frames))
        with pytest.raises(InputError, match="`image` must be uint8 or uint16 of shape"):
            writer.prepare(rgba.astype(np.uint16))
        writer.write(frames[0], 0)
