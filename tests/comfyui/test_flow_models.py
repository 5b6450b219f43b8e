"""Optical Flow with RAFT in ComfyUI's folder: one with random weights that runs, and one that is missing."""

from __future__ import annotations

import shutil
import time

import pytest
import torch

from .clips import write_clip
from .server import ExecutionFailed, output_videos
from .test_interrupt_and_errors import convert_prompt


def flow_prompt(method: str) -> dict:
    image = {"width": 72, "height": 48, "batch_size": 3, "color": 0x808080}
    return {
        "1": {"class_type": "EmptyImage", "inputs": image},
        "2": {"class_type": "SpatialDreamerOpticalFlow", "inputs": {"image": ["1", 0], "method": method}},
        "3": {"class_type": "MaskToImage", "inputs": {"mask": ["2", 1]}},
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }


def test_raft_in_comfyuis_folder_runs_until_it_is_replaced_or_memory_freed(comfy_server, tmp_path):
    optical_flow = pytest.importorskip("torchvision").models.optical_flow
    folder = comfy_server.base / "models" / "optical_flow"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(optical_flow.raft_small(weights=None).state_dict(), folder / "raft_small.pth")
    file = comfy_server.upload(write_clip(tmp_path / "raft.mp4", frames=2, width=160, height=96))
    look = {"1": {"class_type": "TestsNetworks", "inputs": {"name": "RAFT"}}}
    try:
        outputs = comfy_server.run(flow_prompt("raft_small"))
        assert len(comfy_server.run(look)["1"]["networks"]) == 1
        stereo = comfy_server.run(convert_prompt(file, flow="raft_small", filename_prefix="raft/film"))
        assert len(comfy_server.run(look)["1"]["networks"]) == 1, "the nodes share it"
        torch.save(optical_flow.raft_small(weights=None).state_dict(), folder / "raft_small.pth")
        again = comfy_server.run(flow_prompt("raft_small"))
        assert again["4"]["images"] != outputs["4"]["images"]  # not from the cache
        assert len(comfy_server.run(look)["1"]["networks"]) == 1
    finally:
        shutil.rmtree(folder)  # other tests share the server
    assert len(outputs["4"]["images"]) == 3
    assert len(output_videos(stereo)) == 1
    comfy_server.read("/free", b'{"unload_models": true, "free_memory": true}')
    deadline = time.monotonic() + 15
    while comfy_server.run(look)["1"]["networks"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_missing_weights_are_answered_with_what_to_do(comfy_server):
    with pytest.raises(ExecutionFailed) as caught:
        comfy_server.run(flow_prompt("raft_large"))
    for part in (
        "the node's `download`",
        "https://download.pytorch.org/models/raft_large_C_T_SKHT_V2-ff5fadd5.pth",
        str(comfy_server.base / "models" / "optical_flow"),
    ):
        assert part in str(caught.value)
