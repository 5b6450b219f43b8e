"""The frame matrix's nodes with tiny networks of random weights: run, preview, stop, cache, refuse."""

from __future__ import annotations

import io
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from .clips import read_video, write_clip
from .server import (
    REPOSITORY,
    ExecutionInterrupted,
    RequestRefused,
    check_memory_stays,
    output_videos,
    texts_on,
)
from .test_film_filler import write_film
from .test_interrupt_and_errors import convert_prompt
from .test_spatialdreamer import failure, fetch_pictures

WORKFLOW = REPOSITORY / "workflows" / "frame_matrix.json"
SAMPLER, FILLER = (f"SpatialDreamerFrameMatrix{name}" for name in ("Sampler", "Filler"))
CONVERT, TIL = "SpatialDreamerConvertVideo", "SpatialDreamerTILSVDSampler"
SIDE = 64  # px
COLOUR = (0x33, 0x66, 0x99)
QUICK = {"matrix_preset": "fast", "seed": 0, "views": 3, "steps": 1, "passes": 1, "max_side": 64}
QUICK |= {"reinjections": 0, "feather": 0}
MODEL = {
    "class_type": "SpatialDreamerModelLoader",
    "inputs": {"checkpoint": "svd_xt.safetensors", "weights": "none (untrained)"},
}


def fill_prompt(*, frames: int = 2, model: dict | None = None, disparity: bool = True, **options) -> dict:
    """Make a prompt that warps grey pictures, of which the left half is near, and fills what it uncovers."""
    size = {"width": SIDE, "height": SIDE}
    join = {"destination": ["far", 0], "source": ["half", 0], "x": 0, "y": 0, "operation": "add"}
    warp = {"divergence": 20.0, "convergence": 0.5, "eye": "right", "invert_depth": False}
    links = {"model": ["model", 0], "left": ["image", 0], "warped": ["warp", 0], "hole": ["warp", 1]}
    links |= {"disparity": ["warp", 2]} if disparity else {}
    return {
        "image": {"class_type": "EmptyImage", "inputs": size | {"batch_size": frames, "color": 0x336699}},
        "far": {"class_type": "SolidMask", "inputs": size | {"value": 0.0}},
        "half": {"class_type": "SolidMask", "inputs": {"width": 32, "height": SIDE, "value": 1.0}},
        "mask": {"class_type": "MaskComposite", "inputs": join},
        "depth": {"class_type": "MaskToImage", "inputs": {"mask": ["mask", 0]}},
        "warp": {
            "class_type": "SpatialDreamerDVGForwardWarp",
            "inputs": warp | {"image": ["image", 0], "depth": ["depth", 0]},
        },
        "model": {"class_type": MODEL["class_type"], "inputs": MODEL["inputs"] | (model or {})},
        "fill": {"class_type": SAMPLER, "inputs": links | QUICK | options},
        "show": {"class_type": "PreviewImage", "inputs": {"images": ["fill", 0]}},
        "views": {"class_type": "PreviewImage", "inputs": {"images": ["fill", 1]}},
        "whole": {"class_type": "PreviewImage", "inputs": {"images": ["fill", 2]}},
    }


def test_the_workflow_gives_two_views_and_shows_them_while_it_runs(
    comfy_server, svd_checkpoint, uploaded_clip, tmp_path
):
    prompt = comfy_server.api_prompt(WORKFLOW, uploaded_clip)
    nodes = {node["class_type"]: (name, node["inputs"]) for name, node in prompt.items()}
    nodes["ImageFromBatch"][1]["length"] = 2
    sampler, inputs = nodes[SAMPLER]
    inputs |= {"max_side": 128, "views": 2, "steps": 3, "passes": 1, "regions": "whole"}
    nodes["SpatialDreamerDVGForwardWarp"][1]["divergence"] = 8.0  # else holes are narrower than a latent
    outputs, told = comfy_server.run_and_watch(prompt)
    (video,) = output_videos(outputs)
    frames, _ = read_video(comfy_server.fetch(video, tmp_path))
    assert frames.shape == (2, 180, 640, 3)
    assert (frames[:, :, :320] != frames[:, :, 320:]).any()
    running, previews, bar = None, [], []
    for kind, content in told:
        if kind == "executing":
            running = content["node"]
        if kind == "preview":
            assert running == sampler
            previews.append(Image.open(io.BytesIO(content)))
        if kind == "progress" and content["node"] == sampler:
            bar.append((content["value"], content["max"]))
    assert previews
    assert previews[0].size == (256, 512), "one view above the other"
    assert bar[-1][0] == bar[-1][1]
    assert texts_on(told, sampler) == ["views: 2, steps: 3, passes a step: 1"]
    entry = comfy_server.wait_for_entry(comfy_server.queue(prompt))
    assert sampler in dict(entry["status"]["messages"])["execution_cached"]["nodes"]


def test_all_views_come_one_clip_after_the_other_from_left_to_right(comfy_server, svd_checkpoint):
    results = {}
    for all_views in (False, True):
        outputs = comfy_server.run(fill_prompt(all_views=all_views))
        results[all_views] = [
            [picture.tobytes() for picture in fetch_pictures(comfy_server, outputs, node)]
            for node in ("show", "views", "whole")
        ]
    filled, views, whole = results[True]
    assert results[False] == [filled, filled, whole]
    assert len(views) == 3 * len(filled) == 6
    assert views[:2] == [bytes(COLOUR) * SIDE**2] * 2, "the source's"
    assert views[4:] == filled
    assert not {*views[2:4]} & {*views[:2], *filled}
    prompt = fill_prompt(all_views=True)
    prompt["warp"]["inputs"]["eye"] = "left"
    outputs = comfy_server.run(prompt)
    filled, views = (fetch_pictures(comfy_server, outputs, node) for node in ("show", "views"))
    assert [picture.tobytes() for picture in views[:2]] == [picture.tobytes() for picture in filled]


def test_known_pixels_stay_and_the_hole_is_diffused(comfy_server, svd_checkpoint):
    prompt = fill_prompt(frames=1)
    prompt["hole"] = {"class_type": "MaskToImage", "inputs": {"mask": ["warp", 1]}}
    prompt["mask_shown"] = {"class_type": "PreviewImage", "inputs": {"images": ["hole", 0]}}
    outputs = comfy_server.run(prompt)
    pictures = (fetch_pictures(comfy_server, outputs, node)[0] for node in ("show", "mask_shown"))
    filled, hole = map(np.asarray, pictures)
    known = hole[..., 0] < 128
    assert known.any()
    assert not known.all()
    assert (filled[known] == COLOUR).all()
    assert len(np.unique(filled[~known], axis=0)) > 1


def test_without_disparity_one_view_is_filled_over_time_alone(comfy_server, svd_checkpoint):
    outputs, told = comfy_server.run_and_watch(fill_prompt(disparity=False, all_views=True))
    filled, views = (fetch_pictures(comfy_server, outputs, node) for node in ("show", "views"))
    assert [picture.tobytes() for picture in views] == [picture.tobytes() for picture in filled]
    (text,) = texts_on(told, "fill")
    assert text == "no disparity: one view, filled over time alone\nviews: 1, steps: 1, passes a step: 1"


def test_it_leaves_the_model_to_the_other_sampler(comfy_server, svd_checkpoint):
    """Both use one loaded SVD, in turn; neither's result depends on the other having run."""
    prompt = fill_prompt(frames=1)
    prompt["reference"] = {
        "class_type": "SpatialDreamerRefinerNetEncode",
        "inputs": {"model": ["model", 0], "left": ["image", 0], "max_side": SIDE},
    }
    links = {"model": ["model", 0], "reference": ["reference", 0], "warped": ["warp", 0], "hole": ["warp", 1]}
    options = {"deviation": 1.0, "steps": 1, "read_reference": "on"}
    sampled, shown = [], []
    for seed in (10, 11, 10):
        prompt["til"] = {"class_type": TIL, "inputs": links | options | {"seed": seed}}
        prompt["til_shown"] = {"class_type": "PreviewImage", "inputs": {"images": ["til", 0]}}
        prompt["fill"]["inputs"]["seed"] = seed
        outputs = comfy_server.run(prompt)
        for results, node in ((sampled, "til_shown"), (shown, "show")):
            results.append(fetch_pictures(comfy_server, outputs, node)[0].tobytes())
    assert sampled[0] == sampled[2] != sampled[1]
    assert shown[0] == shown[2] != shown[1]


def test_the_cache_recognises_what_holds_a_model(comfy_server, svd_checkpoint):
    prompt = fill_prompt(frames=1)
    prompt["filler"] = {"class_type": FILLER, "inputs": {"model": ["model", 0]} | QUICK}
    links = {"model": ["filler", 0], "reference": ["model", 0]}
    prompt["look"] = {"class_type": "TestsRecognisedAsModel", "inputs": links}
    told = comfy_server.run(prompt)["look"]
    assert told["recognised"] == [True, True]
    assert 0 < told["bytes"][0] < told["bytes"][1], "without RefinerNet"


def test_an_interrupt_stops_it_and_the_next_run_works(comfy_server, svd_checkpoint):
    prompt_id = comfy_server.queue(fill_prompt(steps=200, passes=20, reinjections=100))
    comfy_server.wait_until_running(prompt_id)
    time.sleep(1.0)
    comfy_server.interrupt()
    started = time.monotonic()
    with pytest.raises(ExecutionInterrupted):
        comfy_server.wait(prompt_id)
    assert time.monotonic() - started < 5
    assert len(fetch_pictures(comfy_server, comfy_server.run(fill_prompt()))) == 2


@pytest.fixture
def wide_unet(comfy_server, tiny_svd):
    """Put a UNet of 9 channels, which was trained to fill holes, into ComfyUI's folder."""
    folder = comfy_server.base / "models" / "diffusers" / "crafter"
    tiny_svd.make_unet(in_channels=9).save_pretrained(folder)
    yield "diffusers/crafter"
    shutil.rmtree(folder)


def test_a_model_of_another_sampler_is_refused_by_name(comfy_server, svd_checkpoint, wide_unet):
    text = failure(comfy_server, fill_prompt(model={"unet": wide_unet}), SAMPLER)
    assert "got one of 9 and 3, which belongs to the sampler of SpatialDreamer (TIL SVD Sampler)" in text
    assert "load svd_xt.safetensors without trained weights, or use that one" in text
    prompt = film_prompt("clip.mp4")
    prompt["look"] = {
        "class_type": "TestsRecognisedAsModel",
        "inputs": {"model": ["model", 0], "reference": ["filler", 0]},
    }
    prompt["model"]["inputs"]["unet"] = wide_unet
    for name in [name for name, node in prompt.items() if node["class_type"] in ("LoadVideo", CONVERT)]:
        del prompt[name]
    assert "(TIL SVD Sampler)" in failure(comfy_server, prompt, FILLER)


def test_what_cannot_run_is_refused(comfy_server, svd_checkpoint):
    with pytest.raises(RequestRefused, match="overlap must be between 1 and window - 1"):
        comfy_server.queue(fill_prompt(window=4, overlap=4))
    with pytest.raises(RequestRefused, match="margin must be a multiple of 64 px, got 100"):
        comfy_server.queue(fill_prompt(margin=100))
    prompt = fill_prompt()
    prompt["model"] = {
        "class_type": "SpatialDreamerM2SVidLoader",
        "inputs": {"checkpoint": "none: put m2svid_weights.pt into models/m2svid"},
    }
    with pytest.raises(RequestRefused, match="SPATIALDREAMER_M2SVID"):
        comfy_server.queue(prompt)
    prompt = fill_prompt()
    prompt["other"] = fill_prompt(frames=3)["image"]
    prompt["fill"]["inputs"]["left"] = ["other", 0]
    assert "`left` must have as many frames as `warped` (2), got 3" in failure(comfy_server, prompt, SAMPLER)


def film_prompt(file: str, **options) -> dict:
    prompt = convert_prompt(file, filename_prefix="frame_matrix/film", divergence=8.0, depth="builtin")
    (convert,) = (node for node in prompt.values() if node["class_type"] == CONVERT)
    convert["inputs"]["filler"] = ["filler", 0]
    return prompt | {
        "model": {"class_type": MODEL["class_type"], "inputs": dict(MODEL["inputs"])},
        "filler": {
            "class_type": FILLER,
            "inputs": {"model": ["model", 0]} | QUICK | {"window": 4, "overlap": 1} | options,
        },
    }


def test_a_film_and_a_photo_are_filled(comfy_server, svd_checkpoint, tmp_path):
    file = comfy_server.upload(write_clip(tmp_path / "matrix.mp4", frames=5, width=96, height=64))
    films = []
    for prompt in (film_prompt(file), convert_prompt(file, divergence=8.0, depth="builtin")):
        (video,) = output_videos(comfy_server.run(prompt))
        films.append(read_video(comfy_server.fetch(video, tmp_path))[0])
        assert films[-1].shape == (5, 64, 192, 3)
    difference = np.abs(films[0].astype(int) - films[1])
    assert difference[:, :, :96].mean() < 2, "the source's half"
    assert difference[:, :, 96:].max() > 40
    prompt = film_prompt(file)
    (name,) = (name for name, node in prompt.items() if node["class_type"] == CONVERT)
    picture = {"format": "full_sbs", "divergence": 8.0, "convergence": 0.5, "eye": "right"}
    prompt["image"] = fill_prompt(frames=1)["image"]
    prompt[name] = {
        "class_type": "SpatialDreamerImageToStereo",
        "inputs": picture | {"image": ["image", 0], "depth": "builtin", "filler": ["filler", 0]},
    }
    prompt["show"] = {"class_type": "PreviewImage", "inputs": {"images": [name, 0]}}
    pictures = fetch_pictures(comfy_server, comfy_server.run(prompt))
    assert [picture.size for picture in pictures] == [(2 * SIDE, SIDE)]


@pytest.mark.slow
def test_a_film_of_100_frames_takes_the_memory_of_a_window(comfy_server, svd_checkpoint, tmp_path):
    """One frame's views kept as floats would add several % from the first third of the film to its last."""
    memory = []
    for length in (10, 100):  # the first run brings what stays in memory
        parts = ((0, length * 2 // 5), (1, length * 2 // 5), (2, length // 5))
        film = write_film(tmp_path / f"matrix{length}.mkv", *parts)
        prompt_id = comfy_server.queue(film_prompt(comfy_server.upload(film), seed=length))
        memory = comfy_server.watch_memory(prompt_id)
        (video,) = output_videos(comfy_server.wait(prompt_id))
        assert len(read_video(comfy_server.fetch(video, tmp_path))[0]) == length
    check_memory_stays(memory)
