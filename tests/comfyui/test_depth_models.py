"""The Depth Estimator with models in ComfyUI's folder: a tiny one that runs, and one that is missing."""

from __future__ import annotations

import importlib.util
import shutil

import pytest

from .server import REPOSITORY, ExecutionFailed


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


def test_a_model_in_comfyuis_folder_runs(comfy_server, tiny_models):
    folder = comfy_server.base / "models" / "depth_estimation" / "zoedepth-nyu-kitti"
    folder.mkdir(parents=True)
    tiny_models.save_model(folder, "zoedepth")
    try:
        outputs = comfy_server.run(estimator_prompt("zoedepth"))
    finally:
        shutil.rmtree(folder)  # other tests share the server
    assert len(outputs["3"]["images"]) == 3


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
