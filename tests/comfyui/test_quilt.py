"""Quilt Packer, and what it hands to the nodes that save: a picture's place tells which view it is."""

from __future__ import annotations

import pytest

from .server import RequestRefused, output_videos
from .test_spatialdreamer import failure, fetch_pictures

COLOURS = (0xFF0000, 0x00FF00, 0x0000FF, 0xFFFF00)  # of the views, from the left eye to the right one
SIZE = (32, 16)
PACKER, SAVER = "SpatialDreamerQuiltPacker", "SpatialDreamerSaveStereoVideo"


def quilt_prompt(*, frames: int = 2, **grid) -> dict:
    """Make a prompt that packs four views of one colour each, and saves them as a video and as photos."""
    prompt, batch = {}, None
    for index, colour in enumerate(COLOURS):
        size = {"width": SIZE[0], "height": SIZE[1], "batch_size": frames, "color": colour}
        prompt[f"view{index}"] = {"class_type": "EmptyImage", "inputs": size}
        if batch is None:
            batch = f"view{index}"
            continue
        join = {"image1": [batch, 0], "image2": [f"view{index}", 0]}
        prompt[f"batch{index}"] = {"class_type": "ImageBatch", "inputs": join}
        batch = f"batch{index}"
    save = {"fps": 10.0, "format": "quilt", "crf": 12, "filename_prefix": "quilts/four"}
    return prompt | {
        "pack": {"class_type": PACKER, "inputs": {"views": [batch, 0], "columns": 2, "rows": 2} | grid},
        "show": {"class_type": "PreviewImage", "inputs": {"images": ["pack", 0]}},
        "save": {"class_type": SAVER, "inputs": save | {"images": ["pack", 0], "grid": ["pack", 1]}},
        "photo": {
            "class_type": "SpatialDreamerSaveStereoPhoto",
            "inputs": {
                "images": ["pack", 0],
                "grid": ["pack", 1],
                "format": "quilt",
                "file_type": "png",
                "filename_prefix": "quilts/photo",
            },
        },
    }


def test_views_lie_from_the_bottom_left_on_and_files_tell_the_grid(comfy_server):
    outputs = comfy_server.run(quilt_prompt())
    quilts = fetch_pictures(comfy_server, outputs)
    assert [quilt.size for quilt in quilts] == [(2 * SIZE[0], 2 * SIZE[1])] * 2
    for quilt in quilts:
        corners = [(0, 31), (63, 31), (0, 0), (63, 0)]
        assert [quilt.getpixel(corner) for corner in corners] == [
            tuple(colour.to_bytes(3, "big")) for colour in COLOURS
        ]
    (video,) = output_videos(outputs)
    assert video["filename"] == "four_00001_qs2x2a2.00.mp4"
    assert [file["filename"] for file in outputs["photo"]["images"]] == [
        f"photo_{number:05}_qs2x2a2.00.png" for number in (1, 2)
    ]


def test_views_that_do_not_fill_the_grid_are_refused(comfy_server):
    text = failure(comfy_server, quilt_prompt(columns=3, rows=1), PACKER)
    assert (
        "`views` must have as many frames of each of columns x rows (3) views, got 8 in all; choose" in text
    )
    with pytest.raises(RequestRefused, match="columns must be between 1 and 32"):
        comfy_server.queue(quilt_prompt(columns=0))


def test_a_grid_belongs_to_quilts(comfy_server):
    prompt = quilt_prompt()
    prompt["save"]["inputs"]["format"] = "full_sbs"
    assert "`format` must be quilt where `grid` is connected" in failure(comfy_server, prompt, SAVER)
    prompt["other"] = {
        "class_type": "EmptyImage",
        "inputs": {"width": 34, "height": 16, "batch_size": 1, "color": 0},
    }
    prompt["save"]["inputs"] |= {"format": "quilt", "images": ["other", 0]}
    prompt["pack"]["inputs"] |= {"columns": 4, "rows": 1}
    assert "got 34x16; save the quilts as Quilt Packer" in failure(comfy_server, prompt, SAVER)
