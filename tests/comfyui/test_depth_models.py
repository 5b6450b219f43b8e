"""Nodes that estimate depth with models: tiny ones that run, are freed, replaced, downloaded, missing."""

from __future__ import annotations

import importlib.util
import itertools
import shutil
import socket
import time

import numpy as np
import pytest
from PIL import Image

from .clips import read_video
from .hub import open_hub
from .server import REPOSITORY, ExecutionFailed, output_videos, texts_on

COLOURS = itertools.count(0x123456)  # a result from the cache would tell nothing


def estimator_prompt(estimator: str, *, color: int = 0x808080, **inputs) -> dict:
    image = {"width": 64, "height": 48, "batch_size": 3, "color": color}
    settings = {"image": ["1", 0], "estimator": estimator, **inputs}
    return {
        "1": {"class_type": "EmptyImage", "inputs": image},
        "2": {"class_type": "SpatialDreamerDepthEstimator", "inputs": settings},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }


@pytest.fixture(scope="module")
def tiny_models():
    pytest.importorskip("transformers")
    file = REPOSITORY / "tests" / "spatialdreamer_core" / "depth" / "tiny_models.py"
    spec = importlib.util.spec_from_file_location("tiny_models", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def model_name(comfy_server, tiny_models):
    """Put a tiny model in ComfyUI's folder for one test: other tests share the server."""
    folder = comfy_server.base / "models" / "depth_estimation" / "zoedepth-nyu-kitti"
    folder.mkdir(parents=True)
    tiny_models.save_model(folder, "zoedepth")
    yield "zoedepth"
    shutil.rmtree(folder)


def test_a_model_in_comfyuis_folder_runs(comfy_server, model_name):
    outputs = comfy_server.run(estimator_prompt(model_name, depth_stability=0.8))
    assert len(outputs["3"]["images"]) == 3


def test_a_model_in_comfyuis_folder_converts_a_film(comfy_server, model_name, uploaded_clip, tmp_path):
    settings = {
        "video": ["1", 0],
        "format": "full_sbs",
        "divergence": 2.5,
        "convergence": 0.5,
        "eye": "right",
        "depth": model_name,
        "crf": 18,
        "filename_prefix": "models/film",
    }
    prompt = {
        "1": {"class_type": "LoadVideo", "inputs": {"file": uploaded_clip}},
        "2": {"class_type": "SpatialDreamerConvertVideo", "inputs": settings},
    }
    (video,) = output_videos(comfy_server.run(prompt))
    frames, _ = read_video(comfy_server.fetch(video, tmp_path))
    assert frames.shape == (30, 180, 640, 3)


@pytest.mark.parametrize(
    ("inputs", "remedy"),
    [({}, "the node's `download`"), ({"download": True}, "downloads are switched off by HF_HUB_OFFLINE")],
)
def test_a_missing_model_is_answered_with_what_to_do(comfy_server, inputs, remedy):
    with pytest.raises(ExecutionFailed) as caught:
        comfy_server.run(estimator_prompt("midas", **inputs))
    assert remedy in str(caught.value)
    assert "https://huggingface.co/Intel/dpt-large" in str(caught.value)
    assert str(comfy_server.base / "models" / "depth_estimation" / "dpt-large") in str(caught.value)


def networks(server, name: str) -> list[int]:
    """List the objects of a class in the server's memory."""
    outputs = server.run({"1": {"class_type": "TestsNetworks", "inputs": {"name": name}}})
    return outputs["1"]["networks"]


def free_memory(server, name: str) -> list[int]:
    """Press ComfyUI's button that frees memory; returns what is left of a class."""
    server.read("/free", b'{"unload_models": true, "free_memory": true}')
    deadline = time.monotonic() + 15
    while (left := networks(server, name)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def test_a_model_is_shared_by_nodes_and_runs_until_memory_is_freed(comfy_server, model_name):
    prompt = estimator_prompt(model_name, color=next(COLOURS))
    prompt["4"] = {**prompt["2"], "inputs": {**prompt["2"]["inputs"], "depth_stability": 0.3}}
    prompt["5"] = {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}}
    comfy_server.run(prompt)
    (network,) = networks(comfy_server, "ZoeDepthForDepthEstimation")
    comfy_server.run(estimator_prompt(model_name, color=next(COLOURS)))
    assert networks(comfy_server, "ZoeDepthForDepthEstimation") == [network]
    assert free_memory(comfy_server, "ZoeDepthForDepthEstimation") == []
    assert len(comfy_server.run(estimator_prompt(model_name, color=next(COLOURS)))["3"]["images"]) == 3
    assert len(networks(comfy_server, "ZoeDepthForDepthEstimation")) == 1
    assert "memory leak" not in comfy_server.log()


def test_a_replaced_file_is_loaded_and_the_old_model_gone(comfy_server, model_name, tmp_path):
    def run() -> np.ndarray:
        outputs = comfy_server.run(estimator_prompt(model_name, color=0x314159))
        picture = comfy_server.fetch(outputs["3"]["images"][0], tmp_path)
        return np.asarray(Image.open(picture)).astype(int)

    from safetensors.torch import load_file, save_file

    before = run()
    file = comfy_server.base / "models" / "depth_estimation" / "zoedepth-nyu-kitti" / "model.safetensors"
    weights = {name: value.flip(0).contiguous() for name, value in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    assert (run() != before).any()
    assert len(networks(comfy_server, "ZoeDepthForDepthEstimation")) == 1


@pytest.fixture
def environment(comfy_server):
    """Return a function that sets a variable of the server's environment, as it was after the test."""
    before = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "", "no_proxy": ""}

    def change(**variables: str) -> None:
        for name, value in variables.items():
            inputs = {"name": name, "value": value}
            comfy_server.run({"1": {"class_type": "TestsEnvironment", "inputs": inputs}})

    yield change
    change(**before)


@pytest.fixture
def default_folder(comfy_server):
    """The place of auto's model in ComfyUI's folder, empty before and after the test."""
    folder = comfy_server.base / "models" / "depth_estimation" / "Depth-Anything-V2-Small-hf"
    assert not folder.exists()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_auto_downloads_its_model_with_a_progress_bar_and_uses_it(
    comfy_server, environment, default_folder, tiny_models, tmp_path
):
    tiny_models.save_model(tmp_path, "depth_anything")
    weights = (tmp_path / "model.safetensors").stat().st_size
    without = estimator_prompt("auto", color=next(COLOURS))
    comfy_server.run(without)
    prompt = estimator_prompt("auto", color=next(COLOURS), download=True)
    with open_hub(tmp_path) as (address, asked):
        environment(HF_HUB_OFFLINE="", HF_ENDPOINT=address, no_proxy="*")
        outputs, told = comfy_server.run_and_watch(prompt)
        _, told_again = comfy_server.run_and_watch(prompt)
        comfy_server.run(estimator_prompt("auto", color=next(COLOURS), download=True))
        _, told_without = comfy_server.run_and_watch(without)
    assert len(outputs["3"]["images"]) == 3
    assert sorted(file.name for file in default_folder.iterdir()) == sorted(
        file.name for file in tmp_path.iterdir()
    )
    assert sum("/resolve/" in path for path in asked) == 3  # once for all runs
    bars = [data for kind, data in told if kind == "progress" and data["node"] == "2"]
    assert max(bar["max"] for bar in bars) > weights
    assert any(bar["value"] == bar["max"] > weights for bar in bars)
    assert texts_on(told, "2") == ["downloading Depth Anything V2 Small", "depth: Depth Anything V2 Small."]
    assert texts_on(told_again, "2") == []  # its own download is no reason to run again
    assert texts_on(told_without, "2") == ["depth: Depth Anything V2 Small."]  # but another node's is one
    assert len(networks(comfy_server, "DepthAnythingForDepthEstimation")) == 1


def builtin_text(server, **inputs) -> str:
    """Run the Depth Estimator and return what it says, which is that the builtin one ran."""
    prompt = estimator_prompt("auto", color=next(COLOURS), **inputs)
    outputs, told = server.run_and_watch(prompt)
    assert len(outputs["3"]["images"]) == 3
    text = texts_on(told, "2")[-1]
    assert text.startswith("depth: builtin, preview grade. ")
    assert text in server.log()
    return text


def test_without_a_network_auto_goes_on_and_says_so(comfy_server, environment, default_folder):
    assert builtin_text(comfy_server) == (
        "depth: builtin, preview grade. For better depth turn download on (Depth Anything V2 Small, 99 MB, "
        "Apache-2.0), or put "
        "https://huggingface.co/depth-anything/Depth-Anything-V2-Small-hf into models/depth_estimation."
    )
    assert "downloads are switched off by HF_HUB_OFFLINE" in builtin_text(comfy_server, download=True)
    assert "turn download on" in builtin_text(comfy_server, download="false")
    assert "turn download on" in builtin_text(comfy_server, download=" No")
    assert "HF_HUB_OFFLINE" in builtin_text(comfy_server, download="true")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        environment(HF_HUB_OFFLINE="", HF_ENDPOINT=f"http://{host}", no_proxy="*")
        text = builtin_text(comfy_server, download=True)
    assert f"could not be downloaded: {host} cannot be reached (" in text
    assert f"run it again later, or put http://{host}/depth-anything/Depth-Anything-V2-Small-hf into" in text
    assert not default_folder.exists()


def test_a_folder_that_takes_no_files_is_named(comfy_server, environment, default_folder):
    default_folder.parent.mkdir(exist_ok=True)
    default_folder.write_text("in the way")
    environment(HF_HUB_OFFLINE="", HF_ENDPOINT="http://127.0.0.1:9", no_proxy="*")
    text = builtin_text(comfy_server, download=True)
    assert f"could not be downloaded: {default_folder} must be writable for config.json" in text
    default_folder.unlink()


def test_a_damaged_model_of_auto_is_an_error(comfy_server, default_folder, tiny_models):
    default_folder.mkdir(parents=True)
    tiny_models.save_model(default_folder, "depth_anything")
    file = default_folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ExecutionFailed, match=r"cannot be loaded from .*Small-hf .*delete that folder"):
        comfy_server.run(estimator_prompt("auto", color=next(COLOURS), download=True))
    file.unlink()  # half a download
    assert f"lacks model.safetensors in {default_folder}" in builtin_text(comfy_server)


def test_image_to_stereo_goes_on_without_a_network_too(comfy_server, default_folder):
    settings = {"format": "full_sbs", "divergence": 2.5, "convergence": 0.5, "eye": "right", "depth": "auto"}
    prompt = estimator_prompt("auto", color=next(COLOURS))
    prompt["2"] = {
        "class_type": "SpatialDreamerImageToStereo",
        "inputs": {"image": ["1", 0], "download": True, **settings},
    }
    outputs, told = comfy_server.run_and_watch(prompt)
    assert len(outputs["3"]["images"]) == 3
    (text,) = texts_on(told, "2")
    assert text.startswith("depth: builtin, preview grade. Depth Anything V2 Small could not be downloaded: ")


def test_a_video_says_on_its_node_which_depth_it_has(comfy_server, uploaded_clip):
    settings = {
        "format": "full_sbs",
        "divergence": 2.5,
        "convergence": 0.5,
        "eye": "right",
        "depth": "builtin",
    }
    settings |= {"video": ["1", 0], "crf": 30, "filename_prefix": "models/text"}
    prompt = {
        "1": {"class_type": "LoadVideo", "inputs": {"file": uploaded_clip}},
        "2": {"class_type": "SpatialDreamerConvertVideo", "inputs": settings},
    }
    outputs, told = comfy_server.run_and_watch(prompt)
    text = "depth: builtin, preview grade. For better depth choose auto, with download on ("
    assert texts_on(told, "2")[-1].splitlines()[-1].startswith(text)
    assert outputs["2"]["text"][0].splitlines()[-1].startswith(text)
