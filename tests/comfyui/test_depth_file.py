"""Given depth in a running ComfyUI: Load Depth's files and the depth video of Convert Video."""

from __future__ import annotations

import av
import numpy as np
import pytest
from PIL import Image

from .clips import read_video, write_clip
from .server import ExecutionFailed, output_videos
from .test_borders import fetched_picture, preview

NODE = "SpatialDreamerLoadDepth"


@pytest.fixture
def files(comfy_server):
    """Return the server's input folder."""
    folder = comfy_server.base / "input"
    folder.mkdir(exist_ok=True)
    return folder


def load(file: str, **inputs) -> dict:
    return {
        "1": {"class_type": NODE, "inputs": {"file": file, "kind": "inverse"} | inputs},
        "2": preview("1"),
    }


def half_near() -> np.ndarray:
    values = np.full((24, 40), 5, np.uint16)
    values[:, 20:] = 10
    return values


def test_files_and_folders_of_the_input_folder_are_offered(comfy_server, files):
    (files / "offered").mkdir()
    (files / "empty").mkdir()
    for name in ("offered.npz", "offered.exr", "offered.png", "offered.mp4", "offered/1.exr", "refused.txt"):
        (files / name).write_bytes(b"")
    ((_, settings),) = comfy_server.pack_info()[NODE]["input"]["required"].values()
    offered = set(settings["options"])
    assert {"offered.npz", "offered.exr", "offered.png", "offered.mp4", "offered"} <= offered
    assert not {"refused.txt", "empty"} & offered


@pytest.mark.parametrize(("kind", "near_side"), [("inverse", 1), ("depth", 0), ("metres", 0)])
def test_a_16_bit_picture_becomes_inverse_depth(comfy_server, files, tmp_path, kind, near_side):
    Image.fromarray(half_near()).save(files / f"depth_{kind}.png")
    depth = fetched_picture(comfy_server, load(f"depth_{kind}.png", kind=kind), tmp_path)
    assert depth.shape == (24, 40, 3)
    sides = depth[:, :20], depth[:, 20:]
    assert (sides[near_side] > 250).all()
    assert (sides[1 - near_side] < 5).all()


def test_a_changed_file_is_read_again(comfy_server, files, tmp_path):
    prompt = load("changing.npz", kind="normalised")
    for value in (0.0, 1.0):
        np.savez(files / "changing.npz", np.full((24, 40), value))
        assert (fetched_picture(comfy_server, prompt, tmp_path) == 255 * value).all()


@pytest.mark.parametrize("file", ["../secret.npz", "/etc/hostname", "absent.npz"])
def test_no_other_path_is_read(comfy_server, files, file):
    np.savez(files.parent / "secret.npz", half_near())
    with pytest.raises(ExecutionFailed, match="subfolder of ComfyUI's input folder, got"):
        comfy_server.run(load(file))


def test_the_number_of_frames_must_be_that_of_the_image(comfy_server, files):
    np.savez(files / "three.npz", np.stack([half_near()] * 3))
    frames = {"class_type": "EmptyImage", "inputs": {"width": 40, "height": 24, "batch_size": 2, "color": 0}}
    prompt = load("three.npz", image=["3", 0]) | {"3": frames}
    with pytest.raises(ExecutionFailed, match=r"as many frames as the video \(2\), got 3"):
        comfy_server.run(prompt)


def grey_clip(path, frames: int):
    """Write a video of depth in which all is far."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((90, 160, 3), np.uint8))))
        container.mux(stream.encode())
    return path


def convert(server, tmp_path, depth_file: str | None, **settings) -> np.ndarray:
    """Convert a clip and return its two halves."""
    prompt = {
        "1": {
            "class_type": "LoadVideo",
            "inputs": {"file": server.upload(write_clip(tmp_path / "film.mp4", 6))},
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
                "crf": 8,
                "filename_prefix": "given/film",
            }
            | settings,
        },
    }
    if depth_file is not None:
        prompt["3"] = {"class_type": "LoadVideo", "inputs": {"file": depth_file}}
        prompt["2"]["inputs"]["depth_video"] = ["3", 0]
    (saved,) = output_videos(server.run(prompt))
    return read_video(server.fetch(saved, tmp_path))[0].astype(int)


def test_convert_video_takes_its_depth_from_a_video(comfy_server, tmp_path):
    """All far is no disparity: both views are the source."""
    far = comfy_server.upload(grey_clip(tmp_path / "far.mp4", 6))
    flat = convert(comfy_server, tmp_path, far, depth_kind="normalised")
    assert np.abs(flat[:, :, :320] - flat[:, :, 320:]).mean() < 2
    deep = convert(comfy_server, tmp_path, None)
    assert np.abs(deep[:, :, :320] - deep[:, :, 320:]).mean() > 4


def test_a_depth_video_of_another_length_is_refused(comfy_server, tmp_path):
    other = comfy_server.upload(grey_clip(tmp_path / "other.mp4", 9))
    with pytest.raises(ExecutionFailed, match=r"as many frames as the input \(6\), got 9"):
        convert(comfy_server, tmp_path, other)


def test_coloured_and_damaged_depth_end_in_one_line(comfy_server, files):
    colours = np.random.default_rng(0).integers(0, 255, (24, 40, 3), np.uint8)
    Image.fromarray(colours).save(files / "coloured.png")
    with pytest.raises(ExecutionFailed, match=r"depth must be grey, got colours in \d+% of .*coloured\.png"):
        comfy_server.run(load("coloured.png"))
    np.savez(files / "damaged.npz", half_near())
    (files / "damaged.npz").write_bytes((files / "damaged.npz").read_bytes()[:700])
    with pytest.raises(ExecutionFailed, match="depth must be a whole NumPy file"):
        comfy_server.run(load("damaged.npz"))


def test_depth_of_another_shape_than_the_image_is_refused(comfy_server, files):
    np.savez(files / "shape.npz", half_near())
    frames = {"class_type": "EmptyImage", "inputs": {"width": 40, "height": 40, "batch_size": 1, "color": 0}}
    prompt = load("shape.npz", image=["3", 0]) | {"3": frames}
    with pytest.raises(ExecutionFailed, match=r"aspect ratio of the input \(40x40\), got 40x24"):
        comfy_server.run(prompt)
