"""The Depth Estimator with models in ComfyUI's folder: a tiny one that runs, and one that is missing."""

from __future__ import annotations

import importlib.util
import shutil

import pytest

from .clips import read_video
from .server import REPOSITORY, ExecutionFailed, output_videos


def estimator_prompt(estimator: str, **inputs) -> dict:
    image = {"width": 64, "height": 48, "batch_size": 3, "color": 0x808080}
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
