"""The templates, run as prompts by a real server; the results are decoded and compared with the source."""

from __future__ import annotations

import shutil

import av
import numpy as np
import pytest

from .clips import psnr, read_video, write_clip
from .server import REPOSITORY, ExecutionInterrupted, output_videos

QUICK = REPOSITORY / "workflows" / "quick_stereo.json"
STAGES = REPOSITORY / "workflows" / "dvg_stages.json"
WIDTH, HEIGHT = 320, 180


def check_full_sbs(frames: np.ndarray, source: np.ndarray) -> None:
    """Check a full side-by-side video: the left half is the source, the right half another view of it."""
    assert frames.shape[1:] == (HEIGHT, 2 * WIDTH, 3)
    left, right = frames[:, :, :WIDTH], frames[:, :, WIDTH:]
    assert psnr(left, source) > 30
    assert 8 < psnr(right, source) < 28
    assert not (right.reshape(len(right), -1).max(1) == 0).any(), "a black frame"


def convert_node(prompt: dict) -> dict:
    return next(node for node in prompt.values() if node["class_type"] == "SpatialDreamerConvertVideo")


def test_quick_stereo(comfy_server, clip, uploaded_clip, tmp_path):
    prompt = comfy_server.api_prompt(QUICK, uploaded_clip)
    convert_node(prompt)["inputs"]["format"] = "full_sbs"
    videos = output_videos(comfy_server.run(prompt))
    assert videos
    source, seconds = read_video(clip)
    for video in videos:
        frames, sound = read_video(comfy_server.fetch(video, tmp_path))
        assert len(frames) == len(source)
        assert sound == pytest.approx(seconds, abs=0.1)
        check_full_sbs(frames, source)
        with av.open(str(comfy_server.fetch(video, tmp_path))) as container:
            assert "SpatialDreamerConvertVideo" in container.metadata["prompt"], "can be dropped onto ComfyUI"


@pytest.fixture
def empty_input(comfy_server):
    """The server's folder for uploads without any, as after an installation."""
    folder = comfy_server.base / "input"
    away = folder.rename(comfy_server.base / "input_of_other_tests")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)  # ComfyUI makes folders in it
    away.rename(folder)


@pytest.mark.usefixtures("empty_input")
def test_the_first_run_of_a_fresh_installation_starts(comfy_server):
    prompt_id = comfy_server.queue(comfy_server.api_prompt(QUICK, None))
    comfy_server.wait_until_running(prompt_id)
    comfy_server.interrupt()
    with pytest.raises(ExecutionInterrupted):
        comfy_server.wait(prompt_id)


@pytest.mark.slow
@pytest.mark.usefixtures("empty_input")
def test_the_first_run_of_a_fresh_installation_ends_in_a_video(comfy_server, tmp_path):
    prompt = comfy_server.api_prompt(QUICK, None)
    (video,) = output_videos(comfy_server.wait(comfy_server.queue(prompt), timeout=600))
    frames, sound = read_video(comfy_server.fetch(video, tmp_path))
    assert frames.shape == (132, 720, 2560, 3)
    assert sound == pytest.approx(132 / 25, abs=0.1)


def test_dvg_stages(comfy_server, clip, uploaded_clip, tmp_path):
    outputs = comfy_server.run(comfy_server.api_prompt(STAGES, uploaded_clip))
    videos = output_videos(outputs)
    assert videos
    source = read_video(clip)[0][:24]
    for video in videos:
        frames, _ = read_video(comfy_server.fetch(video, tmp_path))
        assert len(frames) == 24
        check_full_sbs(frames, source)


@pytest.mark.parametrize(
    ("format", "width", "height", "suffix"),
    [
        ("half_sbs", WIDTH, HEIGHT, "_LR.mp4"),
        ("full_tb", WIDTH, 2 * HEIGHT, "_TBF_fulltb.mp4"),
        ("half_tb", WIDTH, HEIGHT, "_TB.mp4"),
        ("cross_eyed", 2 * WIDTH, HEIGHT, "_RLF_cross.mp4"),
        ("anaglyph", WIDTH, HEIGHT, "_redcyan.mp4"),
    ],
)
def test_convert_video_in_each_format(comfy_server, uploaded_clip, tmp_path, format, width, height, suffix):
    prompt = {
        "1": {"class_type": "LoadVideo", "inputs": {"file": uploaded_clip}},
        "2": {
            "class_type": "SpatialDreamerConvertVideo",
            "inputs": {
                "video": ["1", 0],
                "format": format,
                "divergence": 2.5,
                "convergence": 0.5,
                "eye": "right",
                "depth": "builtin",
                "crf": 23,
                "filename_prefix": f"formats/{format}",
            },
        },
    }
    (video,) = output_videos(comfy_server.run(prompt))
    assert video["filename"] == f"{format}_00001{suffix}"
    assert video["subfolder"] == "formats"
    frames, sound = read_video(comfy_server.fetch(video, tmp_path))
    assert frames.shape == (30, height, width, 3)
    assert sound > 1


def test_convert_video_counts_up_and_takes_a_video_made_of_frames(comfy_server, tmp_path):
    file = comfy_server.upload(write_clip(tmp_path / "short.mp4", frames=4))
    prompt = {
        "1": {"class_type": "LoadVideo", "inputs": {"file": file}},
        "2": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}},
        "3": {
            "class_type": "CreateVideo",
            "inputs": {"images": ["2", 0], "audio": ["2", 1], "fps": ["2", 2]},
        },
        "4": {
            "class_type": "SpatialDreamerConvertVideo",
            "inputs": {
                "video": ["3", 0],
                "format": "full_sbs",
                "divergence": 2.5,
                "convergence": 0.5,
                "eye": "right",
                "depth": "builtin",
                "crf": 12,
                "filename_prefix": "counted/film",
            },
        },
    }
    names = []
    for eye in ("right", "left"):
        prompt["4"]["inputs"]["eye"] = eye
        (video,) = output_videos(comfy_server.run(prompt))
        names.append(video["filename"])
        frames, sound = read_video(comfy_server.fetch(video, tmp_path))
        assert frames.shape == (4, HEIGHT, 2 * WIDTH, 3)
        assert sound > 0.1
    assert names == ["film_00001_LRF_Full_SBS.mp4", "film_00002_LRF_Full_SBS.mp4"]
    assert not list((comfy_server.base / "temp").rglob("spatialdreamer_*")), "a temporary file was left"
