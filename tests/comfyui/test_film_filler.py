"""A film through SpatialDreamer in Video to Stereo 3D, with tiny networks of random weights."""

from __future__ import annotations

import re

import numpy as np
import pytest

from .clips import read_video, write_clip
from .server import ExecutionFailed, ExecutionInterrupted, RequestRefused, output_videos
from .test_interrupt_and_errors import convert_prompt

REFINED = "RefinerNet encodes frames"  # in the log, once a window


def film_prompt(file: str, **options) -> dict:
    prompt = convert_prompt(file, filename_prefix="filled/film", divergence=8.0, depth="builtin")
    (convert,) = (node for node in prompt.values() if node["class_type"] == "SpatialDreamerConvertVideo")
    convert["inputs"]["filler"] = ["filler", 0]
    model = {"checkpoint": "svd_xt.safetensors", "weights": "none (untrained)"}
    options = {"deviation": 1.0, "steps": 1, "seed": 0, "window": 3, "overlap": 1, "max_side": 96} | options
    return prompt | {
        "model": {"class_type": "SpatialDreamerModelLoader", "inputs": model},
        "filler": {
            "class_type": "SpatialDreamerFiller",
            "inputs": {"model": ["model", 0], "strength": 0.4} | options,
        },
    }


def test_a_film_is_filled_window_by_window(comfy_server, svd_checkpoint, tmp_path):
    file = comfy_server.upload(write_clip(tmp_path / "filled.mp4", frames=5, width=96, height=64))
    windows = comfy_server.log().count(REFINED)
    (video,) = output_videos(comfy_server.run(film_prompt(file)))
    assert comfy_server.log().count(REFINED) == windows + 2
    prompt = film_prompt(file)
    del prompt["filler"], prompt["model"]
    (node,) = (node for node in prompt.values() if node["class_type"] == "SpatialDreamerConvertVideo")
    del node["inputs"]["filler"]
    (fast,) = output_videos(comfy_server.run(prompt))
    filled, expected = (read_video(comfy_server.fetch(result, tmp_path))[0] for result in (video, fast))
    assert filled.shape == expected.shape == (5, 64, 192, 3)
    difference = np.abs(filled.astype(int) - expected)
    assert difference[:, :, :96].mean() < 1, "the source's half"
    assert difference[:, :, 96:].max() > 40


def test_an_interrupt_ends_it_and_leaves_nothing(comfy_server, svd_checkpoint, tmp_path):
    file = comfy_server.upload(write_clip(tmp_path / "stopped.mp4", frames=5, width=96, height=64))
    prompt_id = comfy_server.queue(film_prompt(file, steps=200, seed=1))
    comfy_server.wait_until_running(prompt_id)
    comfy_server.interrupt()
    with pytest.raises(ExecutionInterrupted):
        comfy_server.wait(prompt_id)
    assert not [path for path in (comfy_server.base / "output").rglob("*") if "partial" in path.name]


@pytest.mark.parametrize(
    ("deed", "said"),
    [
        ("lose", "a filler must return every frame, but OthersFiller kept 3 at the end of a scene"),
        ("cut", "of the view's size, (3, 64, 96), but OthersFiller returned (3, 63, 96)"),
        ("spoil", "a filler must leave known pixels as they are"),
        ("fail", "OthersFiller failed at its frame 3: RuntimeError: it broke; mend it or use another filler"),
        ("class", "filler must be an object, got the class OthersFiller"),
    ],
)
def test_another_packs_filler_that_breaks_the_contract_is_told(comfy_server, tmp_path, deed, said):
    file = comfy_server.upload(write_clip(tmp_path / "others.mp4", frames=5, width=96, height=64))
    prompt = convert_prompt(file, filename_prefix="others/film", filler=["3", 0])
    prompt["3"] = {"class_type": "TestsMakeFiller", "inputs": {"deed": deed}}
    with pytest.raises(ExecutionFailed, match=re.escape(said)):
        comfy_server.run(prompt)
    assert not [path for path in (comfy_server.base / "output" / "others").rglob("*") if path.is_file()]
    prompt["3"]["inputs"]["deed"] = "fill"
    (video,) = output_videos(comfy_server.run(prompt))
    comfy_server.fetch(video, tmp_path)
    (comfy_server.base / "output" / "others" / video["filename"]).unlink()


def test_what_cannot_run_is_refused_when_it_is_queued(comfy_server, svd_checkpoint, uploaded_clip):
    with pytest.raises(RequestRefused, match="overlap must be between 0 and window - 1"):
        comfy_server.queue(film_prompt(uploaded_clip, overlap=3))
    with pytest.raises(RequestRefused, match="max_side"):
        comfy_server.queue(film_prompt(uploaded_clip, max_side=9))
