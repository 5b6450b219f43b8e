"""Compare in a running ComfyUI."""

from __future__ import annotations

import json

import pytest

from .server import ExecutionFailed, RequestRefused, texts_on

NODE = "SpatialDreamerCompareStereo"


def colour(number: int, *, frames: int = 2, width: int = 48) -> dict:
    """A plain clip; its colour is 0xRRGGBB."""
    inputs = {"width": width, "height": 32, "batch_size": frames, "color": number}
    return {"class_type": "EmptyImage", "inputs": inputs}


def compare(**inputs) -> dict:
    hole = {"class_type": "SolidMask", "inputs": {"width": 48, "height": 32, "value": 1.0}}
    return {
        "1": colour(0x404040),
        "2": colour(0x505050),
        "3": hole,
        "4": {"class_type": NODE, "inputs": {"result": ["1", 0]} | inputs},
        "5": {"class_type": "PreviewAny", "inputs": {"source": ["4", 0]}},
    }


def test_the_figures_are_shown_and_come_out_as_json(comfy_server):
    prompt = compare(truth=["2", 0], source=["2", 0], hole=["3", 0], chunk=1)
    outputs, told = comfy_server.run_and_watch(prompt)
    written = json.loads(outputs["5"]["text"][0])
    figures = written["figures"]
    assert written["frames"] == 2
    assert figures["psnr"] == pytest.approx(24.05, abs=0.01)  # 16 of 255
    assert figures["psnr_border"] == figures["psnr"], "all of it is a hole that touches the sides"
    assert figures["warping_error"] == figures["temporal_error"] == figures["colour_shift"] == 0
    assert written["left_out"]["match_rate"] == "needs pictures in which SIFT finds features"
    assert "PSNR, whole: 24.05 dB" in texts_on(told, "4")[-1].splitlines()


def test_what_cannot_be_compared_is_told(comfy_server):
    with pytest.raises(ExecutionFailed, match="`truth` or `source` must be connected, got neither"):
        comfy_server.run(compare())
    with pytest.raises(ExecutionFailed, match=r"`truth` must have as many frames as `result` \(2\), got 3"):
        comfy_server.run(compare(truth=["6", 0]) | {"6": colour(0, frames=3)})
    with pytest.raises(ExecutionFailed, match=r"`truth` must have the size of `result` \(48x32\), got 40x32"):
        comfy_server.run(compare(truth=["6", 0]) | {"6": colour(0, width=40)})
    with pytest.raises(RequestRefused, match="chunk must be between 1 and"):
        comfy_server.queue(compare(truth=["2", 0], chunk=0))
