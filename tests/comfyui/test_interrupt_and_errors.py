"""A cancelled conversion leaves nothing behind; a mistake is answered by a sentence that says what to do."""

from __future__ import annotations

import time

import pytest

from .clips import write_clip
from .server import ExecutionFailed, ExecutionInterrupted, RequestRefused, output_videos


def convert_prompt(file: str, **inputs) -> dict:
    settings = {
        "video": ["1", 0],
        "format": "full_sbs",
        "divergence": 2.5,
        "convergence": 0.5,
        "eye": "right",
        "depth": "builtin",
        "crf": 18,
        "filename_prefix": "cancelled/film",
    }
    return {
        "1": {"class_type": "LoadVideo", "inputs": {"file": file}},
        "2": {"class_type": "SpatialDreamerConvertVideo", "inputs": settings | inputs},
    }


def images(size: tuple[int, int], frames: int = 2) -> dict:
    inputs = {"width": size[0], "height": size[1], "batch_size": frames, "color": 0x808080}
    return {"class_type": "EmptyImage", "inputs": inputs}


def mask(size: tuple[int, int]) -> dict:
    return {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": size[0], "height": size[1]}}


def failure(server, prompt: dict) -> str:
    """Run a prompt that must fail and return what the user reads."""
    with pytest.raises(ExecutionFailed) as caught:
        server.run(prompt)
    text = str(caught.value)
    assert caught.value.node_type.startswith("SpatialDreamer"), text
    assert "Traceback" not in text
    return text


def test_interrupting_a_conversion_leaves_no_file_and_the_next_one_works(comfy_server, tmp_path):
    long_clip = comfy_server.upload(write_clip(tmp_path / "long.mp4", frames=240, width=640, height=360))
    for seconds in (0.5, 3):
        prompt_id = comfy_server.queue(convert_prompt(long_clip))
        comfy_server.wait_until_running(prompt_id)
        time.sleep(seconds)
        comfy_server.interrupt()
        started = time.monotonic()
        with pytest.raises(ExecutionInterrupted):
            comfy_server.wait(prompt_id)
        assert time.monotonic() - started < 10
        left = [path for path in (comfy_server.base / "output" / "cancelled").rglob("*") if path.is_file()]
        assert left == []
        assert list((comfy_server.base / "temp").rglob("spatialdreamer*")) == []

    short = comfy_server.upload(write_clip(tmp_path / "short.mp4", frames=3))
    assert len(output_videos(comfy_server.run(convert_prompt(short)))) == 1


@pytest.mark.parametrize("frame", [7, *(pytest.param(frame, marks=pytest.mark.slow) for frame in (0, 1, 11))])
def test_a_stage_that_fails_leaves_nothing_and_the_next_conversion_works(comfy_server, tmp_path, frame):
    clip = comfy_server.upload(write_clip(tmp_path / "twelve.mp4", frames=12, width=96, height=64))
    for stage in ("decode", "flow", "depth", "disparity", "warp", "refine", "fill", "pack", "encode"):
        prompt = convert_prompt(clip, video=["3", 0], filename_prefix="failed/film")
        prompt["3"] = {
            "class_type": "TestsFailAt",
            "inputs": {"video": ["1", 0], "stage": stage, "frame": frame},
        }
        said = failure(comfy_server, prompt)
        expected = "memory must suffice for the work" if frame == 1 else f"{stage} broke at {frame}"
        assert expected in said
        left = [path for path in (comfy_server.base / "output" / "failed").rglob("*") if path.is_file()]
        assert left == []
        look = {"1": {"class_type": "TestsOpenThings", "inputs": {}}}
        assert comfy_server.run(look).get("1", {}).get("open", []) == []
    assert len(output_videos(comfy_server.run(convert_prompt(clip)))) == 1


@pytest.mark.parametrize(
    ("inputs", "named"),
    [({"divergence": 35.0}, "divergence"), ({"convergence": -1.0}, "convergence"), ({"crf": 60}, "crf")],
)
def test_a_widget_out_of_range_is_refused_at_once(comfy_server, uploaded_clip, inputs, named):
    with pytest.raises(RequestRefused, match=named):
        comfy_server.queue(convert_prompt(uploaded_clip, **inputs))


def test_an_unknown_choice_is_answered_with_the_choices(comfy_server, uploaded_clip):
    # 0.3.75 does not check the choices of V3 nodes itself; newer versions refuse the prompt.
    with pytest.raises((ExecutionFailed, RequestRefused), match=r"format.*triple") as caught:
        comfy_server.run(convert_prompt(uploaded_clip, format="triple"))
    assert "half_sbs" in str(caught.value)


def test_an_output_path_outside_the_output_folder_is_refused(comfy_server, uploaded_clip):
    before = set(comfy_server.base.rglob("*.mp4"))
    text = failure(comfy_server, convert_prompt(uploaded_clip, filename_prefix="../../escape"))
    assert "outside" in text.lower()
    assert set(comfy_server.base.rglob("*.mp4")) == before


def test_a_file_that_is_no_video(comfy_server, tmp_path):
    (tmp_path / "notes.mp4").write_text("not a video")
    text = failure(comfy_server, convert_prompt(comfy_server.upload(tmp_path / "notes.mp4")))
    assert "notes.mp4" in text


def test_depth_of_another_shape(comfy_server):
    prompt = {
        "1": images((64, 48)),
        "2": images((48, 64)),
        "3": {
            "class_type": "SpatialDreamerDVGForwardWarp",
            "inputs": {
                "image": ["1", 0],
                "depth": ["2", 0],
                "invert_depth": False,
                "divergence": 2.5,
                "convergence": 0.5,
                "eye": "right",
            },
        },
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }
    text = failure(comfy_server, prompt)
    assert "`depth`" in text
    assert "64x48" in text
    assert "48x64" in text
    prompt["2"] = images((64, 48), frames=3)
    text = failure(comfy_server, prompt)
    assert "as many frames as" in text
    assert "got 3" in text


def test_views_of_different_sizes(comfy_server):
    prompt = {
        "1": images((64, 48)),
        "2": images((32, 48)),
        "3": {
            "class_type": "SpatialDreamerSBSPacker",
            "inputs": {"left": ["1", 0], "right": ["2", 0], "format": "full_sbs"},
        },
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }
    text = failure(comfy_server, prompt)
    assert "64x48" in text
    assert "32x48" in text


def test_a_mask_of_another_size(comfy_server):
    prompt = {
        "1": images((64, 48), frames=1),
        "2": mask((32, 48)),
        "3": {
            "class_type": "SpatialDreamerFastFill",
            "inputs": {"left": ["1", 0], "warped": ["1", 0], "hole": ["2", 0]},
        },
        "4": {
            "class_type": "SpatialDreamerComposite",
            "inputs": {"warped": ["1", 0], "filled": ["1", 0], "hole": ["2", 0], "dilate": 0},
        },
    }
    for node in ("3", "4"):
        prompt["5"] = {"class_type": "PreviewImage", "inputs": {"images": [node, 0]}}
        text = failure(comfy_server, prompt)
        assert "`hole`" in text
        assert "32x48" in text
