"""M2SVid's nodes with tiny networks of random weights: run, preview, stop, cache, refuse."""

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

WORKFLOW = REPOSITORY / "workflows" / "m2svid.json"
LOADER, REFINER, FILLER = (f"SpatialDreamerM2SVid{name}" for name in ("Loader", "Refiner", "Filler"))
SIDE = 64  # px
COLOUR = (0x33, 0x66, 0x99)


def refine_prompt(*, frames: int = 2, model: dict | None = None, **options) -> dict:
    """Make a prompt that refines grey pictures, of which the left half is a hole."""
    size = {"width": SIDE, "height": SIDE}
    links = {"model": ["model", 0], "left": ["image", 0], "warped": ["image", 0], "hole": ["hole", 0]}
    join = {"destination": ["known", 0], "source": ["half", 0], "x": 0, "y": 0, "operation": "add"}
    model = {"checkpoint": "m2svid_weights.pt"} | (model or {})
    options = {"keep_known": False, "max_side": 128} | options
    return {
        "image": {"class_type": "EmptyImage", "inputs": size | {"batch_size": frames, "color": 0x336699}},
        "known": {"class_type": "SolidMask", "inputs": size | {"value": 0.0}},
        "half": {"class_type": "SolidMask", "inputs": {"width": 32, "height": SIDE, "value": 1.0}},
        "hole": {"class_type": "MaskComposite", "inputs": join},
        "model": {"class_type": LOADER, "inputs": model},
        "refine": {"class_type": REFINER, "inputs": links | options},
        "show": {"class_type": "PreviewImage", "inputs": {"images": ["refine", 0]}},
        "whole": {"class_type": "PreviewImage", "inputs": {"images": ["refine", 1]}},
    }


def test_without_a_file_the_node_says_where_to_get_one(comfy_server):
    widget = comfy_server.pack_info()[LOADER]["input"]["required"]["checkpoint"]
    assert widget[1]["options"] == ["none: put m2svid_weights.pt into models/m2svid"]
    text = failure(comfy_server, refine_prompt(), LOADER)
    assert "got 'm2svid_weights.pt'" in text
    assert "https://storage.googleapis.com/gresearch/m2svid/m2svid_weights.pt" in text
    assert str(comfy_server.base / "models" / "m2svid") in text


def test_the_workflow_gives_two_views_and_shows_previews(
    comfy_server, m2svid_checkpoint, uploaded_clip, tmp_path
):
    prompt = comfy_server.api_prompt(WORKFLOW, uploaded_clip)
    nodes = {node["class_type"]: (name, node["inputs"]) for name, node in prompt.items()}
    nodes["ImageFromBatch"][1]["length"] = 3
    refiner, inputs = nodes[REFINER]
    inputs["max_side"] = 128
    outputs, told = comfy_server.run_and_watch(prompt)
    (video,) = output_videos(outputs)
    frames, _ = read_video(comfy_server.fetch(video, tmp_path))
    assert frames.shape == (3, 180, 640, 3)
    assert (frames[:, :, :320] != frames[:, :, 320:]).any()
    running, previews = None, []
    for kind, content in told:
        if kind == "executing":
            running = content["node"]
        if kind == "preview":
            assert running == refiner
            previews.append(Image.open(io.BytesIO(content)))
    assert previews
    assert previews[0].size == (512, 288)
    assert any("M2SVid ran on 100 % of the frames' area" in text for text in texts_on(told, refiner))
    entry = comfy_server.wait_for_entry(comfy_server.queue(prompt))
    assert refiner in dict(entry["status"]["messages"])["execution_cached"]["nodes"]


def test_keep_known_chooses_between_composite_and_whole_view(comfy_server, m2svid_checkpoint):
    left, right = (0, 0, 32, SIDE), (40, 0, SIDE, SIDE)
    views = {}
    for keep in (False, True):
        outputs = comfy_server.run(refine_prompt(keep_known=keep))
        views[keep] = [fetch_pictures(comfy_server, outputs, node)[0] for node in ("show", "whole")]
    assert views[False][0].tobytes() == views[False][1].tobytes()
    assert views[False][0].crop(right).getcolors() != [(24 * SIDE, COLOUR)]
    assert views[True][0].crop(right).getcolors() == [(24 * SIDE, COLOUR)]
    assert len(views[True][0].crop(left).getcolors(SIDE**2)) > 1


def test_an_empty_mask_returns_the_warp_at_once(comfy_server, m2svid_checkpoint):
    prompt = refine_prompt(frames=1)
    prompt["half"]["inputs"]["value"] = 0.0
    outputs, told = comfy_server.run_and_watch(prompt)
    (picture,) = fetch_pictures(comfy_server, outputs)
    assert picture.getcolors() == [(SIDE * SIDE, COLOUR)]
    assert texts_on(told, "refine") == ["M2SVid ran on 0 % of the frames' area"]


@pytest.mark.parametrize("convergence", [0.0, 0.5])
def test_the_disparity_wire_tells_shift_and_eye(comfy_server, m2svid_checkpoint, convergence):
    """What the wire says gives what the widgets say; without either, negative disparities are told."""
    warp = {
        "image": ["image", 0],
        "depth": ["depth", 0],
        "invert_depth": False,
        "divergence": 10.0,
        "convergence": convergence,
        "eye": "left",
    }
    base = {
        "depth": {"class_type": "MaskToImage", "inputs": {"mask": ["hole", 0]}},
        "warp": {"class_type": "SpatialDreamerDVGForwardWarp", "inputs": warp},
    }
    pictures = {}
    for name, options in (
        ("wire", {"disparity": ["warp", 2]}),
        ("widgets", {"eye": "left", "shift": convergence * 10.0 / 100 * SIDE}),
        ("nothing", {}),
    ):
        prompt = refine_prompt(frames=1, warped=["warp", 0], hole=["warp", 1], **options) | base
        (picture,) = fetch_pictures(comfy_server, comfy_server.run(prompt))
        pictures[name] = picture.tobytes()
    assert pictures["wire"] == pictures["widgets"] != pictures["nothing"]


def test_the_cache_recognises_what_holds_a_model(comfy_server, m2svid_checkpoint):
    prompt = refine_prompt(frames=1)
    prompt["filler"] = {
        "class_type": FILLER,
        "inputs": {"model": ["model", 0], "keep_known": True, "max_side": 128},
    }
    links = {"model": ["model", 0], "reference": ["filler", 0]}
    prompt["look"] = {"class_type": "TestsRecognisedAsModel", "inputs": links}
    told = comfy_server.run(prompt)["look"]
    assert told["recognised"] == [True, True]
    assert told["bytes"][0] == told["bytes"][1] > 0


def test_an_interrupt_stops_it_and_the_next_run_works(comfy_server, m2svid_checkpoint):
    prompt_id = comfy_server.queue(refine_prompt(frames=200, window=2, overlap=1))
    comfy_server.wait_until_running(prompt_id)
    time.sleep(1.0)
    comfy_server.interrupt()
    started = time.monotonic()
    with pytest.raises(ExecutionInterrupted):
        comfy_server.wait(prompt_id)
    assert time.monotonic() - started < 5
    assert len(fetch_pictures(comfy_server, comfy_server.run(refine_prompt()))) == 2


def test_files_in_the_wrong_slot(comfy_server, m2svid_checkpoint, svd_checkpoint):
    wrong = m2svid_checkpoint.with_name("svd_m2svid_weights.safetensors")
    shutil.copyfile(svd_checkpoint, wrong)
    text = failure(comfy_server, refine_prompt(model={"checkpoint": wrong.name}), LOADER)
    wrong.unlink()
    assert "Stable Video Diffusion" in text
    save_file = pytest.importorskip("safetensors.torch").save_file
    torch = pytest.importorskip("torch")
    wrong = svd_checkpoint.with_name("m2svid.safetensors")
    state = torch.load(m2svid_checkpoint, weights_only=True)["module"]
    save_file(state, wrong)
    model = {"checkpoint": wrong.name, "weights": "none (untrained)"}
    prompt = refine_prompt() | {
        "model": {"class_type": "SpatialDreamerModelLoader", "inputs": model},
        "refine": {
            "class_type": "SpatialDreamerRefinerNetEncode",
            "inputs": {"model": ["model", 0], "left": ["image", 0], "max_side": SIDE},
        },
    }
    del prompt["show"], prompt["whole"]
    prompt["look"] = {
        "class_type": "TestsRecognisedAsModel",
        "inputs": {"model": ["model", 0], "reference": ["refine", 0]},
    }
    text = failure(comfy_server, prompt, "SpatialDreamerModelLoader")
    wrong.unlink()
    assert "M2SVid" in text


def test_a_damaged_file_and_choices_that_are_not_there(comfy_server, m2svid_checkpoint):
    half = m2svid_checkpoint.with_name("m2svid_weights_half.pt")
    half.write_bytes(m2svid_checkpoint.read_bytes()[:-5000])
    text = failure(comfy_server, refine_prompt(model={"checkpoint": half.name}), LOADER)
    half.unlink()
    assert "download it again" in text
    text = failure(comfy_server, refine_prompt(model={"svd": "lost.safetensors"}), LOADER)
    assert "`svd` must be 'none' or one of those that are there" in text
    text = failure(comfy_server, refine_prompt(model={"variant": "no_full_attention"}), LOADER)
    assert "choose the other file" in text


def test_what_cannot_run_is_refused_when_it_is_queued(comfy_server, m2svid_checkpoint):
    with pytest.raises(RequestRefused, match="overlap must be between 0 and window - 1"):
        comfy_server.queue(refine_prompt(window=4, overlap=4))
    with pytest.raises(RequestRefused, match="shift"):
        comfy_server.queue(refine_prompt(shift=-1.0))
    prompt = refine_prompt()
    prompt["other"] = refine_prompt(frames=3)["image"]
    prompt["refine"]["inputs"]["left"] = ["other", 0]
    assert "`left` must have as many frames as `warped` (2), got 3" in failure(comfy_server, prompt, REFINER)


def film_prompt(file: str, **options) -> dict:
    prompt = convert_prompt(file, filename_prefix="m2svid/film", divergence=8.0, depth="builtin")
    (convert,) = (node for node in prompt.values() if node["class_type"] == "SpatialDreamerConvertVideo")
    convert["inputs"]["filler"] = ["filler", 0]
    options = {"keep_known": True, "max_side": 128, "window": 5, "overlap": 2} | options
    return prompt | {
        "model": {"class_type": LOADER, "inputs": {"checkpoint": "m2svid_weights.pt"}},
        "filler": {"class_type": FILLER, "inputs": {"model": ["model", 0]} | options},
    }


def test_a_film_and_pictures_are_filled(comfy_server, m2svid_checkpoint, tmp_path):
    file = comfy_server.upload(write_clip(tmp_path / "m2svid.mp4", frames=5, width=96, height=64))
    views = {}
    for keep in (True, False):
        (video,) = output_videos(comfy_server.run(film_prompt(file, keep_known=keep, window=3, overlap=1)))
        views[keep] = read_video(comfy_server.fetch(video, tmp_path))[0]
        assert views[keep].shape == (5, 64, 192, 3)
    difference = np.abs(views[True].astype(int) - views[False])
    assert difference[:, :, :96].mean() < 2, "the source's half"
    assert difference[:, :, 96:].mean() > 5
    prompt = film_prompt(file)
    (name,) = (name for name, node in prompt.items() if node["class_type"] == "SpatialDreamerConvertVideo")
    del prompt[name]
    prompt["image"] = refine_prompt()["image"]
    picture = {"format": "full_sbs", "divergence": 8.0, "convergence": 0.5, "eye": "right"}
    prompt["convert"] = {
        "class_type": "SpatialDreamerImageToStereo",
        "inputs": picture | {"image": ["image", 0], "depth": "builtin", "filler": ["filler", 0]},
    }
    prompt["show"] = {"class_type": "PreviewImage", "inputs": {"images": ["convert", 0]}}
    pictures = fetch_pictures(comfy_server, comfy_server.run(prompt))
    assert [picture.size for picture in pictures] == [(2 * SIDE, SIDE)] * 2


@pytest.mark.slow
def test_a_film_of_any_length_takes_the_memory_of_a_window(comfy_server, m2svid_checkpoint, tmp_path):
    """One frame's views kept as floats would add 3 % from the first third of the long film to its last."""
    memory = []
    for length in (20, 300):  # the first run brings what stays in memory
        parts = ((0, length * 2 // 5), (1, length * 2 // 5), (2, length // 5))
        film = write_film(tmp_path / f"m2svid{length}.mkv", *parts)
        prompt_id = comfy_server.queue(film_prompt(comfy_server.upload(film), seed=length))
        memory = comfy_server.watch_memory(prompt_id)
        (video,) = output_videos(comfy_server.wait(prompt_id))
        assert len(read_video(comfy_server.fetch(video, tmp_path))[0]) == length
    check_memory_stays(memory)
