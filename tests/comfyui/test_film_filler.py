"""A film through SpatialDreamer in Video to Stereo 3D, with tiny networks of random weights."""

from __future__ import annotations

import re
import time

import av
import numpy as np
import pytest

from .clips import read_video, write_clip
from .server import ComfyServer, ExecutionFailed, ExecutionInterrupted, RequestRefused, output_videos
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
    (video,) = output_videos(comfy_server.run(film_prompt(file, read_reference="on")))
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
        ("class", "got the class OthersFiller; make one, such as OthersFiller(...)"),
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


def write_film(path, *scenes):
    """Write a film of some scenes, each a number and a length: a square moves before a wall of its own."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number, length in scenes:
            random = np.random.default_rng(number)
            low = (20, 90, 160)[number % 3]
            wall = random.integers(low, low + 80, (8, 12, 3), np.uint8).repeat(8, 0).repeat(8, 1)
            for index in range(length):
                picture = wall.copy()
                left = 10 + index % 50
                picture[20:60, left : left + 24] = (230, 210, 60)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    return path


def long_film_prompt(file: str, **options) -> dict:
    prompt = film_prompt(file, **{"window": 5, "overlap": 2} | options)
    (node,) = (node for node in prompt.values() if node["class_type"] == "SpatialDreamerConvertVideo")
    node["inputs"]["crf"] = 0
    return prompt


def files_of(server) -> list[str]:
    """List what conversions have written, hidden files too."""
    return [path.name for path in (server.base / "output" / "filled").rglob("*") if path.is_file()]


def stop_amid_writing(server, stop) -> None:
    """Call a function when some frames of a film have been filled."""
    deadline = time.monotonic() + 60
    while not list((server.base / "output" / "filled").rglob("*partial*")):
        assert time.monotonic() < deadline, f"the work has not begun:\n{server.log()[-2000:]}"
        time.sleep(0.1)
    time.sleep(3)
    stop()


@pytest.mark.slow
def test_of_100_frames_a_scene_that_changes_leaves_the_others_as_they_are(
    comfy_server, svd_checkpoint, tmp_path
):
    results = []
    for number, middle in enumerate((1, 4)):
        film = write_film(tmp_path / f"scenes{number}.mkv", (0, 40), (middle, 33), (2, 27))
        outputs = comfy_server.run(long_film_prompt(comfy_server.upload(film)), timeout=600)
        (video,) = output_videos(outputs)
        results.append(read_video(comfy_server.fetch(video, tmp_path))[0])
    assert len(results[0]) == 100
    parts = (slice(40), slice(40, 73), slice(73, None))
    assert [np.array_equal(*(result[part] for result in results)) for part in parts] == [True, False, True]


@pytest.mark.slow
def test_an_interrupt_amid_a_film_leaves_nothing(comfy_server, svd_checkpoint, tmp_path):
    before = files_of(comfy_server)
    film = write_film(tmp_path / "stopped.mkv", (0, 40), (1, 40), (2, 20))
    prompt_id = comfy_server.queue(long_film_prompt(comfy_server.upload(film), seed=2))
    stop_amid_writing(comfy_server, comfy_server.interrupt)
    started = time.monotonic()
    with pytest.raises(ExecutionInterrupted):
        comfy_server.wait(prompt_id)
    assert time.monotonic() - started < 10
    assert files_of(comfy_server) == before


@pytest.mark.slow
def test_a_film_of_any_length_takes_the_memory_of_a_window(comfy_server, svd_checkpoint, tmp_path):
    peaks = []
    for length in (20, 100, 300):  # the first run also brings what stays in memory
        film = write_film(
            tmp_path / f"{length}.mkv", (0, length * 2 // 5), (1, length * 2 // 5), (2, length // 5)
        )
        file = comfy_server.upload(film)
        prompt_id = comfy_server.queue(long_film_prompt(file, seed=3 + len(peaks)))
        peak = max(comfy_server.watch_memory(prompt_id))
        (video,) = output_videos(comfy_server.wait(prompt_id))
        assert len(read_video(comfy_server.fetch(video, tmp_path))[0]) == length
        peaks.append(peak)
    print("largest memory in MiB at 20, 100 and 300 frames:", peaks)
    assert peaks[2] < 1.05 * peaks[1]


@pytest.mark.slow
def test_a_server_that_is_killed_amid_a_film_leaves_nothing_half_written(comfyui, tiny_svd, tmp_path):
    checkpoints = tmp_path / "base" / "models" / "checkpoints"
    checkpoints.mkdir(parents=True)
    tiny_svd.save_checkpoint(checkpoints / "svd_xt.safetensors")
    with ComfyServer(tmp_path / "base") as server:
        film = write_film(tmp_path / "killed.mkv", (0, 40), (1, 40), (2, 20))
        server.queue(long_film_prompt(server.upload(film)))
        stop_amid_writing(server, server.process.kill)
        server.process.wait(30)
    assert not [name for name in files_of(server) if name.endswith(".mp4") and "partial" not in name]


def test_what_cannot_run_is_refused_when_it_is_queued(comfy_server, svd_checkpoint, uploaded_clip):
    with pytest.raises(RequestRefused, match="overlap must be between 0 and window - 1"):
        comfy_server.queue(film_prompt(uploaded_clip, overlap=3))
    with pytest.raises(RequestRefused, match="max_side"):
        comfy_server.queue(film_prompt(uploaded_clip, max_side=9))
