"""Whole films in a running ComfyUI: settings for scenes, parts that are kept, and batches."""

from __future__ import annotations

import json
import re
import shutil
import time

import numpy as np
import pytest

from .clips import read_video, write_clip
from .server import ExecutionFailed, ExecutionInterrupted, RequestRefused, output_videos
from .test_interrupt_and_errors import convert_prompt

SIZE = {"width": 96, "height": 64}


@pytest.fixture(scope="module")
def clip(comfy_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("film")
    return comfy_server.upload(write_clip(folder / "film.mp4", frames=12, **SIZE))


def film_prompt(file, sidecar, **settings):
    prompt = convert_prompt(file, film=["3", 0], filename_prefix="film/film", crf=0)
    inputs = {"sidecar": sidecar, "resume": "on", **settings}
    prompt["3"] = {"class_type": "SpatialDreamerFilmSettings", "inputs": inputs}
    return prompt


def batch_prompt(folder, **inputs):
    settings = {"format": "half_sbs", "divergence": 2.5, "convergence": 0.5, "eye": "right"}
    settings |= {"depth": "builtin", "crf": 18, "folder": folder, "output_folder": "batch"}
    return {"1": {"class_type": "SpatialDreamerBatchConvert", "inputs": settings | inputs}}


def test_a_sidecar_says_what_each_scene_is_like(comfy_server, clip):
    frames = {}
    for name, sidecar in (("plain", ""), ("flat", "start,end,divergence\n0.25,9,0\n")):
        (video,) = output_videos(comfy_server.run(film_prompt(clip, sidecar)))
        frames[name], _ = read_video(comfy_server.base / "output" / "film" / video["filename"])
    width = SIZE["width"]
    same = [np.array_equal(frame[:, :width], frame[:, width:]) for frame in frames["flat"]]
    assert same == [False] * 6 + [True] * 6
    assert np.array_equal(frames["plain"][:, :, :width], frames["flat"][:, :, :width])
    assert not list((comfy_server.base / "temp").rglob("spatialdreamer_*"))


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"sidecar": "scene,strength\n1,2\n"}, "columns must be some of scene"),
        ({"sidecar": "../secret.csv"}, "sidecar must be a file in ComfyUI's input folder"),
        ({"sidecar": "", "resume": "maybe"}, "resume must be one of auto, on, off"),
    ],
)
def test_film_settings_that_cannot_be_are_refused_when_queued(comfy_server, clip, inputs, said):
    with pytest.raises(RequestRefused, match=re.escape(said)):
        comfy_server.queue(film_prompt(clip, **inputs))


def test_a_scene_that_the_film_has_not_is_told(comfy_server, clip):
    with pytest.raises(ExecutionFailed, match="line 2: scene must be 1 to 1"):
        comfy_server.run(film_prompt(clip, "scene,divergence\n7,1\n"))


def test_a_batch_goes_on_where_it_was_interrupted(comfy_server, tmp_path):
    folder = comfy_server.base / "input" / "films"
    folder.mkdir(parents=True)
    write_clip(folder / "a.mp4", frames=6, **SIZE)
    write_clip(folder / "b.mp4", frames=200, width=640, height=360)
    (folder / "c.mp4").write_bytes(b"This is no video.")
    results = comfy_server.base / "output" / "batch"
    first, second = results / "a_LR.mp4", results / "b_LR.mp4"
    prompt_id = comfy_server.queue(batch_prompt("films"))
    end = time.monotonic() + 60
    while not first.exists() or not list(results.glob(".b_LR*")):  # the second is at work
        assert time.monotonic() < end
        time.sleep(0.05)
    comfy_server.interrupt()
    with pytest.raises(ExecutionInterrupted):
        comfy_server.wait(prompt_id)
    assert not second.exists()
    finished = first.stat().st_mtime_ns
    write_clip(folder / "b.mp4", frames=6, **SIZE)  # the test has not all day
    for files in (3, 4):
        (text,) = comfy_server.run(batch_prompt("films"))["1"]["text"]
        said, failure, _ = text.split("\n", 2)
        assert said == f"{files - 1} of {files} files are in batch"
        assert failure.startswith("c.mp4: input must ")
        assert first.stat().st_mtime_ns == finished
        shutil.copyfile(folder / "a.mp4", folder / "d.mp4")
    records = json.loads((results / ".spatialdreamer_batch.json").read_text())
    assert sorted(records) == ["a_LR.mp4", "b_LR.mp4", "d_LR.mp4"]
    shutil.rmtree(folder)


@pytest.mark.slow
def test_the_film_at_which_a_batch_was_interrupted_goes_on_after_what_is_finished(comfy_server):
    folder, small = comfy_server.base / "input" / "long_films", {"width": 64, "height": 48}
    folder.mkdir(parents=True)
    write_clip(folder / "a.mp4", frames=6, **small)
    (folder / "b.mp4").write_bytes(b"This is no video.")
    write_clip(folder / "c.mp4", frames=500, cut=250, **small)
    prompt = batch_prompt("long_films", output_folder="long_batch", film=["3", 0], crf=0)
    prompt["3"] = {"class_type": "SpatialDreamerFilmSettings", "inputs": {"sidecar": "", "resume": "on"}}
    results = comfy_server.base / "output" / "long_batch"
    first, second = results / "a_LR.mp4", results / "c_LR.mp4"
    parts = results / "c_LR.mp4.parts"
    prompt_id = comfy_server.queue(prompt)
    end = time.monotonic() + 300
    while not (parts / "segment-00000.json").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    comfy_server.interrupt()
    with pytest.raises(ExecutionInterrupted):
        comfy_server.wait(prompt_id)
    assert not second.exists()
    assert sorted(path.name for path in parts.iterdir()) == [
        *("manifest.json", "segment-00000.json", "segment-00000.nut")
    ]
    finished = first.stat().st_mtime_ns
    before = len(comfy_server.log())
    (text,) = comfy_server.run(prompt, 400)["1"]["text"]
    said, failure, _ = text.split("\n", 2)
    assert said == "2 of 3 files are in long_batch"
    assert failure.startswith("b.mp4: input must ")
    assert first.stat().st_mtime_ns == finished
    assert "c.mp4: going on after 250 of 500 frames" in comfy_server.log()[before:]
    assert not parts.exists()
    resumed, _ = read_video(second)
    shutil.copyfile(folder / "c.mp4", folder / "d.mp4")  # the same film without an interruption
    comfy_server.run(prompt, 400)
    whole, _ = read_video(results / "d_LR.mp4")
    assert len(whole) == 500
    assert np.array_equal(resumed, whole)
    shutil.rmtree(folder)


@pytest.mark.parametrize("folder", ["", "..", "nowhere"])
def test_a_batch_needs_a_subfolder_of_the_input_folder(comfy_server, folder):
    with pytest.raises(RequestRefused, match="folder must be a subfolder of ComfyUI's input folder"):
        comfy_server.queue(batch_prompt(folder))
