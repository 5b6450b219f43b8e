"""The border, mask and comfort widgets in a running ComfyUI."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from .clips import read_video, write_clip
from .server import ExecutionFailed, RequestRefused, output_videos, texts_on

SIZE = (200, 64)


def picture(color: int, size: tuple[int, int] = SIZE, frames: int = 1) -> dict:
    inputs = {"width": size[0], "height": size[1], "batch_size": frames, "color": color}
    return {"class_type": "EmptyImage", "inputs": inputs}


def warp(**inputs) -> dict:
    """White frames whose depth is white: all as near as can be."""
    settings = {
        "image": ["1", 0],
        "depth": ["1", 0],
        "invert_depth": False,
        "divergence": 4.0,
        "convergence": 0.5,
        "eye": "right",
    }
    return {"class_type": "SpatialDreamerDVGForwardWarp", "inputs": settings | inputs}


def preview(node: str, output: int = 0) -> dict:
    return {"class_type": "PreviewImage", "inputs": {"images": [node, output]}}


def fetched_picture(server, prompt: dict, folder) -> np.ndarray:
    outputs = server.run(prompt)
    (file,) = [file for node in outputs.values() for file in node.get("images", [])]
    return np.asarray(Image.open(server.fetch(file, folder)).convert("RGB")).astype(int)


def text_on_node(server, prompt: dict, node: str) -> str:
    """Run a prompt and return the text that the server writes onto a node."""
    _, told = server.run_and_watch(prompt)
    (text,) = texts_on(told, node)
    return text


def test_the_warp_node_says_how_far_the_scene_reaches(comfy_server):
    prompt = {"1": picture(0xFFFFFF), "2": warp(), "3": preview("2")}
    text = text_on_node(comfy_server, prompt, "2")
    assert text == (
        "nearest: 2.0 % in front of the screen; farthest: 2.0 % in front of the screen (% of the width)"
    )
    prompt["2"] = warp(divergence=8.0)
    text = text_on_node(comfy_server, prompt, "2")
    warning, comfort = text.split("\n")
    assert "more disparity than is comfortable (over 3 % of the width)" in warning
    assert comfort.startswith("nearest: 4.0 % in front of the screen")
    assert warning in comfy_server.log()


@pytest.mark.parametrize(
    ("widgets", "nearest", "said"),
    [
        ({"auto_convergence": True}, "0.0 %", "divergence 4.00 %, convergence 1.00 (was 0.5)"),
        ({"comfort": True, "max_crossed": 1.0}, "1.0 %", "divergence 4.00 %, convergence 0.75 (was 0.5)"),
        ({"divergence": 2.5, "device_profile": "paper"}, "0.0 %", "divergence 2.5 %, convergence 1"),
        ({"divergence": 2.5, "device_profile": "quest"}, "0.8 %", "divergence 1.50 %, convergence 0.50"),
        ({"device_profile": "quest"}, "1.5 %", "divergence 4.00 %, convergence 0.62 (was 0.5)"),
    ],
)
def test_the_warp_node_places_scenes(comfy_server, widgets, nearest, said):
    """Each scene by its subject and within limits; a widget that is not at its default is kept."""
    prompt = {"1": picture(0xFFFFFF), "2": warp(**widgets), "3": preview("2")}
    first, second = text_on_node(comfy_server, prompt, "2").split("\n")
    assert first.startswith(f"nearest: {nearest} ")
    assert said in second


def test_limits_without_room_are_refused_when_they_are_queued(comfy_server):
    prompt = {
        "1": picture(0xFFFFFF),
        "2": warp(comfort=True, max_crossed=0.0, max_uncrossed=0.0),
        "3": preview("2"),
    }
    with pytest.raises(RequestRefused, match="must leave room for depth"):
        comfy_server.run(prompt)


def test_an_eased_border_leaves_no_hole_at_the_edge(comfy_server, tmp_path):
    prompt = {"1": picture(0xFFFFFF), "2": warp(), "3": preview("2")}
    assert fetched_picture(comfy_server, prompt, tmp_path)[:, -4:].max() == 0
    prompt["2"] = warp(border_width=10.0)
    assert fetched_picture(comfy_server, prompt, tmp_path)[:, -1].min() > 250


def test_the_packer_draws_a_floating_window(comfy_server, tmp_path):
    inputs = {"left": ["1", 0], "right": ["1", 0], "format": "full_sbs", "floating_window": True}
    packer = {"class_type": "SpatialDreamerSBSPacker", "inputs": inputs}
    prompt = {"1": picture(0xFFFFFF), "2": warp(), "3": packer, "4": preview("3")}
    with pytest.raises(ExecutionFailed, match="`floating_window` needs `disparity`, got none; connect"):
        comfy_server.run(prompt)
    packer["inputs"]["disparity"] = ["2", 2]
    row = fetched_picture(comfy_server, prompt, tmp_path)[30, :, 0]
    assert (row[:4] == 0).all()  # 2 % of 200 px
    assert (row[-4:] == 0).all()
    assert (row[4:-4] == 255).all()


def test_a_refined_mask_is_dilated_and_a_composite_is_feathered(comfy_server, tmp_path):
    prompt = {
        "1": picture(0xFFFFFF, frames=2),
        "2": warp(),
        "3": {
            "class_type": "SpatialDreamerOpticalFlow",
            "inputs": {"image": ["1", 0], "method": "dis_fast"},
        },
        "4": {
            "class_type": "SpatialDreamerRefineHoleMask",
            "inputs": {"hole": ["2", 1], "flow": ["3", 0], "disparity": ["2", 2], "dilate": 3},
        },
        "5": {"class_type": "MaskToImage", "inputs": {"mask": ["4", 0]}},
        "6": {
            "class_type": "ImageFromBatch",
            "inputs": {"image": ["5", 0], "batch_index": 0, "length": 1},
        },
        "7": preview("6"),
    }
    assert fetched_picture(comfy_server, prompt, tmp_path)[30, :, 0].nonzero()[0].tolist() == [
        *range(193, 200)
    ]
    prompt["6"] = {
        "class_type": "SpatialDreamerComposite",
        "inputs": {"warped": ["1", 0], "filled": ["8", 0], "hole": ["2", 1], "dilate": 0, "feather": 1},
    }
    prompt["8"] = picture(0, frames=2)
    prompt["9"] = {
        "class_type": "ImageFromBatch",
        "inputs": {"image": ["6", 0], "batch_index": 0, "length": 1},
    }
    prompt["7"] = preview("9")
    row = fetched_picture(comfy_server, prompt, tmp_path)[30, :, 0]
    assert row[192:].tolist() == [255, 255, 255, pytest.approx(127, abs=1), 0, 0, 0, 0]


def test_convert_video_with_a_floating_window(comfy_server, tmp_path):
    prompt = {
        "1": {
            "class_type": "LoadVideo",
            "inputs": {"file": comfy_server.upload(write_clip(tmp_path / "clip.mp4", frames=4))},
        },
        "2": {
            "class_type": "SpatialDreamerConvertVideo",
            "inputs": {
                "video": ["1", 0],
                "format": "full_sbs",
                "divergence": 5.0,
                "convergence": 0.0,
                "eye": "right",
                "depth": "builtin",
                "crf": 12,
                "filename_prefix": "borders/film",
                "border": "floating_window",
            },
        },
    }
    (video,) = output_videos(comfy_server.run(prompt))
    frames, _ = read_video(comfy_server.fetch(video, tmp_path))
    edges = frames[:, :, [0, -1]].astype(int).mean((0, 1, 3))
    assert (edges < 15).all(), edges
