"""A small film of three scenes, and what tests of films ask of one."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from spatialdreamer_core.pipeline import ConvertConfig
from spatialdreamer_core.pipeline.film.plan import SegmentRule

from ...small_videos import write_tone

SIZE = (64, 48)
SCENES = (7, 9, 8)  # frames
TIMES = np.cumsum([0] + [1 + index % 3 for index in range(sum(SCENES) - 1)]).tolist()
KEPT = ConvertConfig(depth="builtin", resume="on", crf=0)  # lossless
EACH = SegmentRule(least=1, most=100, run_in=0)  # a segment a scene


class Killed(BaseException):
    """What ends a process at once."""


def picture(index):
    scene = sum(index >= sum(SCENES[: number + 1]) for number in range(len(SCENES)))
    rng = np.random.default_rng(scene)
    low = (20, 150, 80)[scene]
    wall = cv2.resize(rng.integers(low, low + 60, (6, 8, 3), np.uint8), SIZE)
    left = 4 + index % 16
    wall[12:40, left : left + 16] = ((230, 210, 60), (20, 40, 200), (250, 250, 250))[scene]
    return av.VideoFrame.from_ndarray(wall)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Three scenes with sound, whose frames do not last alike."""
    path, time_base = tmp_path_factory.mktemp("film") / "clip.mp4", Fraction(1, 50)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height = SIZE
        stream.codec_context.time_base = time_base
        sound = container.add_stream("aac", rate=48000)
        for index, pts in enumerate(TIMES):
            frame = picture(index)
            frame.pts, frame.time_base = pts, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        write_tone(container, sound, seconds=TIMES[-1] / 50, delay=0.0)
    return path


def shown(path):
    """List the frames of a film with their times, and its packets of sound."""
    with av.open(str(path)) as container:
        frames = [
            (frame.pts * frame.time_base, frame.to_ndarray(format="rgb24").tobytes())
            for frame in container.decode(video=0)
        ]
    with av.open(str(path)) as container:
        sound = [(p.pts, bytes(p)) for p in container.demux(audio=0) if p.size]
    return frames, sound


def kill_at(frame):
    def on_progress(done, total, packed):
        if done == frame:
            raise Killed

    return on_progress


def parts(folder):
    return folder / "out.mp4.parts"
