"""Save Stereo 3D Photo in a running ComfyUI: every kind of file, left in red and right in blue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .server import ExecutionFailed, RequestRefused

WIDTH, HEIGHT = 64, 40
RED, BLUE = (255, 0, 0), (0, 0, 255)


def prompt_of(saves: dict[str, dict], *, pictures: int = 1) -> dict:
    """Pack two views of one colour each in every format that is saved."""
    size = {"width": WIDTH, "height": HEIGHT, "batch_size": pictures}
    prompt = {
        "left": {"class_type": "EmptyImage", "inputs": {**size, "color": 0xFF0000}},
        "right": {"class_type": "EmptyImage", "inputs": {**size, "color": 0x0000FF}},
    }
    for name, settings in saves.items():
        packing = {"left": ["left", 0], "right": ["right", 0], "format": settings["format"]}
        prompt[f"{name} packed"] = {"class_type": "SpatialDreamerSBSPacker", "inputs": packing}
        inputs = {"images": [f"{name} packed", 0], "filename_prefix": "photos/card", **settings}
        prompt[name] = {"class_type": "SpatialDreamerSaveStereoPhoto", "inputs": inputs}
        prompt[f"{name} path"] = {"class_type": "PreviewAny", "inputs": {"source": [name, 0]}}
    return prompt


def eyes(path: Path) -> list[tuple[int, ...]]:
    """Return the colours of the left and the right part, or of the two pictures of a file."""
    with Image.open(path) as photo:
        if getattr(photo, "n_frames", 1) == 2:
            views = []
            for index in range(2):
                photo.seek(index)
                views.append(np.asarray(photo.convert("RGB")))
        else:
            views = np.split(np.asarray(photo.convert("RGB")), 2, axis=1)
    assert all(view.shape == (HEIGHT, WIDTH, 3) for view in views)
    return [tuple(int(value) for value in np.rint(view.mean((0, 1)) / 255) * 255) for view in views]


def test_every_kind_of_file_holds_both_views(comfy_server):
    kinds = {kind: {"format": "full_sbs", "file_type": kind} for kind in ("png", "jpg", "tif", "mpo", "jps")}
    kinds |= {kind: {"format": "wiggle", "file_type": kind} for kind in ("gif", "webp")}
    outputs = comfy_server.run(prompt_of(kinds))
    for kind in kinds:
        path = Path(outputs[f"{kind} path"]["text"][0])
        assert path.parent == comfy_server.base / "output" / "photos"
        suffix = "wiggle" if kind in ("gif", "webp") else "LRF_Full_SBS"
        assert path.name.startswith("card_0")
        assert path.name.endswith(f"_{suffix}.{kind}")
        assert eyes(path) == ([BLUE, RED] if kind == "jps" else [RED, BLUE])
        assert ("images" in outputs[kind]) == (kind not in ("mpo", "jps", "tif"))
        if kind == "png":
            with Image.open(path) as photo:
                assert "SpatialDreamerSaveStereoPhoto" in photo.info["prompt"]


def test_a_batch_becomes_a_file_each_and_none_is_replaced(comfy_server):
    prompt = prompt_of({"save": {"format": "quilt", "file_type": "png"}}, pictures=3)
    paths = comfy_server.run(prompt)["save path"]["text"][0].splitlines()
    assert len(set(paths)) == 3
    assert all(path.endswith("_qs2x1a1.60.png") for path in paths)
    pairs = prompt_of({"save": {"format": "wiggle", "file_type": "gif"}}, pictures=2)
    assert len(comfy_server.run(pairs)["save path"]["text"][0].splitlines()) == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"format": "anaglyph", "file_type": "mpo"}, "format must be full_sbs for a .mpo file"),
        (
            {"format": "cross_eyed", "file_type": "jps"},
            "format must be full_sbs for jps files, got",
        ),
        ({"format": "wiggle", "file_type": "png"}, "wiggle goes with .gif and .webp files"),
        ({"format": "full_sbs", "file_type": "bmp"}, "file_type must be one of png"),
        ({"format": "full_sbs", "file_type": "png", "filename_prefix": "a/"}, None),
        ({"format": "full_sbs", "file_type": "png", "filename_prefix": ""}, "filename_prefix must be"),
    ],
)
def test_what_cannot_be_saved_is_refused_when_it_is_queued(comfy_server, settings, said):
    prompt = prompt_of({"save": settings})
    if said is None:
        comfy_server.run(prompt)
        return
    with pytest.raises(RequestRefused, match=said):
        comfy_server.run(prompt)


def test_pictures_that_are_not_packed_so_are_refused(comfy_server):
    prompt = prompt_of({"save": {"format": "wiggle", "file_type": "gif"}})
    prompt["save"]["inputs"]["images"] = ["left", 0]
    with pytest.raises(ExecutionFailed, match="in turn for the format wiggle, so of an even number, got 1"):
        comfy_server.run(prompt)


def test_rgbd_and_geometry_in_the_packer(comfy_server):
    """The packer's depth_map, and options that come before packing."""
    prompt = prompt_of({"save": {"format": "rgbd", "file_type": "png"}})
    with pytest.raises(ExecutionFailed, match="`depth_map` must be connected for the format rgbd, got none"):
        comfy_server.run(prompt)
    size = {"width": WIDTH, "height": HEIGHT, "batch_size": 1, "color": 0x808080}
    prompt["depth"] = {"class_type": "EmptyImage", "inputs": size}
    prompt["save packed"]["inputs"] |= {"depth_map": ["depth", 0], "pad": "16:9"}
    path = Path(comfy_server.run(prompt)["save path"]["text"][0])
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.shape == (HEIGHT, 2 * 71, 3)
    assert picture[20, 10].tolist() == [255, 0, 0]
    assert picture[20, 71 + 10].tolist() == [128, 128, 128]
    assert picture[20, 1].tolist() == [0, 0, 0]
    prompt["save packed"]["inputs"]["swap_eyes"] = True
    with pytest.raises(RequestRefused, match="swap_eyes must be left alone with the format rgbd"):
        comfy_server.run(prompt)


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"format": "wiggle"}, (WIDTH, HEIGHT)),
        ({"format": "rgbd", "pad": "16:9"}, (2 * 71, HEIGHT)),
        ({"format": "vr180", "output_height": 50, "field_of_view": 70.0}, (100, 50)),
    ],
)
def test_image_to_stereo_in_formats_of_its_own(comfy_server, settings, size):
    kind = "gif" if settings["format"] == "wiggle" else "png"
    prompt = prompt_of({"save": {"format": settings["format"], "file_type": kind}})
    converted = {"image": ["left", 0], "divergence": 2.5, "convergence": 0.5, "eye": "right"}
    prompt["save packed"] = {
        "class_type": "SpatialDreamerImageToStereo",
        "inputs": converted | {"depth": "builtin"} | settings,
    }
    with Image.open(comfy_server.run(prompt)["save path"]["text"][0]) as photo:
        assert photo.size == size
