"""Video to Stereo 3D in a running ComfyUI: its settings, and what it hands on."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from .clips import psnr, read_video, write_clip
from .server import ExecutionFailed, RequestRefused, output_videos
from .test_interrupt_and_errors import convert_prompt

WIDTH, HEIGHT = 160, 96


@pytest.fixture(scope="module")
def short_file(tmp_path_factory):
    """A clip of half a second."""
    folder = tmp_path_factory.mktemp("short")
    return write_clip(folder / "half.mp4", frames=12, width=WIDTH, height=HEIGHT)


@pytest.fixture(scope="module")
def short(comfy_server, short_file):
    """Its name as an upload."""
    return comfy_server.upload(short_file)


def test_codec_part_flow_border_and_the_path_of_the_file(comfy_server, short, tmp_path):
    settings = {"codec": "libx265", "start": 0.125, "end": 0.375, "flow": "dis_medium"}
    settings |= {"border": "ease", "border_width": 10.0, "filename_prefix": "part/film"}
    prompt = convert_prompt(short, **settings)
    prompt["3"] = {"class_type": "PreviewAny", "inputs": {"source": ["2", 1]}}
    outputs = comfy_server.run(prompt)
    (path,) = outputs["3"]["text"]
    (video,) = output_videos({"2": outputs["2"]})
    shown = outputs["2"]["images"]
    assert [file["type"] for file in shown] == ["temp", "output"], "a preview, since HEVC shows nothing"
    preview, _ = read_video(comfy_server.fetch(shown[0], tmp_path))
    assert preview.shape == (6, HEIGHT, 2 * WIDTH, 3)
    (text,) = outputs["2"]["text"]
    assert text.splitlines()[0] == f"saved as part/{video['filename']}"
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
        ({"format": "wiggle"}, "format must be one for videos, got wiggle, which shows the views of a photo"),
        ({"format": "vr180", "pad": "16:9"}, "pad must be none with the format vr180"),
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


def left_views(server, prompt: dict):
    """Run a conversion and return the frames' left halves and the seconds of sound."""
    (video,) = output_videos(server.run(prompt))
    frames, sound = read_video(server.base / "output" / video["subfolder"] / video["filename"])
    assert not list((server.base / "temp").rglob("spatialdreamer_*")), "a temporary file was left"
    return frames[:, :, : frames.shape[2] // 2], sound


def edited_prompt(file: str, edit: dict, **inputs) -> dict:
    prompt = convert_prompt(file, video=["3", 0], crf=4, filename_prefix="edited/film", **inputs)
    edit = {"video": ["1", 0], "start": 0.0, "duration": 0.0, "flipped": False} | edit
    prompt["3"] = {"class_type": "TestsEditVideo", "inputs": edit}
    return prompt


@pytest.mark.parametrize(
    ("edit", "inputs", "kept"),
    [
        ({"start": 0.125, "duration": 0.25}, {}, slice(3, 9)),
        ({"start": 0.25}, {}, slice(6, 12)),
        ({"duration": 0.25, "flipped": True}, {}, slice(0, 6)),
        ({"start": 0.125, "duration": 0.25}, {"start": 0.125, "end": 9.0}, slice(6, 9)),
    ],
)
def test_edits_that_are_not_saved_yet_are_honoured(comfy_server, short, short_file, edit, inputs, kept):
    frames, sound = left_views(comfy_server, edited_prompt(short, edit, **inputs))
    source = read_video(short_file)[0][kept]
    if edit.get("flipped"):
        source = source[:, ::-1]
    assert len(frames) == len(source)
    assert psnr(frames, source) > 25
    assert sound == pytest.approx(len(source) / 24, abs=0.06)


def test_a_start_behind_the_trimmed_part_is_told(comfy_server, short):
    with pytest.raises(ExecutionFailed, match=r"start must be less than the trimmed video's duration \(0.25"):
        comfy_server.run(edited_prompt(short, {"duration": 0.25}, start=0.3))


def test_a_preview_that_fails_costs_nothing(comfy_server, short):
    prompt = convert_prompt(short, codec="libx265", filename_prefix="kept/film")
    temp = comfy_server.base / "temp"
    shutil.rmtree(temp, ignore_errors=True)
    temp.write_text("in the way of a folder")
    try:
        outputs = comfy_server.run(prompt)
    finally:
        temp.unlink()
    assert [file["type"] for file in outputs["2"]["images"]] == ["output"]
    assert "no preview of" in comfy_server.log()


@pytest.mark.parametrize("as_bytes", [False, True])
def test_videos_in_memory(comfy_server, short, short_file, as_bytes):
    prompt = convert_prompt(short, video=["3", 0], crf=4, filename_prefix="memory/film")
    memory = {"video": ["1", 0], "as_bytes": as_bytes}
    prompt["3"] = {"class_type": "TestsVideoInMemory", "inputs": memory}
    frames, sound = left_views(comfy_server, prompt)
    source = read_video(short_file)[0]
    assert frames.shape == source.shape, "an odd size is padded"
    assert psnr(frames[:, :-1, :-1], source[:, :-1, :-1]) > 28
    assert sound == pytest.approx(0.5, abs=0.06)
    (file,) = (comfy_server.base / "output" / "memory").glob(f"film_0000{1 + as_bytes}_*")
    with av.open(str(file)) as container:
        assert container.streams.audio[0].channels == (2 if as_bytes else 6)


def test_depth_of_the_trimmed_part_belongs_to_it(comfy_server, short, tmp_path):
    with av.open(str(tmp_path / "depth.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "gray"
        for index in range(12):
            ramp = np.tile(np.arange(WIDTH, dtype=np.uint8) + 4 * index, (HEIGHT, 1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(ramp, format="gray")))
        container.mux(stream.encode())
    edit = {"start": 0.125, "duration": 0.25}
    prompt = edited_prompt(short, edit, depth_video=["5", 0])
    depth = comfy_server.upload(tmp_path / "depth.mkv")
    prompt["4"] = {"class_type": "LoadVideo", "inputs": {"file": depth}}
    prompt["5"] = {"class_type": "TestsEditVideo", "inputs": prompt["3"]["inputs"] | {"video": ["4", 0]}}
    assert len(left_views(comfy_server, prompt)[0]) == 6
    prompt["2"]["inputs"]["depth_video"] = ["4", 0]
    with pytest.raises(ExecutionFailed, match="as many frames as the input"):
        comfy_server.run(prompt)


def test_the_demo_clip_runs_on_a_fresh_install(comfy_server):
    prompt = convert_prompt("none.mp4", end=0.1, filename_prefix="demo/film")
    prompt["1"] = {"class_type": "SpatialDreamerLoadDemoClip", "inputs": {}}
    frames, sound = left_views(comfy_server, prompt)
    assert frames.shape == (3, 720, 1280, 3)
    assert sound > 0.05


def test_a_stereo_pair_as_input_is_told(comfy_server, short, short_file, tmp_path):
    shutil.copyfile(short_file, tmp_path / "film_LR.mp4")
    named = convert_prompt(
        comfy_server.upload(tmp_path / "film_LR.mp4"), end=0.1, filename_prefix="pair/film"
    )
    outputs = comfy_server.run(named)
    warning, saved, _ = outputs["2"]["text"][0].splitlines()  # below: which depth ran
    assert warning.startswith("film_LR.mp4 is named like a stereo pair")
    assert saved.startswith("saved as pair/")
    (video,) = output_videos(outputs)
    shutil.copyfile(comfy_server.base / "output" / "pair" / video["filename"], tmp_path / "renamed.mp4")
    with pytest.raises(ExecutionFailed, match=r"input must have one view, got .*renamed.mp4, whose tag says"):
        comfy_server.run(convert_prompt(comfy_server.upload(tmp_path / "renamed.mp4")))
