"""What nodes tell their viewer of a result in a running ComfyUI: a file browsers show, and its packing."""

from __future__ import annotations

import shutil
from urllib.parse import urlencode

import av
import numpy as np
import pytest
from PIL import Image

from .clips import write_clip

WIDTH, HEIGHT, FRAMES = 64, 40, 3


def views(frames: int) -> dict:
    """Make a red view for the left eye and a blue one for the right eye."""
    size = {"width": WIDTH, "height": HEIGHT, "batch_size": frames}
    return {
        "left": {"class_type": "EmptyImage", "inputs": {**size, "color": 0xFF0000}},
        "right": {"class_type": "EmptyImage", "inputs": {**size, "color": 0x0000FF}},
    }


def packer(**settings) -> dict:
    inputs = {"left": ["left", 0], "right": ["right", 0], "format": "full_sbs", **settings}
    return {"class_type": "SpatialDreamerSBSPacker", "inputs": inputs}


def save(kind: str, **settings) -> dict:
    inputs = {
        "images": ["packed", 0],
        "format": "full_sbs",
        "filename_prefix": "viewed/<b>'card'",
        **settings,
    }
    return {"class_type": f"SpatialDreamerSaveStereo{kind}", "inputs": inputs}


def shown(server, prompt: dict, node: str) -> dict:
    """Run a prompt and return the one thing that a node's viewer shows, and what it holds as `pictures`."""
    end = {"class_type": "PreviewImage", "inputs": {"images": ["packed", 0]}}
    (entry,) = server.run({**prompt, "end": end})[node]["stereo"]
    path = server.base / "viewed_file"
    path.write_bytes(server.read("/view?" + urlencode(entry["file"])))
    if entry["kind"] == "image":
        with Image.open(path) as picture:
            return entry | {"pictures": [np.asarray(picture.convert("RGB"))]}
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
        return entry | {"pictures": [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]}


def colours(picture: np.ndarray, axis: int = 1) -> list[str]:
    """Name the colours of a picture's halves."""
    means = [half.mean((0, 1)) for half in np.split(picture, 2, axis=axis)]
    return ["red" if mean[0] > 200 else "blue" if mean[2] > 200 else str(mean) for mean in means]


@pytest.mark.parametrize(
    ("settings", "size", "aspect"),
    [
        ({}, (128, 40), 1.6),
        ({"format": "half_sbs"}, (64, 40), 1.6),
        ({"format": "half_tb"}, (64, 40), 1.6),
        ({"format": "cross_eyed", "swap_eyes": True}, (128, 40), 1.6),
        ({"format": "anaglyph"}, (64, 40), 1.6),
    ],
)
def test_packed_frames_are_shown_by_a_small_film(comfy_server, settings, size, aspect):
    result = shown(comfy_server, views(FRAMES) | {"packed": packer(**settings)}, "packed")
    format = settings.get("format", "full_sbs")
    assert (result["format"], result["swap"]) == (format, settings.get("swap_eyes", False))
    assert result["file"]["type"] == "temp"
    assert result["aspect"] == pytest.approx(aspect)
    assert (result["kind"], result["rate"], result["note"]) == ("video", 24, "")
    assert [picture.shape[1::-1] for picture in result["pictures"]] == [size] * FRAMES
    if format != "anaglyph":  # swapped and crossed is as it was
        assert colours(result["pictures"][0], axis=0 if "tb" in format else 1) == ["red", "blue"]


def test_one_packed_picture_is_shown_as_a_picture_and_views_in_turn_beside_each_other(comfy_server):
    result = shown(comfy_server, views(1) | {"packed": packer()}, "packed")
    assert (result["kind"], result["file"]["type"]) == ("image", "temp")
    assert colours(result["pictures"][0]) == ["red", "blue"]
    result = shown(comfy_server, views(2) | {"packed": packer(format="frame_sequential")}, "packed")
    assert (result["format"], result["kind"], len(result["pictures"])) == ("full_sbs", "video", 2)
    assert colours(result["pictures"][1]) == ["red", "blue"]


def test_a_long_clip_is_shown_by_its_first_frames(comfy_server):
    result = shown(comfy_server, views(130) | {"packed": packer(format="full_tb")}, "packed")
    assert (len(result["pictures"]), result["note"]) == (120, "the first 120 of 130 frames")


def test_a_saved_video_is_shown_itself_or_by_a_copy(comfy_server):
    prompt = views(FRAMES) | {"packed": packer(format="half_sbs")}
    result = shown(comfy_server, prompt | {"save": save("Video", format="half_sbs", fps=10, crf=20)}, "save")
    assert (result["file"]["type"], result["file"]["subfolder"]) == ("output", "viewed")
    assert (result["format"], result["rate"], result["note"]) == ("half_sbs", 10, "")
    assert result["aspect"] == pytest.approx(1.6)
    assert result["name"] == result["file"]["filename"]
    video = save("Video", format="half_sbs", fps=10, crf=20, codec="libx265")
    result = shown(comfy_server, prompt | {"save": video}, "save")
    assert (result["file"]["type"], result["note"]) == ("temp", "a small copy, 30 s at most")
    assert result["aspect"] == pytest.approx(1.6)
    assert result["name"].startswith("<b>'card'_")
    assert len(result["pictures"]) == FRAMES


@pytest.mark.parametrize(
    ("kind", "format", "place"),
    [
        ("png", "half_tb", "output"),
        ("tif", "full_sbs", "temp"),
        ("jps", "full_sbs", "temp"),  # the file has the right view on the left
        ("gif", "wiggle", "temp"),
    ],
)
def test_a_saved_photo_is_shown_itself_or_by_a_copy_with_both_views(comfy_server, kind, format, place):
    prompt = views(1) | {
        "packed": packer(format=format),
        "save": save("Photo", format=format, file_type=kind),
    }
    result = shown(comfy_server, prompt, "save")
    assert result["file"]["type"] == place
    assert result["format"] == ("full_sbs" if format == "wiggle" else format)
    assert result["aspect"] == pytest.approx(1.6)
    assert colours(result["pictures"][0], axis=0 if format == "half_tb" else 1) == ["red", "blue"]


def test_a_batch_shows_its_finished_files_in_turn(comfy_server, tmp_path):
    folder = comfy_server.base / "input" / "viewed batch"
    folder.mkdir()
    shutil.copyfile(write_clip(tmp_path / "a.mp4", frames=3, width=64, height=48), folder / "a.mp4")
    Image.new("RGB", (64, 48), "green").save(folder / "b.png")
    settings = {
        "folder": folder.name,
        "output_folder": "viewed batch",
        "format": "full_sbs",
        "divergence": 2.0,
    }
    settings |= {"convergence": 0.5, "eye": "right", "depth": "builtin", "crf": 30}
    prompt = {"1": {"class_type": "SpatialDreamerBatchConvert", "inputs": settings}}
    entries = comfy_server.run(prompt)["1"]["stereo"]
    assert [entry["kind"] for entry in entries] == ["video", "image"]
    assert [entry["name"] for entry in entries] == ["a_LRF_Full_SBS.mp4", "b_LRF_Full_SBS.png"]
    assert {entry["file"]["subfolder"] for entry in entries} == {"viewed batch"}
    assert [entry["aspect"] for entry in entries] == pytest.approx([4 / 3] * 2)
