"""No cut file counts as whole where anything tells, and no whole file counts as cut."""

from __future__ import annotations

import logging
from contextlib import closing
from fractions import Fraction

import av
import numpy as np
import pytest

from spatialdreamer_core import cli
from spatialdreamer_core.checks import InputError
from spatialdreamer_core.pipeline import ConvertConfig, convert
from spatialdreamer_core.video import read_frames
from spatialdreamer_core.video.completeness import IncompleteInput, check_whole, is_whole

FRAMES = 50
KINDS = {
    "clip.mp4": ("libx264", "aac"),
    "front.mp4": ("libx264", "aac"),
    "fragments.mp4": ("libx264", "aac"),
    "clip.mov": ("mpeg4", "pcm_s16le"),
    "clip.mkv": ("libx264", "flac"),
    "clip.webm": ("libvpx", "libopus"),
    "sent.mkv": ("libx264", "aac"),
    "clip.avi": ("mpeg4", "mp3"),
    "silent.avi": ("mjpeg", None),
    "clip.flv": ("flv1", "mp3"),
    "clip.wmv": ("wmv2", "wmav2"),
    "clip.ogv": ("libvpx", "libopus"),
    "clip.ivf": ("libvpx", None),
    "clip.gif": ("gif", None),
    "clip.mxf": ("mpeg2video", "pcm_s16le"),
    "clip.ts": ("libx264", "aac"),
    "clip.mpg": ("mpeg2video", "mp2"),
}
OPTIONS = {
    "front.mp4": {"movflags": "faststart"},
    "fragments.mp4": {"movflags": "frag_keyframe+empty_moov"},
    "sent.mkv": {"live": "1"},
}
SILENT_ABOUT_THEIR_LENGTH = {"clip.ts", "clip.mpg"}


def make_film(path, *, frames=FRAMES, pts=None, sound_seconds=None, bframes=True):
    """Write a film of noise of a kind of `KINDS`."""
    codec, sound = KINDS[path.name]
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", container_options=OPTIONS.get(path.name, {})) as container:
        options = {"g": "10", "bf": "2"} if codec == "libx264" and bframes else {"g": "10"}
        options.update({"deadline": "realtime", "cpu-used": "8"} if codec == "libvpx" else {})
        video = container.add_stream(codec, rate=25, options=options)
        video.width, video.height = 64, 48
        video.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        video.codec_context.time_base = Fraction(1, 25)
        track = container.add_stream(sound, rate=48000) if sound else None
        if track is not None:
            track.codec_context.bit_rate = 128_000
        container.start_encoding()
        for index in range(frames):
            image = rng.integers(0, 255, (48, 64, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(image).reformat(format=video.pix_fmt)
            frame.pts, frame.time_base = index if pts is None else pts[index], Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if track is not None:
            context = track.codec_context
            length = context.frame_size or 1024
            resampler = av.AudioResampler(format=context.format, layout="stereo", rate=48000)
            for start in range(0, round((sound_seconds or frames / 25) * 48000), length):
                samples = (rng.normal(size=(2, length)) * 0.1).astype(np.float32)
                sample = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
                sample.sample_rate, sample.time_base, sample.pts = 48000, Fraction(1, 48000), start
                for converted in resampler.resample(sample):
                    container.mux(track.encode(converted))
            container.mux(track.encode())
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A film of each kind, with the number of its frames as they are read."""
    folder = tmp_path_factory.mktemp("films")
    return {name: make_film(folder / name) for name in KINDS}


@pytest.mark.parametrize("name", KINDS)
def test_a_whole_film_is_whole(films, name, caplog):
    assert is_whole(films[name]) is (None if name in SILENT_ABOUT_THEIR_LENGTH else True)
    with caplog.at_level(logging.WARNING):
        frames = list(read_frames(films[name]))
    assert len(frames) == FRAMES
    assert not caplog.text


@pytest.mark.parametrize("share", [0.1, 0.35, 0.5, 0.77, 0.95])
@pytest.mark.parametrize("name", KINDS)
def test_a_cut_film_is_never_short_without_a_word(films, tmp_path, name, share):
    data = films[name].read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: round(len(data) * share)])
    count = 0
    try:
        for _ in read_frames(path):
            count += 1
    except InputError:
        return  # told
    if name not in SILENT_ABOUT_THEIR_LENGTH:
        assert count >= FRAMES - 2


@pytest.mark.parametrize("name", sorted(KINDS.keys() - SILENT_ABOUT_THEIR_LENGTH))
def test_a_cut_film_is_refused_before_the_work(films, tmp_path, name):
    data = films[name].read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: round(len(data) * 0.8)])
    with pytest.raises(InputError, match="copy or download it again"):
        convert(path, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.mp4", {"sound_seconds": 5}),
        ("clip.mkv", {"sound_seconds": 5}),
        ("clip.avi", {"sound_seconds": 5}),
        ("clip.mkv", {"pts": [*range(30), *range(100, 120)]}),
        ("clip.mp4", {"pts": [*range(30), *range(100, 120)]}),
        ("clip.mp4", {"pts": range(10, 60)}),
        ("clip.flv", {"sound_seconds": 4}),
    ],
)
def test_odd_but_whole_films_are_whole(tmp_path, name, options):
    path = make_film(tmp_path / name, **options)
    check_whole(path)
    assert len(list(read_frames(path))) == FRAMES


def test_a_cut_flash_film_that_does_not_know_its_size_is_found_at_its_end(films, tmp_path):
    data = films["clip.flv"].read_bytes().replace(b"filesize", b"filesiz_")
    path = tmp_path / "clip.flv"
    path.write_bytes(data)
    assert is_whole(path)
    path.write_bytes(data[: len(data) // 3])
    assert is_whole(path) is None
    with pytest.raises(IncompleteInput, match="breaks off"):
        list(read_frames(path))


def test_a_wrong_duration_is_told_but_no_fault_of_the_film(films, tmp_path, caplog):
    data = films["clip.mkv"].read_bytes()
    stated = b"00:00:02.0"
    assert stated in data
    path = tmp_path / "clip.mkv"
    path.write_bytes(data.replace(stated, b"00:01:02.0"))
    with caplog.at_level(logging.WARNING):
        assert len(list(read_frames(path))) == FRAMES
    assert "as its header states, at 62" in caplog.text


@pytest.mark.parametrize("padding", [bytes(3), bytes(5000), b"\0\0\0\0junk after it"])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi", "clip.mkv", "sent.mkv", "clip.gif"])
def test_what_follows_the_end_does_not_count(films, tmp_path, name, padding):
    path = tmp_path / name
    path.write_bytes(films[name].read_bytes() + padding)
    assert is_whole(path)


def run(*arguments):
    return cli.main(["convert", *map(str, arguments), "--quiet", "--preset", "ultrafast"])


def test_the_exit_code_tells_and_allow_incomplete_converts(films, tmp_path, capsys):
    data = films["silent.avi"].read_bytes()
    path, out = tmp_path / "silent.avi", tmp_path / "out.mp4"
    path.write_bytes(data[: len(data) // 2])
    assert run(path, "-o", out) == cli.INCOMPLETE
    assert "whose end is missing" in capsys.readouterr().err
    assert not out.exists()
    assert run(path, "-o", out, "--allow-incomplete") == 0
    assert 20 <= len(list(read_frames(out))) <= 26


def test_what_breaks_off_unexpectedly_is_kept_and_told(films, tmp_path, capsys):
    data = bytearray(films["front.mp4"].read_bytes())
    with closing(av.open(str(films["front.mp4"]))) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    for position, size in places[20:]:
        data[position : position + size] = bytes(size)  # a download whose rest never came
    path, out = tmp_path / "front.mp4", tmp_path / "out.mp4"
    path.write_bytes(data)
    assert run(path, "-o", out) == cli.INCOMPLETE
    error = capsys.readouterr().err
    assert "breaks off at" in error
    assert f"frames before are in {out}" in error
    assert 15 <= len(list(read_frames(out))) <= 21
    out.unlink()
    assert run(path, "-o", out, "--allow-incomplete") == 0
    assert out.exists()


def test_a_part_before_the_cut_can_be_converted(films, tmp_path):
    data = films["front.mp4"].read_bytes()
    path = tmp_path / "front.mp4"
    path.write_bytes(data[: len(data) // 2])
    assert convert(path, tmp_path / "out.mp4", ConvertConfig(end=0.4)) == 10
    with pytest.raises(IncompleteInput, match="frames before are in"):
        convert(path, tmp_path / "more.mp4", ConvertConfig(end=1.9))
    assert (tmp_path / "more.mp4").exists()


def test_two_passes_tell_of_damage_once(films, tmp_path, caplog):
    """A film with a depth file is read twice."""
    data = bytearray(films["front.mp4"].read_bytes())
    with closing(av.open(str(films["front.mp4"]))) as container:
        place = [(p.pos, p.size) for p in container.demux(video=0) if p.size][15]
    data[place[0] : place[0] + place[1]] = bytes(place[1])
    path = tmp_path / "front.mp4"
    path.write_bytes(data)
    count = len(list(read_frames(path, report=False)))
    np.save(tmp_path / "depth.npy", np.random.default_rng(0).random((count, 48, 64), np.float32))
    config = ConvertConfig(depth_file=str(tmp_path / "depth.npy"))
    with caplog.at_level(logging.WARNING):
        assert convert(path, tmp_path / "out.mp4", config) == count
    assert caplog.text.count("a damaged packet") == 1


def test_depth_of_the_whole_film_goes_with_a_cut_one(films, tmp_path):
    data, count = films["clip.mkv"].read_bytes(), len(list(read_frames(films["clip.mkv"])))
    path = tmp_path / "cut.mkv"
    path.write_bytes(data[: len(data) * 2 // 3])
    np.save(tmp_path / "depth.npy", np.random.default_rng(0).random((count, 48, 64), np.float32))
    config = ConvertConfig(depth_file=tmp_path / "depth.npy", allow_incomplete=True)
    assert 0 < convert(path, tmp_path / "out.mp4", config) < count


@pytest.mark.parametrize(
    "content",
    [
        b"\0\0\0\x08ftyp" + b"\0\0\0\x08free" * 400_000,
        b"RIFF\xff\xff\xff\x7fAVI " + b"JUNK\0\0\0\0" * 400_000,
        b"DKIF\0\0\x20\0" + bytes(24) + bytes(12) * 400_000,
        b"\x1a\x45\xdf\xa3\x80" + b"\x18\x53\x80\x67\x01" + b"\xff" * 7 + b"\xec\x80" * 400_000,
        b"GIF89a" + bytes(7) + b"!\xfe" + b"\x01A" * 400_000,
    ],
)
def test_millions_of_empty_parts_are_not_counted(tmp_path, content):
    (tmp_path / "bomb").write_bytes(content)
    assert is_whole(tmp_path / "bomb") is None
