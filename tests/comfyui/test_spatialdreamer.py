"""SpatialDreamer's nodes with tiny networks of random weights: run, preview, stop, cache, refuse."""

from __future__ import annotations

import importlib
import io
import json
import os
import shutil
import time

import pytest
from PIL import Image

from .clips import read_video
from .server import REPOSITORY, ExecutionFailed, ExecutionInterrupted, RequestRefused, output_videos

WORKFLOW = REPOSITORY / "workflows" / "spatialdreamer.json"
SIDE = 64  # px
REFINED = "RefinerNet encodes frames"  # in the log, once a window
MODEL, REFERENCE, SAMPLER = (
    "SpatialDreamerModelLoader",
    "SpatialDreamerRefinerNetEncode",
    "SpatialDreamerTILSVDSampler",
)


def fill_prompt(*, frames: int = 1, mask: float = 1.0, model: dict | None = None, **options) -> dict:
    """Make a prompt that fills grey pictures, of which one frame's mask is repeated."""
    size = {"width": SIDE, "height": SIDE}
    model = {"checkpoint": "svd_xt.safetensors", "weights": "none (untrained)"} | (model or {})
    options = {"deviation": 1.0, "steps": 2, "seed": 0, "passes": 1} | options
    links = {
        "model": ["model", 0],
        "reference": ["reference", 0],
        "warped": ["image", 0],
        "hole": ["hole", 0],
    }
    return {
        "image": {"class_type": "EmptyImage", "inputs": size | {"batch_size": frames, "color": 0x336699}},
        "mask": {"class_type": "SolidMask", "inputs": size | {"value": mask}},
        "picture": {"class_type": "MaskToImage", "inputs": {"mask": ["mask", 0]}},
        "batch": {"class_type": "RepeatImageBatch", "inputs": {"image": ["picture", 0], "amount": frames}},
        "hole": {"class_type": "ImageToMask", "inputs": {"image": ["batch", 0], "channel": "red"}},
        "model": {"class_type": MODEL, "inputs": model},
        "reference": {
            "class_type": REFERENCE,
            "inputs": {"model": ["model", 0], "left": ["image", 0], "max_side": SIDE},
        },
        "sampler": {"class_type": SAMPLER, "inputs": links | options},
        "show": {"class_type": "PreviewImage", "inputs": {"images": ["sampler", 0]}},
    }


def fetch_pictures(server, outputs: dict, node: str = "show") -> list[Image.Image]:
    from urllib.parse import urlencode

    return [
        Image.open(io.BytesIO(server.read("/view?" + urlencode(file)))) for file in outputs[node]["images"]
    ]


def failure(server, prompt: dict, node_type: str) -> str:
    """Run a prompt that must fail in a node and return what the user reads."""
    with pytest.raises(ExecutionFailed) as caught:
        server.run(prompt)
    assert caught.value.node_type == node_type
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


def choices(server, section: str, widget: str) -> list[str]:
    return server.pack_info()[MODEL]["input"][section][widget][1]["options"]


def test_without_a_checkpoint_the_node_says_where_to_get_one(comfy_server):
    (choice,) = choices(comfy_server, "required", "checkpoint")
    assert choice == "none: put svd_xt.safetensors into models/checkpoints"
    text = failure(comfy_server, fill_prompt(model={"checkpoint": "svd_xt.safetensors"}), MODEL)
    assert "got 'svd_xt.safetensors'" in text
    assert (
        "https://huggingface.co/stabilityai/stable-video-diffusion-img2vid-xt/resolve/main/svd_xt.safe"
        in text
    )
    assert str(comfy_server.base / "models" / "checkpoints") in text


def test_the_workflow_gives_two_views_and_shows_previews(
    comfy_server, svd_checkpoint, uploaded_clip, tmp_path
):
    prompt = comfy_server.api_prompt(WORKFLOW, uploaded_clip)
    nodes = {node["class_type"]: (name, node["inputs"]) for name, node in prompt.items()}
    nodes["ImageFromBatch"][1]["length"] = 3
    nodes[REFERENCE][1]["max_side"] = 128
    sampler, inputs = nodes[SAMPLER]
    inputs["steps"] = 5  # of which the workflow's strength leaves 2
    inputs["passes"] = 2
    outputs, told = comfy_server.run_and_watch(prompt)
    (video,) = output_videos(outputs)
    frames, _ = read_video(comfy_server.fetch(video, tmp_path))
    assert frames.shape == (3, 180, 640, 3)
    assert (frames[:, :, :320] != frames[:, :, 320:]).any()
    running = None
    previews = []
    for kind, content in told:
        if kind == "executing":
            running = content["node"]
        if kind == "preview":
            assert running == sampler
            previews.append(Image.open(io.BytesIO(content)))
    assert len(previews) == 3, "one a pass; the last level has one"
    assert len({preview.tobytes() for preview in previews}) == 3


def test_the_slider_alone_computes_nothing_of_the_reference_anew(comfy_server, svd_checkpoint):
    options = {"frames": 2, "seed": 5, "read_reference": "on"}
    comfy_server.run(fill_prompt(**options))
    before = comfy_server.log().count(REFINED)
    entry = comfy_server.wait_for_entry(comfy_server.queue(fill_prompt(**options, deviation=2.0)))
    cached = dict(entry["status"]["messages"])["execution_cached"]["nodes"]
    assert {"model", "reference"} <= set(cached)
    assert "sampler" not in cached
    assert before > 0
    assert comfy_server.log().count(REFINED) == before


def test_the_whole_view_is_shown_beside_the_filled_one(comfy_server, svd_checkpoint):
    prompt = fill_prompt(frames=2, mask=0.0, seed=7)
    prompt["half"] = {"class_type": "SolidMask", "inputs": {"width": 32, "height": SIDE, "value": 1.0}}
    prompt["joined"] = {
        "class_type": "MaskComposite",
        "inputs": {"destination": ["hole", 0], "source": ["half", 0], "x": 0, "y": 0, "operation": "add"},
    }
    prompt["sampler"]["inputs"] |= {"hole": ["joined", 0], "feather": 0}
    prompt["whole"] = {"class_type": "PreviewImage", "inputs": {"images": ["sampler", 1]}}
    outputs = comfy_server.run(prompt)
    filled, whole = (fetch_pictures(comfy_server, outputs, node)[0] for node in ("show", "whole"))
    left, right = (0, 0, 32, SIDE), (32, 0, SIDE, SIDE)
    assert filled.crop(right).getcolors() == [(32 * SIDE, (0x33, 0x66, 0x99))]
    assert len(whole.crop(right).getcolors(SIDE**2)) > 1
    assert whole.crop(left).tobytes() == filled.crop(left).tobytes()


def test_a_small_clip_is_diffused_at_the_size_that_the_model_knows(comfy_server, svd_checkpoint):
    prompt = fill_prompt(steps=1, seed=8)
    prompt["reference"]["inputs"]["max_side"] = 256
    (picture,) = fetch_pictures(comfy_server, comfy_server.run(prompt))
    assert picture.size == (SIDE, SIDE)
    (plain,) = fetch_pictures(comfy_server, comfy_server.run(fill_prompt(steps=1, seed=8)))
    assert picture.tobytes() != plain.tobytes()


def test_what_workflows_of_before_have_on_their_widgets_runs_as_before(comfy_server, svd_checkpoint):
    old = {"read_reference": True, "window": 14, "noise_augmentation": 0.02, "strength": 1.0}
    new = {"read_reference": "on", "window": 14, "fps": 7.0, "motion_bucket": 127}
    pictures = [
        fetch_pictures(comfy_server, comfy_server.run(fill_prompt(**values))) for values in (old, new)
    ]
    assert pictures[0][0].tobytes() == pictures[1][0].tobytes()
    off = fetch_pictures(comfy_server, comfy_server.run(fill_prompt(**old | {"read_reference": False})))
    assert off[0].tobytes() != pictures[0][0].tobytes()


def test_a_workflow_of_before_opens_with_its_values(comfy_server, tmp_path):
    """New widgets come last, so that the values of a saved workflow, which have no names, stay in place."""
    workflow = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    nodes = {node["type"]: node for node in workflow["nodes"]}
    values = nodes[SAMPLER]["widgets_values"]
    values[8], values[9], values[15:] = True, 14, [0.02]
    del nodes[SAMPLER]["inputs"][-4:], nodes[SAMPLER]["outputs"][1:]
    del nodes[MODEL]["widgets_values"][4:], nodes[MODEL]["inputs"][4:]
    (tmp_path / "old.json").write_text(json.dumps(workflow), encoding="utf-8")
    prompt = comfy_server.api_prompt(tmp_path / "old.json", "clip.mp4")
    inputs = {node["class_type"]: node["inputs"] for node in prompt.values()}
    expected = {"read_reference": True, "window": 14, "noise_augmentation": 0.02, "feather": 4, "overlap": 4}
    assert expected.items() <= inputs[SAMPLER].items()
    assert inputs[SAMPLER].get("fps", -1) == inputs[SAMPLER].get("motion_bucket", -1) == -1
    assert (inputs[SAMPLER].get("passes", 5), inputs[SAMPLER].get("known_latents", "auto")) == (5, "auto")
    assert inputs[MODEL]["precision"] == "auto"
    assert inputs[MODEL].get("refiner", "from SVD") == "from SVD"


def test_the_frame_rate_is_the_clips(comfy_server, svd_checkpoint, uploaded_clip):
    prompt = fill_prompt(steps=1, seed=3)
    prompt["video"] = {"class_type": "LoadVideo", "inputs": {"file": uploaded_clip}}
    prompt["clip"] = {"class_type": "GetVideoComponents", "inputs": {"video": ["video", 0]}}
    prompt["sampler"]["inputs"]["fps"] = ["clip", 2]
    linked = fetch_pictures(comfy_server, comfy_server.run(prompt))
    plain = fetch_pictures(comfy_server, comfy_server.run(fill_prompt(steps=1, seed=3)))
    assert linked[0].tobytes() != plain[0].tobytes()


def test_the_node_says_that_windows_run_in_turn_for_want_of_memory(comfy_server, svd_checkpoint):
    texts = {}
    for short in (True, False):
        options = {"window": 2, "overlap": 1, "steps": 1, "read_reference": "on"}
        prompt = fill_prompt(frames=3, seed=4 + short, **options)
        prompt["short"] = {
            "class_type": "TestsShortOfMemory",
            "inputs": {"image": ["image", 0], "short": short},
        }
        prompt["sampler"]["inputs"]["warped"] = ["short", 0]
        _, told = comfy_server.run_and_watch(prompt)
        texts[short] = [content for kind, content in told if kind == "text"]
    assert texts[False] == []
    (written,) = texts[True]
    assert written["node"] == "sampler"
    assert written["text"].startswith(
        "windows run in_turn, not together: RefinerNet's features of all 2 take"
    )
    assert written["text"] in comfy_server.log()


def test_the_cache_recognises_what_holds_a_model(comfy_server, svd_checkpoint):
    prompt = fill_prompt()
    links = {"model": ["model", 0], "reference": ["reference", 0]}
    prompt["look"] = {"class_type": "TestsRecognisedAsModel", "inputs": links}
    told = comfy_server.run(prompt)["look"]
    assert told["recognised"] == [True, True]
    assert told["bytes"][0] > told["bytes"][1] > 0


def test_a_model_is_loaded_again_only_after_its_file_changed(comfy_server, svd_checkpoint):
    def cached() -> set[str]:
        entry = comfy_server.wait_for_entry(comfy_server.queue(fill_prompt(seed=6)))
        return set(dict(entry["status"]["messages"])["execution_cached"]["nodes"])

    cached()
    assert "model" in cached()
    stamp = svd_checkpoint.stat().st_mtime + 10
    os.utime(svd_checkpoint, (stamp, stamp))
    assert "model" not in cached()
    assert "model" in cached()


def test_an_interrupt_stops_sampling_and_the_next_run_works(comfy_server, svd_checkpoint):
    for prompt in (fill_prompt(steps=200, seed=1), fill_prompt(steps=200, seed=1, reinject=True)):
        prompt_id = comfy_server.queue(prompt)
        comfy_server.wait_until_running(prompt_id)
        time.sleep(1.0)
        comfy_server.interrupt()
        started = time.monotonic()
        with pytest.raises(ExecutionInterrupted):
            comfy_server.wait(prompt_id)
        assert time.monotonic() - started < 5
    assert len(fetch_pictures(comfy_server, comfy_server.run(fill_prompt(seed=1)))) == 1


def test_an_empty_mask_returns_the_warp_at_once(comfy_server, svd_checkpoint):
    before = comfy_server.log().count(REFINED)
    (picture,) = fetch_pictures(comfy_server, comfy_server.run(fill_prompt(mask=0.0, steps=200)))
    assert picture.size == (SIDE, SIDE)
    assert picture.getcolors() == [(SIDE * SIDE, (0x33, 0x66, 0x99))]
    assert comfy_server.log().count(REFINED) == before


def test_a_mask_of_another_size_or_length(comfy_server, svd_checkpoint):
    prompt = fill_prompt(frames=2)
    prompt["mask"]["inputs"]["width"] = 2 * SIDE
    text = failure(comfy_server, prompt, SAMPLER)
    assert "`hole` must have the size of `warped` (64x64), got 128x64" in text
    prompt = fill_prompt(frames=2)
    prompt["batch"]["inputs"]["amount"] = 3
    assert "`hole` must have as many frames as `warped` (2), got 3" in failure(comfy_server, prompt, SAMPLER)


def test_a_reference_of_another_clip(comfy_server, svd_checkpoint):
    prompt = fill_prompt(frames=2)
    prompt["other"] = fill_prompt(frames=3)["image"]
    prompt["reference"]["inputs"]["left"] = ["other", 0]
    assert "3 frames of 64x64" in failure(comfy_server, prompt, SAMPLER)


def test_options_that_do_not_go_together(comfy_server, svd_checkpoint):
    with pytest.raises(RequestRefused, match=r"overlap must be between 0 and window - 1 \(3 frames\), got 4"):
        comfy_server.queue(fill_prompt(window=4, overlap=4))


@pytest.fixture
def bad_checkpoint(svd_checkpoint):
    file = svd_checkpoint.with_name("bad.safetensors")
    yield file
    file.unlink()


def test_a_truncated_checkpoint(comfy_server, svd_checkpoint, bad_checkpoint):
    bad_checkpoint.write_bytes(svd_checkpoint.read_bytes()[:-1000])
    text = failure(comfy_server, fill_prompt(model={"checkpoint": "bad.safetensors"}), MODEL)
    assert "it is truncated; download it again" in text


def test_a_checkpoint_of_another_model(comfy_server, bad_checkpoint):
    torch = pytest.importorskip("torch")
    save_file = pytest.importorskip("safetensors.torch").save_file
    prefix = "model.diffusion_model."
    tensors = {
        f"{prefix}input_blocks.0.0.weight": torch.zeros(320, 4, 3, 3),
        f"{prefix}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": torch.zeros(320, 768),
    }
    save_file(tensors, bad_checkpoint)
    text = failure(comfy_server, fill_prompt(model={"checkpoint": "bad.safetensors"}), MODEL)
    assert "Stable Diffusion 1.x" in text


@pytest.fixture
def other_models(comfy_server, tiny_svd):
    """Put trained weights, an SVD of diffusers' and a UNet of 9 channels into ComfyUI's folders.

    The weights of the folder know the slider as a number, those of the file as a map.
    """
    core = importlib.import_module("spatialdreamer_core.spatialdreamer")
    parts = importlib.import_module("spatialdreamer_core.spatialdreamer.network")
    models = comfy_server.base / "models"
    network = core.SpatialDreamer.from_svd(tiny_svd.make_model(), with_til=True)
    network.svd.unet.add_embedding.linear_1.weight[:, 768:].normal_(std=0.05)  # as training would leave it
    core.save_spatialdreamer(network, models / "spatialdreamer" / "trained")
    network = parts.add_deviation_map(network)
    network.svd.unet.add_embedding.linear_1.weight[:, 768:] = 0
    network.svd.unet.conv_in.weight[:, 9:].normal_(std=0.05)
    core.save_spatialdreamer(network, models / "spatialdreamer" / "trained.safetensors")
    unet = tiny_svd.make_unet(in_channels=9)
    for folder in ("crafter", "Crafter/unet_diffusers"):
        unet.save_pretrained(models / "diffusers" / folder)
    yield
    shutil.rmtree(models / "spatialdreamer")
    for folder in ("crafter", "Crafter"):
        shutil.rmtree(models / "diffusers" / folder)


@pytest.fixture
def small_world(comfy_server):
    """Put a model without SVD's autoencoder, and weights for it, into ComfyUI's folders."""
    svd = importlib.import_module("spatialdreamer_core.svd")
    spatialdreamer = importlib.import_module("spatialdreamer_core.spatialdreamer")
    world = importlib.import_module("spatialdreamer_core.training.small_world").make_small_world()
    models = comfy_server.base / "models"
    folder, weights = models / "diffusers" / "small", models / "spatialdreamer" / "small"
    svd.save_folder(world, folder)
    spatialdreamer.save_spatialdreamer(spatialdreamer.SpatialDreamer.from_svd(world), weights)
    yield {"checkpoint": "diffusers/small", "weights": "small"}
    shutil.rmtree(folder)
    shutil.rmtree(weights)


def test_a_small_world_is_listed_and_runs(comfy_server, small_world):
    assert small_world["checkpoint"] in choices(comfy_server, "required", "checkpoint")
    assert small_world["weights"] in choices(comfy_server, "required", "weights")
    prompt = fill_prompt(frames=2, model=small_world)
    prompt["whole"] = {"class_type": "PreviewImage", "inputs": {"images": ["sampler", 1]}}
    outputs = comfy_server.run(prompt)
    for node in ("show", "whole"):
        pictures = fetch_pictures(comfy_server, outputs, node)
        assert [picture.size for picture in pictures] == [(SIDE, SIDE)] * 2
        assert len(pictures[0].getcolors(SIDE**2)) > 100, "diffused"


def test_trained_weights_and_another_unet_are_offered_and_run(comfy_server, svd_checkpoint, other_models):
    weights = choices(comfy_server, "required", "weights")
    assert weights == ["none (untrained)", "trained", "trained.safetensors"]
    deep = "diffusers/Crafter/unet_diffusers"
    assert choices(comfy_server, "optional", "unet") == ["from checkpoint", deep, "diffusers/crafter"]
    assert choices(comfy_server, "required", "checkpoint") == ["svd_xt.safetensors"]
    results = set()
    for model in (
        {"weights": "trained"},
        {"weights": "trained.safetensors", "precision": "bf16"},
        {"unet": deep},
    ):
        (picture,) = fetch_pictures(comfy_server, comfy_server.run(fill_prompt(model=model)))
        results.add(picture.tobytes())
    assert len(results) == 3
    before = comfy_server.log().count(REFINED)
    (picture,) = fetch_pictures(comfy_server, comfy_server.run(fill_prompt(model={"unet": deep}, seed=1)))
    assert comfy_server.log().count(REFINED) == before, "a UNet without RefinerNet"
    for both in ({"unet": deep}, {"refiner": "sd.safetensors"}):
        with pytest.raises(RequestRefused, match="choose one of the two"):
            comfy_server.queue(fill_prompt(model={"weights": "trained"} | both))
    text = failure(comfy_server, fill_prompt(model={"weights": {"of": "a shared workflow"}}), MODEL)
    assert "`weights` must be one of those that are there (trained, trained.safetensors)" in text
    text = failure(comfy_server, fill_prompt(model={"weights": "lost.safetensors"}), MODEL)
    assert "trained" in text
    assert str(comfy_server.base / "models" / "spatialdreamer") in text


@pytest.mark.parametrize("weights", ["trained", "trained.safetensors"])
def test_the_slider_changes_the_whole_view_of_trained_weights(
    comfy_server, svd_checkpoint, other_models, weights
):
    views = {}
    for deviation in (0.5, 3.0):
        prompt = fill_prompt(model={"weights": weights}, deviation=deviation, feather=0, steps=1)
        prompt["left"] = {"class_type": "ImageInvert", "inputs": {"image": ["image", 0]}}
        prompt["reference"]["inputs"]["left"] = ["left", 0]
        half = {"class_type": "SolidMask", "inputs": {"width": SIDE, "height": SIDE // 2, "value": 1.0}}
        empty = {"class_type": "SolidMask", "inputs": {"width": SIDE, "height": SIDE, "value": 0.0}}
        join = {"destination": ["empty", 0], "source": ["half", 0], "x": 0, "y": 0, "operation": "add"}
        prompt |= {"half": half, "empty": empty, "joined": {"class_type": "MaskComposite", "inputs": join}}
        prompt["sampler"]["inputs"]["hole"] = ["joined", 0]
        prompt["whole"] = {"class_type": "PreviewImage", "inputs": {"images": ["sampler", 1]}}
        outputs = comfy_server.run(prompt)
        for node in ("show", "whole"):
            (picture,) = fetch_pictures(comfy_server, outputs, node)
            views[node, deviation] = picture.crop((0, SIDE // 2, SIDE, SIDE)).tobytes()
    assert views["show", 0.5] == views["show", 3.0], "known pixels"
    assert views["whole", 0.5] != views["whole", 3.0]


def test_noise_is_by_default_what_the_network_was_trained_with(comfy_server, svd_checkpoint, other_models):
    widget = comfy_server.pack_info()[SAMPLER]["input"]["optional"]["noise_augmentation"]
    assert widget[1]["default"] == -1
    pictures = {}
    for level, options in (
        ("as trained", {"noise_augmentation": -1}),
        ("none", {"noise_augmentation": 0}),
        ("svd", {"noise_augmentation": 0.02}),
    ):
        prompt = fill_prompt(model={"unet": "diffusers/crafter"}, steps=1, **options)
        (picture,) = fetch_pictures(comfy_server, comfy_server.run(prompt))
        pictures[level] = picture.tobytes()
    assert pictures["as trained"] == pictures["none"] != pictures["svd"]


@pytest.fixture
def stable_diffusions(comfy_server, tiny_svd):
    """Put a Stable Diffusion 2.1 into ComfyUI's folders in each of the forms in which it is published."""
    diffusers = pytest.importorskip("diffusers")
    sgm_keys = importlib.import_module("spatialdreamer_core.svd.checkpoint.sgm_keys")
    save_file = pytest.importorskip("safetensors.torch").save_file
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=tiny_svd.WIDTHS,
        attention_head_dim=[width // 64 for width in tiny_svd.WIDTHS],
        cross_attention_dim=tiny_svd.CONTEXT,
        use_linear_projection=True,
    )
    models = comfy_server.base / "models"
    state = unet.state_dict()
    stored = sgm_keys.to_stored(sgm_keys.unet_table(state), state)
    file = models / "checkpoints" / "v2-1_512.safetensors"
    save_file({name: value.contiguous() for name, value in stored.items()}, file)
    unet.save_pretrained(models / "diffusers" / "sd21" / "unet")
    unet.save_pretrained(models / "diffusers" / "org" / "sd21_unet")
    yield ["v2-1_512.safetensors", "diffusers/org/sd21_unet", "diffusers/sd21"]
    file.unlink()
    for folder in ("sd21", "org"):
        shutil.rmtree(models / "diffusers" / folder)


def test_refinernet_starts_from_stable_diffusion(comfy_server, svd_checkpoint, stable_diffusions):
    assert choices(comfy_server, "optional", "refiner") == ["from SVD", *stable_diffusions]
    prompts = [
        fill_prompt(model={"refiner": refiner}, read_reference="on")
        for refiner in ("from SVD", *stable_diffusions[::2])
    ]
    results = [fetch_pictures(comfy_server, comfy_server.run(prompt))[0].tobytes() for prompt in prompts]
    assert results[0] != results[1] == results[2]
    text = failure(comfy_server, fill_prompt(model={"refiner": "lost.safetensors"}), MODEL)
    assert "`refiner` must be one of those that are there (v2-1_512.safetensors, " in text
