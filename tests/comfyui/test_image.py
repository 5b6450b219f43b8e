"""Image to Stereo 3D in a running ComfyUI: photos and clips, with depth of its own and of another node."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from .clips import psnr, write_clip
from .server import ExecutionFailed, RequestRefused

WIDTH, HEIGHT = 160, 96


@pytest.fixture(scope="module")
def photo(comfy_server, tmp_path_factory):
    """A photo of coarse noise, and a depth map with a near square in its middle; names and the photo."""
    folder = tmp_path_factory.mktemp("photo")
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    picture.save(folder / "photo.png")
    depth = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(depth).rectangle((60, 30, 99, 65), fill=255)
    depth.save(folder / "depth.png")
    names = [comfy_server.upload(folder / name) for name in ("photo.png", "depth.png")]
    return *names, np.asarray(picture)


def stereo_prompt(photo, *, frames: int = 1, **inputs) -> dict:
    settings = {"image": ["2", 0], "format": "full_sbs", "divergence": 5.0, "convergence": 0.0}
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": photo[0]}},
        "2": {"class_type": "RepeatImageBatch", "inputs": {"image": ["1", 0], "amount": frames}},
        "3": {"class_type": "LoadImage", "inputs": {"image": photo[1]}},
        "4": {
            "class_type": "SpatialDreamerImageToStereo",
            "inputs": settings | {"eye": "right", "depth": "builtin"} | inputs,
        },
        "5": {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}},
    }


def pictures(server, prompt: dict, folder) -> list[np.ndarray]:
    files = server.run(prompt)["5"]["images"]
    return [np.asarray(Image.open(server.fetch(file, folder)).convert("RGB")) for file in files]


def test_a_photo_with_depth_of_its_own(comfy_server, photo, tmp_path):
    (stereo,) = pictures(comfy_server, stereo_prompt(photo), tmp_path)
    assert stereo.shape == (HEIGHT, 2 * WIDTH, 3)
    assert np.array_equal(stereo[:, :WIDTH], photo[2])
    assert psnr(stereo[:, WIDTH:], photo[2]) < 30


@pytest.mark.parametrize("eye", ["right", "left", "both"])
def test_the_depth_map_of_another_node_moves_what_is_near(comfy_server, photo, tmp_path, eye):
    prompt = stereo_prompt(photo, eye=eye, depth_map=["3", 0], edge_width=0)
    (stereo,) = pictures(comfy_server, prompt, tmp_path)
    left, right = stereo[:, :WIDTH], stereo[:, WIDTH:]
    shift = round(0.05 * WIDTH)  # px of what is near; it lies further left in the right eye's view
    to_left, to_right = {"right": (0, shift), "left": (shift, 0), "both": (shift // 2, shift // 2)}[eye]
    rows, near = slice(34, 62), photo[2][34:62, 66:92]
    assert psnr(left[rows, 66 + to_left : 92 + to_left], near) > 45
    assert psnr(right[rows, 66 - to_right : 92 - to_right], near) > 45
    assert (stereo.reshape(-1, 3).max(1) == 0).mean() < 0.01, "holes are filled"


@pytest.mark.parametrize(
    ("format", "size"),
    [("half_sbs", (WIDTH, HEIGHT)), ("full_tb", (WIDTH, 2 * HEIGHT)), ("anaglyph", (WIDTH, HEIGHT))],
)
def test_a_clip_in_other_formats(comfy_server, photo, tmp_path, format, size):
    prompt = stereo_prompt(photo, frames=3, format=format, depth_map=["3", 0])
    assert [frame.shape[1::-1] for frame in pictures(comfy_server, prompt, tmp_path)] == [size] * 3


def test_what_it_cannot_do_is_said(comfy_server, photo):
    with pytest.raises(RequestRefused, match="depth_near must be at least"):
        comfy_server.queue(stereo_prompt(photo, depth_near=0.1, depth_far=0.5))
    prompt = stereo_prompt(photo, depth_map=["6", 0])
    prompt["6"] = {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0},
    }
    with pytest.raises(ExecutionFailed, match="`depth_map` must have the aspect ratio of `image`"):
        comfy_server.run(prompt)


def clip_prompt(file, parts, **changes) -> dict:
    """Convert a clip's frames in parts of so many frames, each after the one before."""
    prompt = {
        "1": {"class_type": "LoadVideo", "inputs": {"file": file}},
        "2": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}},
    }
    settings = {"format": "full_sbs", "divergence": 5.0, "convergence": 0.0, "eye": "right"}
    settings |= {"depth": "builtin", **changes}
    for number, start in enumerate(np.cumsum([0, *parts[:-1]]).tolist()):
        frames, converted = str(10 * number + 10), str(10 * number + 11)
        cut = {"image": ["2", 0], "batch_index": start, "length": parts[number]}
        prompt[frames] = {"class_type": "ImageFromBatch", "inputs": cut}
        state = {"state": [str(10 * number + 1), 1]} if number else {}
        inputs = settings | state | {"image": [frames, 0], "more_follows": number + 1 < len(parts)}
        prompt[converted] = {"class_type": "SpatialDreamerImageToStereo", "inputs": inputs}
        prompt[f"{converted}5"] = {"class_type": "PreviewImage", "inputs": {"images": [converted, 0]}}
    return prompt


def shown_pictures(server, prompt, folder):
    outputs = server.run(prompt)
    files = [file for node in sorted(outputs) if node.endswith("5") for file in outputs[node]["images"]]
    return [np.asarray(Image.open(server.fetch(file, folder)).convert("RGB")) for file in files]


def test_a_clip_in_parts_is_the_clip_at_once(comfy_server, tmp_path):
    clip = comfy_server.upload(write_clip(tmp_path / "parts.mp4", frames=14, width=96, height=64, cut=9))
    whole = shown_pictures(comfy_server, clip_prompt(clip, [14]), tmp_path)
    for _ in range(2):  # the second time nothing comes from ComfyUI's cache
        parts = shown_pictures(comfy_server, clip_prompt(clip, [6, 8]), tmp_path)
        assert len(parts) == len(whole) == 14
        assert all(np.array_equal(part, picture) for part, picture in zip(parts, whole, strict=True))


@pytest.mark.parametrize(
    ("node", "changes", "message"),
    [
        (
            "21",
            {"divergence": 3.0},
            "the same settings, got divergence 3.0 instead of 5.0",
        ),
        (
            "11",
            {"more_follows": False},
            "state must come from a part that another one follows",
        ),
    ],
)
def test_a_part_that_does_not_fit_is_told(comfy_server, tmp_path, node, changes, message):
    clip = comfy_server.upload(write_clip(tmp_path / "parts.mp4", frames=14, width=96, height=64))
    prompt = clip_prompt(clip, [6, 8])
    prompt[node]["inputs"] |= changes
    with pytest.raises(ExecutionFailed, match=message):
        comfy_server.run(prompt)


def test_a_part_of_too_few_frames_is_told(comfy_server, tmp_path):
    clip = comfy_server.upload(write_clip(tmp_path / "parts.mp4", frames=14, width=96, height=64))
    with pytest.raises(ExecutionFailed, match="image must have more frames where more_follows is on, got 2"):
        comfy_server.run(clip_prompt(clip, [2, 12]))
