"""A cancelled conversion leaves nothing behind; a mistake is answered by a sentence that says what to do."""

from __future__ import annotations

import re
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
    for stage in ("decode", "flow", "depth", "disparity", "warp", "fill", "pack", "encode"):
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


NAN = float("nan")


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"divergence": NAN}, "divergence must be between 0 and 20"),
        ({"depth_stability": NAN}, "depth_stability must be between"),
        ({"depth_gamma": "nan"}, "depth_gamma must be between"),
        ({"depth_near": 0.4, "depth_far": 0.4}, "depth_near must be at least 0.01 above depth_far"),
        ({"depth_near": 0.2, "depth_far": 0.9}, "depth_near must be at least 0.01 above depth_far"),
        ({"filename_prefix": ""}, "filename_prefix must be the start of a file name"),
        ({"filename_prefix": "  "}, "filename_prefix must be the start of a file name"),
        ({"filename_prefix": "folder/.."}, "filename_prefix must be the start of a file name"),
        ({"filename_prefix": "a\0b"}, "filename_prefix must be the start of a file name"),
    ],
)
def test_what_cannot_run_is_refused_when_it_is_queued(comfy_server, uploaded_clip, inputs, said):
    with pytest.raises(RequestRefused) as caught:
        comfy_server.queue(convert_prompt(uploaded_clip, **inputs))
    assert str(caught.value).count(said) == 2, "once as details, once as the exception's message"


def sampler_prompt(**inputs) -> dict:
    """A sampler whose inputs are never made: the prompt is refused, or fails for want of a checkpoint."""
    loader = {"checkpoint": "there is none", "weights": "none (untrained)"}
    encoder = {"model": ["1", 0], "left": ["3", 0], "max_side": 128}
    settings = {"model": ["1", 0], "reference": ["2", 0], "warped": ["3", 0], "hole": ["4", 0]}
    return {
        "1": {"class_type": "SpatialDreamerModelLoader", "inputs": loader},
        "2": {"class_type": "SpatialDreamerRefinerNetEncode", "inputs": encoder},
        "3": images((64, 64)),
        "4": mask((64, 64)),
        "5": {
            "class_type": "SpatialDreamerTILSVDSampler",
            "inputs": settings | {"deviation": 1.0, "steps": 2, "seed": 0} | inputs,
        },
        "6": {"class_type": "PreviewImage", "inputs": {"images": ["5", 0]}},
        "7": {"class_type": "PrimitiveInt", "inputs": {"value": 3}},
    }


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"window": 4, "overlap": 4}, "overlap must be between 0 and window - 1"),
        ({"window": 4}, "overlap must be between 0 and window - 1"),
        ({"window": -1, "overlap": 0}, "window must be between 0"),
        ({"tile": 64}, "tile must be between 256"),
        ({"tile": 192}, "tile must be between 256"),
        ({"tile": 300}, "tile must be a multiple of 64"),
        ({"deviation": NAN}, "deviation must be between"),
        ({"strength": NAN}, "strength must be between"),
        ({"guidance_max": NAN}, "guidance_max must be between"),
        ({"noise_augmentation": NAN}, "noise_augmentation must be between"),
        ({"noise_augmentation": -0.5}, "noise_augmentation must be between 0 and 1"),
        ({"fps": 0.5}, "fps must be between 1 and 240"),
        ({"fps": NAN}, "fps must be between 1 and 240"),
        ({"motion_bucket": -2}, "motion_bucket must be between 0 and 255"),
        ({"read_reference": "sometimes"}, "read_reference must be one of auto, on, off"),
    ],
)
def test_a_sampler_that_cannot_run_is_refused_when_it_is_queued(comfy_server, inputs, said):
    with pytest.raises(RequestRefused, match=said):
        comfy_server.queue(sampler_prompt(**inputs))


@pytest.mark.parametrize("inputs", [{"overlap": ["7", 0], "window": 3}, {"window": ["7", 0]}, {"tile": 256}])
def test_a_value_that_a_link_will_bring_is_not_judged_when_it_is_queued(comfy_server, inputs):
    with pytest.raises((ExecutionFailed, RequestRefused), match="checkpoint") as caught:
        comfy_server.run(sampler_prompt(**inputs))
    assert not any(f"{name} must be" in str(caught.value) for name in inputs)


def test_an_error_is_of_a_class_without_a_path(comfy_server, tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    prompt = convert_prompt(comfy_server.upload(tmp_path / "text.mp4"))
    prompt_id = comfy_server.queue(prompt)
    with pytest.raises(ExecutionFailed):
        comfy_server.wait(prompt_id)
    messages = dict(comfy_server.get(f"/history/{prompt_id}")[prompt_id]["status"]["messages"])
    assert messages["execution_error"]["exception_type"] == "InputError"


def test_a_single_mask_and_depth_map_serve_every_frame(comfy_server, tmp_path):
    prompt = {
        "1": images((64, 48), frames=3),
        "2": images((64, 48), frames=1),
        "3": {
            "class_type": "SpatialDreamerDVGForwardWarp",
            "inputs": {"image": ["1", 0], "depth": ["2", 0], "invert_depth": False}
            | {"divergence": 2.5, "convergence": 0.5, "eye": "right"},
        },
        "4": mask((64, 48)),
        "5": {"class_type": "SpatialDreamerOpticalFlow", "inputs": {"image": ["1", 0], "method": "dis_fast"}},
        "6": {
            "class_type": "SpatialDreamerRefineHoleMask",
            "inputs": {"hole": ["4", 0], "flow": ["5", 0], "disparity": ["3", 2], "dilate": 1},
        },
        "7": {
            "class_type": "SpatialDreamerFastFill",
            "inputs": {"left": ["1", 0], "warped": ["3", 0], "hole": ["4", 0], "disparity": ["3", 2]},
        },
        "8": {
            "class_type": "SpatialDreamerComposite",
            "inputs": {"warped": ["3", 0], "filled": ["7", 0], "hole": ["4", 0], "dilate": 1, "feather": 2},
        },
        "9": {"class_type": "MaskToImage", "inputs": {"mask": ["6", 0]}},
    }
    for node, frames in (("8", 3), ("9", 3)):
        prompt["10"] = {"class_type": "PreviewImage", "inputs": {"images": [node, 0]}}
        assert len(comfy_server.run(prompt)["10"]["images"]) == frames


def test_dates_in_the_name_of_a_file(comfy_server, tmp_path):
    short = comfy_server.upload(write_clip(tmp_path / "dated.mp4", frames=2))
    prefix = "dated/%date:yyyy-MM-dd%_%year%"
    (video,) = output_videos(comfy_server.run(convert_prompt(short, filename_prefix=prefix)))
    assert re.fullmatch(r"(\d{4})-\d\d-\d\d_\1_00001_LRF_Full_SBS.mp4", video["filename"])


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
