"""Small videos for the tests, written with PyAV itself rather than with the code under test."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

MATRICES = {
    "quarter": (0, 65536, 0, -65536, 0, 0),
    "half": (-65536, 0, 0, 0, -65536, 0),
    "three quarters": (0, -65536, 0, 65536, 0, 0),
    "mirrored": (-65536, 0, 0, 0, 65536, 0),
}


@pytest.fixture
def make_video(tmp_path):
    """Return a function that writes a video and returns its path."""

    def make(
        name="clip.mp4",
        *,
        frames=20,
        size=(96, 64),
        pts=None,
        time_base=Fraction(1, 25),
        rate=25,
        codec="libx264",
        pixel_format="yuv420p",
        options=None,
        audio=(),
        audio_seconds=None,
        audio_delay=0.0,
        picture=None,
        matrix=None,
        color_range=None,
        aspect=None,
        last_duration=None,
    ):
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate, options=options or {})
            context = stream.codec_context
            context.width, context.height = size
            context.pix_fmt, context.time_base = pixel_format, time_base
            if matrix is not None:
                context.colorspace = matrix
            if color_range is not None:
                context.color_range = color_range
            if aspect is not None:
                context.sample_aspect_ratio = aspect
            tracks = [container.add_stream(name, rate=48000) for name in audio]
            container.start_encoding()
            for index in range(frames):
                frame = picture(index) if picture else av.VideoFrame.from_ndarray(numbered(index, size))
                frame.pts = index if pts is None else pts[index]
                frame.time_base = time_base
                container.mux(stream.encode(frame))
            rest = stream.encode()
            if last_duration is not None:
                rest[-1].duration = last_duration
            container.mux(rest)
            seconds = frames / rate if audio_seconds is None else audio_seconds
            for track in tracks:
                write_tone(container, track, seconds=seconds, delay=audio_delay)
        return path

    return make


def numbered(index, size=(96, 64)):
    """Draw a frame whose brightness is its number, 10 levels apart."""
    return np.full((size[1], size[0], 3), 10 + 10 * (index % 24), np.uint8)


def number_of(image):
    """Read a frame's number from its brightness."""
    return round((float(image.mean()) - 10) / 10)


def write_tone(container, track, *, seconds, delay):
    """Encode noise, whose packets all differ."""
    context = track.codec_context
    context.open(strict=False)
    length = context.frame_size or 1024
    rng = np.random.default_rng(len(context.name))
    for start in range(0, int(seconds * 48000), length):
        samples = (rng.normal(size=(2, length)) * 0.1).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
        frame.pts = start + int(delay * 48000)
        resampler = av.AudioResampler(format=context.format, layout="stereo", rate=48000)
        for converted in resampler.resample(frame):
            container.mux(track.encode(converted))
    container.mux(track.encode())


def turn(path, name):
    """Patch the display matrix in an .mp4 file's video track header."""
    data = bytearray(path.read_bytes())
    offset = data.find(b"tkhd") + 4 + 4 + 20 + 16
    assert struct.unpack(">9i", data[offset : offset + 36])[0] == 65536
    data[offset : offset + 24] = struct.pack(">6i", *MATRICES[name])
    path.write_bytes(data)
    return path


@pytest.fixture
def turned():
    """Return the function that patches the display matrix."""
    return turn


@pytest.fixture
def packets():
    """Return a function that lists the packets of a stream kind: (stream, seconds, bytes)."""

    def read(path, kind="audio"):
        with av.open(str(path)) as container:
            streams = [s for s in container.streams if s.type == kind]
            first = streams[0].index if streams else 0
            return [
                (p.stream_index - first, float(p.pts * p.time_base), bytes(p))
                for p in container.demux(*streams)
                if p.size
            ]

    return read


@pytest.fixture
def frame_number():
    """Return the function that reads a frame's number from its brightness."""
    return number_of
