"""Small test videos: written with known content, read back for comparison."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 44100


def write_clip(
    path: Path,
    frames: int = 30,
    width: int = 320,
    height: int = 180,
    fps: int = 24,
    cut: int | None = None,
) -> Path:
    """Write an H.264 clip with AAC sound: a textured square moves over a textured background.

    From the frame `cut` on, if it is given, another scene is seen: the negative.
    """
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (height // 12 + 1, width // 12 + 1, 3), dtype=np.uint8)
    background = coarse.repeat(12, 0).repeat(12, 1)[:height, :width]
    square = (
        random.integers(0, 256, (height // 24, height // 24, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    )
    size = len(square)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps, options={"crf": "12", "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = container.add_stream("aac", rate=RATE, layout="stereo")
        for index in range(frames):
            image = background.copy()
            left = (width // 8 + 3 * index) % (width - size)
            image[height // 3 : height // 3 + size, left : left + size] = square
            if cut is not None and index >= cut:
                image = 255 - image
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode())
        time = np.arange(RATE * frames // fps) / RATE
        tone = np.stack([np.sin(2 * np.pi * 440 * time)] * 2).astype(np.float32) / 4
        for start in range(0, tone.shape[1], 1024):
            sound = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(tone[:, start : start + 1024]), format="fltp", layout="stereo"
            )
            sound.sample_rate, sound.pts, sound.time_base = RATE, start, Fraction(1, RATE)
            container.mux(audio.encode(sound))
        container.mux(audio.encode())
    return path


def read_video(path: Path) -> tuple[np.ndarray, float]:
    """Return a video's frames [F, H, W, 3] as uint8 and the seconds of sound beside them."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        sound = container.streams.audio
        samples = sum(frame.samples for frame in container.decode(audio=0)) if sound else 0
        return np.stack(frames), samples / (sound[0].rate if sound else 1)


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of two uint8 arrays in dB."""
    error = np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
