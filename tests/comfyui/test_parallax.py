"""The frame for the live preview, as nodes send it: in a run, from the cache, and for the asking."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from .server import ExecutionFailed
from .test_image import photo  # noqa: F401
from .test_interrupt_and_errors import convert_prompt

EVENT = "spatialdreamer_parallax"
ASKED, TARGET = "spatialdreamer_preview", "spatialdreamer_preview_shown"


def messages(told) -> list[dict]:
    return [content for kind, content in told if kind == EVENT]


def asking(prompt: dict, node: str, at: float) -> dict:
    """The prompt by which the page asks for a frame."""
    inputs = {**prompt[node]["inputs"], "spatialdreamer_preview_of": node, "spatialdreamer_preview_at": at}
    return prompt | {
        ASKED: {"class_type": prompt[node]["class_type"], "inputs": inputs},
        TARGET: {"class_type": "PreviewAny", "inputs": {"source": [ASKED, 0]}},
    }


def pictures(server, message, folder) -> tuple[np.ndarray, np.ndarray]:
    """The picture and the depth of a message."""
    picture, packed = (
        np.asarray(Image.open(server.fetch(message[name], folder)).convert("RGB")).astype(int)
        for name in ("picture", "depth")
    )
    return picture, (256 * packed[..., 0] + packed[..., 1]) / 65535


def warp_prompt(photo, **inputs) -> dict:  # noqa: F811
    settings = {"image": ["1", 0], "depth": ["2", 0], "invert_depth": False, "eye": "right"}
    settings |= {"divergence": 6.0, "convergence": 0.25, "edge_width": 0, "depth_gamma": 2.0}
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": photo[0]}},
        "2": {"class_type": "LoadImage", "inputs": {"image": photo[1]}},
        "3": {"class_type": "SpatialDreamerDVGForwardWarp", "inputs": settings | inputs},
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }


def test_the_warp_sends_its_frame_with_the_depth_before_its_curves(comfy_server, photo, tmp_path):  # noqa: F811
    prompt = warp_prompt(photo)
    outputs, told = comfy_server.run_and_watch(prompt)
    (message,) = messages(told)
    assert outputs["3"][EVENT] == [message]
    assert message["node"] == "3"
    picture, depth = pictures(comfy_server, message, tmp_path)
    assert np.array_equal(picture, photo[2])
    given = np.asarray(Image.open(comfy_server.base / "input" / photo[1]).convert("RGB")).mean(-1) / 255
    assert np.abs(depth - given).max() < 1e-4, "its gamma is the page's"
    assert message["values"]["divergence"] == 6.0
    assert message["fixed"]["edge_width"] == 0
    _, told = comfy_server.run_and_watch(prompt)
    again = [content["output"] for kind, content in told if kind == "executed" and content["node"] == "3"]
    assert messages(told) == []
    assert all(output[EVENT] == [message] for output in again), "from the cache"


def test_a_film_sends_its_frame_before_it_is_done(comfy_server, uploaded_clip, tmp_path):
    outputs, told = comfy_server.run_and_watch(convert_prompt(uploaded_clip, crf=31))
    (message,) = messages(told)
    assert outputs["2"][EVENT] == [message]
    kinds = [kind for kind, _ in told]
    steps = [
        index
        for index, (kind, content) in enumerate(told)
        if kind == "progress" and content["node"] == "2" and content["value"] > 1
    ]
    assert kinds.index(EVENT) < steps[-1] < kinds.index("executed")
    picture, depth = pictures(comfy_server, message, tmp_path)
    assert picture.shape == (*depth.shape, 3) == (180, 320, 3)
    assert message["title"] == "frame at 0.00 s"


def ask(server, prompt: dict) -> dict:
    """Execute what the page's button does, and nothing else of the prompt."""
    request = {"prompt": prompt, "partial_execution_targets": [TARGET]}
    return server.wait(json.loads(server.read("/prompt", json.dumps(request).encode()))["prompt_id"])


def test_one_frame_is_asked_for_and_the_last_run_stays(comfy_server, uploaded_clip, tmp_path):
    prompt = convert_prompt(uploaded_clip, crf=32, filename_prefix="asked/film")
    comfy_server.run(prompt)
    outputs = ask(comfy_server, asking(prompt, "2", 0.5))
    assert set(outputs) == {ASKED, TARGET}, "nothing else was executed"
    (message,) = outputs[ASKED][EVENT]
    assert (message["node"], message["title"]) == ("2", "frame at 0.50 s")
    picture, depth = pictures(comfy_server, message, tmp_path)
    assert picture.shape == (*depth.shape, 3) == (180, 320, 3)
    entry = comfy_server.wait_for_entry(comfy_server.queue(prompt))
    assert "2" in dict(entry["status"]["messages"])["execution_cached"]["nodes"]
    assert len(list((comfy_server.base / "output" / "asked").iterdir())) == 1


def test_one_picture_of_a_batch_is_asked_for(comfy_server, photo, tmp_path):  # noqa: F811
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": photo[0]}},
        "2": {"class_type": "RepeatImageBatch", "inputs": {"image": ["1", 0], "amount": 3}},
        "3": {
            "class_type": "SpatialDreamerImageToStereo",
            "inputs": {
                "image": ["2", 0],
                "format": "full_sbs",
                "divergence": 2.5,
                "convergence": 0.5,
                "eye": "right",
                "depth": "builtin",
            },
        },
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }
    outputs = ask(comfy_server, asking(prompt, "3", 2))
    (message,) = outputs[ASKED][EVENT]
    assert message["title"] == "frame 2 of 3"
    assert np.array_equal(pictures(comfy_server, message, tmp_path)[0], photo[2])
    with pytest.raises(
        ExecutionFailed, match="number of the frame to preview must be between 1 and 3, got 4"
    ):
        comfy_server.run(asking(prompt, "3", 4))


def test_a_moment_that_is_none_is_refused(comfy_server, uploaded_clip):
    prompt = convert_prompt(uploaded_clip)
    for at, said in (
        (-1.0, "moment to preview must be between 0 and 1e"),
        ("soon", "moment to preview must be a number"),
        (99.0, "got none from 99 s"),
    ):
        with pytest.raises(ExecutionFailed, match=said):
            ask(comfy_server, asking(prompt, "2", at))
