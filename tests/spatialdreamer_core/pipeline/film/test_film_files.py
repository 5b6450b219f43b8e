"""Films in segments, in each codec and kind of file, say of their views what films made in one go say."""

from __future__ import annotations

from dataclasses import replace

import av
import numpy as np
import pytest

from spatialdreamer_core.pipeline import ConvertConfig, convert
from spatialdreamer_core.pipeline.film.plan import SegmentRule
from spatialdreamer_core.video import probe
from spatialdreamer_core.video.stereo_metadata import read_stereo_boxes

from ...small_videos import write_tone

KEPT = ConvertConfig(depth="builtin", resume="on", preset="ultrafast", crf=4)
EACH = SegmentRule(least=1, most=100, run_in=0)  # a segment a scene
SCENES, SIZE = (3, 4), (64, 64)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A film of two scenes with sound."""
    path = tmp_path_factory.mktemp("film") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        sound = container.add_stream("aac", rate=48000)
        for scene, frames in enumerate(SCENES):
            low, rng = 120 * scene, np.random.default_rng(scene)
            wall = rng.integers(low, low + 80, (*SIZE[::-1], 3), np.uint8)
            for _ in range(frames):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(wall)))
        container.mux(stream.encode())
        write_tone(container, sound, seconds=sum(SCENES) / 25, delay=0.0)
    return path


def told(path):
    """Return the pictures' times, the stream's tags, its side data, the boxes, and the sound's codec."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        found = [frame.side_data.get("STEREO3D") for frame in frames[:2]]
        packing = [bytes(data) for data in found if data is not None]
        sounds = [sound.codec_context.name for sound in container.streams.audio]
        times = [frame.pts * frame.time_base for frame in frames]
        boxes = read_stereo_boxes(path) if path.suffix in (".mp4", ".mov") else {}
        return times, stream.metadata.get("stereo_mode"), packing, sounds, boxes


@pytest.mark.parametrize(
    ("codec", "suffix", "format"),
    [
        ("libx264", ".mkv", "half_tb"),
        ("libx264", ".mp4", "frame_sequential"),
        ("av1", ".webm", "full_sbs"),
        pytest.param("libx264", ".mp4", "cross_eyed", marks=pytest.mark.slow),
        pytest.param("libx265", ".mov", "half_sbs", marks=pytest.mark.slow),
        pytest.param("libx265", ".mkv", "vr180", marks=pytest.mark.slow),
        pytest.param("av1", ".mp4", "full_tb", marks=pytest.mark.slow),
        pytest.param("vp9", ".webm", "full_sbs", marks=pytest.mark.slow),
        pytest.param("prores", ".mov", "full_sbs", marks=pytest.mark.slow),
        pytest.param("ffv1", ".mkv", "row_interlaced", marks=pytest.mark.slow),
    ],
)
def test_a_joined_film_says_what_one_made_in_one_go_says(film, tmp_path, codec, suffix, format):
    config = replace(KEPT, codec=codec, format=format)
    out, once = tmp_path / f"out{suffix}", tmp_path / f"once{suffix}"
    convert(film, out, config, rule=EACH)
    convert(film, once, replace(config, resume="off"))
    assert told(out) == told(once)
    assert probe(out).stereo is not None
    assert probe(out).sample_aspect_ratio == probe(once).sample_aspect_ratio
