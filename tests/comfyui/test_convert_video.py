"""Video to Stereo 3D in a running ComfyUI: its settings, and what it hands on."""

from __future__ import annotations

import re
from pathlib import Path

import av
import pytest

from .clips import read_video, write_clip
from .server import RequestRefused, output_videos
from .test_interrupt_and_errors import convert_prompt

WIDTH, HEIGHT = 160, 96


@pytest.fixture(scope="module")
def short(comfy_server, tmp_path_factory):
    """Name of an uploaded clip of half a second."""
    folder = tmp_path_factory.mktemp("short")
    return comfy_server.upload(write_clip(folder / "half.mp4", frames=12, width=WIDTH, height=HEIGHT))


def test_codec_part_flow_border_and_the_path_of_the_file(comfy_server, short, tmp_path):
    settings = {"codec": "libx265", "start": 0.125, "end": 0.375, "flow": "dis_medium"}
    settings |= {"border": "ease", "border_width": 10.0, "filename_prefix": "part/film"}
    prompt = convert_prompt(short, **settings)
    prompt["3"] = {"class_type": "PreviewAny", "inputs": {"source": ["2", 1]}}
    outputs = comfy_server.run(prompt)
    (path,) = outputs["3"]["text"]
    (video,) = output_videos({"2": outputs["2"]})
    assert Path(path) == comfy_server.base / "output" / "part" / video["filename"]
    frames, sound = read_video(Path(path))
    assert frames.shape == (6, HEIGHT, 2 * WIDTH, 3)
    assert sound == pytest.approx(0.25, abs=0.05)
    with av.open(path) as container:
        assert container.streams.video[0].codec_context.name == "hevc"


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"format": "triple"}, "format must be one of full_sbs"),
        ({"eye": "third"}, "eye must be one of right, left, both"),
        ({"depth": "guess"}, "depth must be one of builtin"),
        ({"border": "wall"}, "border must be one of none"),
        ({"codec": "h265"}, "codec must be one of auto, libx264, libx265"),
        ({"flow": "none"}, "flow must be one of dis_ultrafast, dis_fast"),
        ({"depth_kind": ""}, "depth_kind must be one of inverse"),
        ({"start": 2.0, "end": 1.0}, "end must be later than start (2 s), got 1 s"),
        ({"end": -1.0}, "end must be between 0 and"),
        ({"border_width": 26.0}, "border_width must be between 0 and 25"),
        ({"edge_width": -2}, "edge_width must be between 0 and 20"),
        ({"crf": 52}, "crf must be between 0 and 51"),
        ({"video": "film.mp4"}, "video must come from another node, got 'film.mp4'; connect Load Video"),
    ],
)
def test_settings_that_cannot_run_are_refused_when_queued(comfy_server, short, inputs, said):
    with pytest.raises(RequestRefused, match=re.escape(said)):
        comfy_server.queue(convert_prompt(short, **inputs))
