"""Frames and sound in memory, written to a file: sizes, rates, formats, and sound of every kind."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.pipeline import ConvertConfig
from spatialdreamer_core.video import Sound, write_clip
from spatialdreamer_core.video.clip_file import exact_rate


def ramp(frames=4, height=32, width=64):
    """Frames of grey, each brighter than the one before."""
    levels = torch.linspace(0.2, 0.8, frames)
    return levels[:, None, None, None].expand(frames, 3, height, width)


def tone(seconds, *, channels=2, rate=44100):
    time = torch.arange(round(seconds * rate)) / rate
    return Sound(torch.stack([torch.sin(2 * torch.pi * 440 * time) / 2] * channels), rate)


def read(path):
    """Return a file's frames, and its sound with its rate, None without."""
    with av.open(str(path)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return frames, None, None
        stream = container.streams.audio[0]
        packed = av.AudioResampler(format="flt")  # PyAV cannot read 8 planes
        frames_of_sound = [part for frame in container.decode(stream) for part in packed.resample(frame)]
        sound = np.concatenate([frame.to_ndarray()[0] for frame in frames_of_sound])
        return frames, sound.reshape(-1, stream.channels).T, stream.rate


@pytest.mark.parametrize(
    ("format", "size", "aspect"),
    [("full_sbs", (64, 32), 1), ("half_sbs", (64, 32), 2), ("half_tb", (64, 32), Fraction(1, 2))],
)
def test_frames_come_back_with_the_formats_pixels(tmp_path, format, size, aspect):
    done = []
    path = write_clip(
        ramp(), tmp_path / "clip.mp4", frame_rate=24, format=format, crf=4, on_frame=done.append
    )
    frames, sound, _ = read(path)
    assert frames.shape == (4, size[1], size[0], 3)
    assert np.abs(frames.mean((1, 2, 3)) / 255 - [0.2, 0.4, 0.6, 0.8]).max() < 0.01
    assert sound is None
    assert done == [1, 2, 3, 4]
    with av.open(str(path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == aspect
        assert container.streams.video[0].average_rate == 24


@pytest.mark.parametrize(("height", "width"), [(31, 64), (33, 62), (1, 2)])
def test_odd_sizes_and_a_single_frame(tmp_path, height, width):
    frames, _, _ = read(write_clip(ramp(1, height, width), tmp_path / "one.mp4", frame_rate=1.0))
    assert frames.shape == (1, height + height % 2, width + width % 2, 3)


@pytest.mark.parametrize(
    ("frame_rate", "exact"),
    [
        (23.976, Fraction(24000, 1001)),
        (23.98, Fraction(24000, 1001)),
        (30000 / 1001, Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (24.0, Fraction(24)),
        (12.5, Fraction(25, 2)),
        (0.01, Fraction(1, 100)),
        (1000, Fraction(1000)),
    ],
)
def test_a_rounded_frame_rate_stands_for_the_exact_one(tmp_path, frame_rate, exact):
    assert exact_rate(frame_rate) == exact
    path = write_clip(ramp(3), tmp_path / "clip.mp4", frame_rate=frame_rate)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = [frame.pts * stream.time_base for frame in container.decode(video=0)]
        assert [float(time * exact) for time in times] == pytest.approx([0, 1, 2], abs=0.01)
        assert float(container.duration / av.time_base * exact) == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize("channels", range(1, 9))
def test_sound_of_1_to_8_channels(tmp_path, channels):
    sound = tone(0.5, channels=channels)
    sound.waveform[1:] *= 0.5  # the first channel is the loudest
    path = write_clip(ramp(12), tmp_path / "clip.mp4", frame_rate=24, sound=sound)
    _, samples, rate = read(path)
    assert rate == 44100
    assert samples.shape[1] / rate == pytest.approx(0.5, abs=0.05)
    loud = np.sqrt((samples[:, 4096:-4096] ** 2).mean(1))
    assert len(loud) == channels
    assert loud[0] == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    low_frequency = {6: 3, 7: 3, 8: 3}.get(channels)  # the channel for bass has no 440 Hz
    others = [value for index, value in enumerate(loud) if index not in (0, low_frequency)]
    assert others == pytest.approx([0.25 / np.sqrt(2)] * len(others), rel=0.1)


@pytest.mark.parametrize(("seconds", "kept"), [(2.0, 0.5), (0.2, 0.2)])
def test_sound_longer_or_shorter_than_the_frames(tmp_path, seconds, kept):
    path = write_clip(ramp(12), tmp_path / "clip.mp4", frame_rate=24, sound=tone(seconds))
    frames, samples, rate = read(path)
    assert len(frames) == 12
    assert samples.shape[1] / rate == pytest.approx(kept, abs=0.05)


@pytest.mark.parametrize(("rate", "written"), [(8000, 8000), (12345, 16000), (96000, 96000), (192000, 48000)])
def test_sound_of_any_rate(tmp_path, rate, written):
    path = write_clip(ramp(12), tmp_path / "clip.mp4", frame_rate=24, sound=tone(0.5, rate=rate))
    _, samples, got = read(path)
    assert got == written
    assert samples.shape[1] / got == pytest.approx(0.5, abs=0.3 if rate < 10_000 else 0.1)
    crossings = (np.diff(np.signbit(samples[0, got // 10 : got * 4 // 10])) != 0).sum()
    assert crossings / 2 / 0.3 == pytest.approx(440, rel=0.02)


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.uint8, torch.float16, torch.float64])
def test_sound_of_other_types(tmp_path, dtype):
    sound = tone(0.5)
    scaled = {torch.int16: 2**15, torch.int32: 2**31, torch.uint8: 128}.get(dtype, 1)
    waveform = sound.waveform.double() * scaled + (128 if dtype == torch.uint8 else 0)
    path = write_clip(
        ramp(12), tmp_path / "clip.mp4", frame_rate=24, sound=Sound(waveform.to(dtype), sound.sample_rate)
    )
    assert np.sqrt((read(path)[1][:, 4096:-4096] ** 2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_empty_sound_is_none_and_loud_sound_is_cut(tmp_path):
    path = write_clip(ramp(12), tmp_path / "empty.mp4", frame_rate=24, sound=Sound(torch.zeros(2, 0), 44100))
    assert read(path)[1] is None
    loud = Sound(tone(0.5).waveform * 50, 44100)
    path = write_clip(ramp(12), tmp_path / "loud.mp4", frame_rate=24, sound=loud)
    assert np.abs(read(path)[1]).max() < 1.5


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"frame_rate": 0}, r"fps must be between 0.01 and 1000 \(frames per second\), got 0"),
        ({"frame_rate": float("nan")}, "fps must be between"),
        ({"frame_rate": "24"}, "fps must be a number"),
        ({"format": "full_sbs", "width": 63}, "`images` must be two views side by side .* even width"),
        ({"format": "half_tb", "height": 33}, "one above the other .* even height, got 64x33; pack"),
        ({"format": "triple"}, "format must be one of"),
        ({"codec": "x264"}, "codec must be one of"),
        ({"crf": 52}, "crf must be between"),
        ({"sound": Sound(torch.zeros(9, 100), 44100)}, "audio must be a waveform of 1 to 8 channels"),
        ({"sound": Sound(torch.zeros(1, 2, 100), 44100)}, "audio must be a waveform .* mix it down"),
        ({"sound": Sound(torch.full((1, 100), float("nan")), 44100)}, "`audio` must be finite"),
        ({"sound": Sound(torch.zeros(1, 100), 0)}, "audio must have a sample rate of 1 to"),
        ({"sound": Sound(torch.zeros(1, 100), float("nan"))}, "audio must have a sample rate"),
        ({"sound": Sound(torch.zeros(1, 100, dtype=torch.bool), 44100)}, "audio must hold samples"),
    ],
)
def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path, settings, said):
    settings = {"frame_rate": 24} | settings
    frames = ramp(2, settings.pop("height", 32), settings.pop("width", 64))
    with pytest.raises(InputError, match=said):
        write_clip(frames, tmp_path / "clip.mp4", **settings)
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_nothing_and_an_existing_file_stays(tmp_path):
    def interrupt(done):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_clip(ramp(), tmp_path / "clip.mp4", frame_rate=24, sound=tone(1), on_frame=interrupt)
    assert list(tmp_path.iterdir()) == []
    path = write_clip(ramp(), tmp_path / "clip.mp4", frame_rate=24)
    content = path.read_bytes()
    with pytest.raises(InputError, match="must be a new file"):
        write_clip(ramp(2), path, frame_rate=24)
    assert path.read_bytes() == content


def test_the_encoder_is_that_of_films(tmp_path):
    path = write_clip(ramp(1, 16, 4112), tmp_path / "wide.mp4", frame_rate=24, preset="ultrafast")
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context.name
    assert codec == {"libx265": "hevc"}[ConvertConfig().encoder(4112, 16)]
