"""Depth models through tiny ones of the real classes; the licences and addresses of the real ones."""

import json
import logging
import re
import shutil

import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import (
    DEFAULT_MODEL,
    MODELS,
    ModelPhoto,
    apply_scene_ranges,
    catalogue,
    estimate_depth,
    estimator_names,
    inference,
    list_estimators,
    load_model,
    loading,
    measure_scenes,
    open_estimator,
    prepare_estimator,
    resolve_estimator,
)
from spatialdreamer_core.depth.inference import infer_clip, infer_picture
from spatialdreamer_core.depth.models import find_model
from spatialdreamer_core.flow import Flow, estimate_flow
from spatialdreamer_core.metrics import make_clip

ONE_OF_EACH_FAMILY = ("midas", DEFAULT_MODEL, "zoedepth", "depth_pro", "marigold")


class FakeModel:
    """Takes the red channel for inverse depth, at most so many frames at once."""

    def __init__(self, capacity=99):
        self.spec = find_model("midas")
        self.modules = (torch.nn.Linear(1, 1),)
        self.capacity = capacity
        self.batches = []

    def inverse_depth(self, frames):
        self.batches.append(len(frames))
        if len(frames) > self.capacity:
            raise torch.OutOfMemoryError("out of memory")
        return frames[:, :1].float()


def frames_of(count=3, size=(30, 52)):
    """Make frames that differ too little for a cut."""
    generator = torch.Generator().manual_seed(1)
    return 0.9 * torch.rand(1, 3, *size, generator=generator) + 0.1 * torch.rand(
        count, 3, *size, generator=generator
    )


def test_names_are_unique_and_each_family_says_what_it_gives():
    names = [model.name for model in MODELS]
    assert len(set(names)) == len(names) == 16
    assert {model.family for model in MODELS} == {
        "dpt",
        "zoedepth",
        "depth_anything",
        "depth_pro",
        "marigold",
    }
    for model in MODELS:
        metric = "metric" in model.name or model.name == "zoedepth"
        assert (model.semantics == "metric") == metric
        assert not any(file.endswith((".bin", ".pt", ".ckpt")) for file in model.files)


@pytest.mark.parametrize(
    ("name", "licence", "commercial"),
    [
        ("depth_anything_v2_small", "Apache-2.0", True),
        ("depth_anything_v2_base", "CC-BY-NC-4.0", False),
        ("depth_anything_v2_metric_outdoor_large", "CC-BY-NC-4.0", False),
        ("depth_anything_v1_large", "Apache-2.0", True),
        ("midas", "Apache-2.0", True),
        ("zoedepth", "MIT", True),
    ],
)
def test_licences(name, licence, commercial):
    model = find_model(name)
    assert (model.licence, model.commercial) == (licence, commercial)


def test_each_model_is_downloaded_at_a_commit_of_its_own():
    assert all(re.fullmatch("[0-9a-f]{40}", model.revision) for model in MODELS)
    assert len({model.revision for model in MODELS}) == len(MODELS)


def test_the_pinned_commit_is_what_is_asked_for(install, file_server, monkeypatch):
    source = install("midas")
    content = {file.name: file.read_bytes() for file in source.iterdir()}
    shutil.rmtree(source)
    monkeypatch.setenv("HF_ENDPOINT", file_server.url)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    spec = find_model("midas")
    for name, data in content.items():
        file_server.files[f"/{spec.repository}/resolve/{spec.revision}/{name}"] = data
    assert loading.fetch_model("midas", download=True) == source
    assert load_model("midas").spec == spec


def test_what_is_not_installed_is_listed_with_its_address():
    listed = {info.name: info for info in list_estimators()}
    assert tuple(listed) == estimator_names()
    assert listed["builtin"].available
    missing = listed["depth_anything_v2_large"]
    assert not missing.available
    assert missing.folder is None
    assert missing.commercial is False
    assert missing.address == "https://huggingface.co/depth-anything/Depth-Anything-V2-Large-hf"
    assert missing.address in missing.note


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_each_family_gives_depth_of_the_frames_size(install, name):
    folder = install(name)
    frames = frames_of()
    depth = estimate_depth(frames, estimator=name, stability=0.0)
    assert depth.shape == (3, 1, 30, 52)
    assert depth.dtype == torch.float32
    assert 0 <= depth.min() < depth.max() <= 1
    (info,) = (info for info in list_estimators() if info.name == name)
    assert info.available
    assert info.folder == folder
    one_by_one = torch.cat([load_model(name).inverse_depth(frame[None]) for frame in frames])
    expected = apply_scene_ranges(one_by_one, measure_scenes(one_by_one))
    torch.testing.assert_close(depth, expected, atol=1e-3, rtol=0)


def test_metric_depth_anything_gives_inverse_metres(install):
    install("depth_anything_v2_metric_indoor_small", depth_estimation_type="metric", max_depth=20)
    inverse = load_model("depth_anything_v2_metric_indoor_small").inverse_depth(frames_of())
    assert inverse.min() >= 1 / 20 - 1e-6


def test_the_models_of_hugging_faces_cache_are_found(install, tmp_path):
    folder = install("midas")
    commit = tmp_path / "hub" / "models--Intel--dpt-large" / "snapshots" / "0123abc"
    commit.parent.mkdir(parents=True)
    folder.rename(commit)
    (info,) = (info for info in list_estimators() if info.name == "midas")
    assert info.folder == commit
    assert load_model("midas").spec.name == "midas"


def test_auto_is_the_default_model_where_it_is_installed_and_else_the_builtin(install, caplog):
    catalogue._say_how_to_get_better.cache_clear()
    with caplog.at_level(logging.INFO):
        assert [resolve_estimator("auto") for _ in range(2)] == ["builtin", "builtin"]
    (record,) = caplog.records
    assert "Depth Anything V2 Small (Apache-2.0) is not installed" in record.message
    frames = frames_of(2)
    assert torch.equal(estimate_depth(frames), estimate_depth(frames, estimator="builtin"))
    install(DEFAULT_MODEL)
    assert resolve_estimator("auto") == DEFAULT_MODEL
    assert torch.equal(estimate_depth(frames), estimate_depth(frames, estimator=DEFAULT_MODEL))


def test_scenes_are_normalised_apart():
    frames = torch.zeros(6, 3, 32, 48)
    frames[:3] = 0.1 * frames_of(3, (32, 48))
    frames[3:] = 0.7 + 0.3 * frames_of(3, (32, 48))
    depth = estimate_depth(frames, estimator=FakeModel())
    for scene in (depth[:3], depth[3:]):
        assert scene.min() == 0
        assert scene.max() == 1


def test_batches_are_halved_until_they_fit(caplog, monkeypatch):
    monkeypatch.setattr(inference, "_CPU_BATCH", 8)
    model, frames, seen = FakeModel(capacity=2), frames_of(7), []
    with caplog.at_level(logging.INFO):
        raw = infer_clip(model, frames, on_frame=seen.append)
    assert torch.equal(raw, frames[:, :1])
    assert model.batches == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    assert "out of memory with 7 frames at once: trying 3" in caplog.text


def test_a_frame_that_never_fits_is_an_error_and_other_errors_stay():
    with pytest.raises(InputError, match=r"midas ran out of it at 52x30; use a smaller model"):
        infer_clip(FakeModel(capacity=0), frames_of())
    model = FakeModel()
    model.inverse_depth = lambda frames: torch.zeros(2) + torch.zeros(3)
    with pytest.raises(RuntimeError, match="must match"):
        infer_clip(model, frames_of())


@pytest.mark.gpu
def test_the_batch_follows_the_memory_of_the_gpu(install):
    install(DEFAULT_MODEL)
    frames = frames_of(5)
    on_gpu = estimate_depth(frames, estimator=DEFAULT_MODEL, device="cuda")
    torch.testing.assert_close(on_gpu, estimate_depth(frames, estimator=DEFAULT_MODEL), atol=1e-3, rtol=0)


@pytest.mark.gpu
def test_a_films_other_stages_do_not_stand_behind_a_model():
    class Slow(FakeModel):
        def inverse_depth(self, frames):
            torch.cuda._sleep(10**9)  # about half a second
            end, shared = torch.cuda.current_stream().record_event(), torch.cuda.default_stream()
            with torch.cuda.stream(shared):
                torch.zeros(1, device="cuda").add_(1)
            shared.synchronize()
            self.is_still_at_work = not end.query()
            return super().inverse_depth(frames)

    model = Slow()
    model.modules[0].cuda()
    picture = np.full((30, 52, 3), 51, np.uint8)
    assert torch.allclose(infer_picture(model, picture), torch.tensor(0.2))
    assert model.is_still_at_work


def test_missing_weights_are_named_with_folder_and_address(models_folder, tmp_path):
    with pytest.raises(InputError) as raised:
        estimate_depth(frames_of(), estimator="zoedepth")
    for part in (
        "zoedepth",
        str(models_folder),
        str(tmp_path / "hub"),
        "https://huggingface.co/Intel/zoedepth-",
    ):
        assert part in str(raised.value)
    with pytest.raises(InputError, match="downloads are switched off by HF_HUB_OFFLINE"):
        prepare_estimator("zoedepth", download=True)
    assert prepare_estimator("builtin", download=True) == "builtin"


def test_a_half_downloaded_folder_is_named_with_what_it_lacks(install):
    folder = install(DEFAULT_MODEL)
    (folder / "model.safetensors").rename(folder / "model.safetensors.part")
    with pytest.raises(
        InputError, match=rf"must be whole, but {re.escape(str(folder))} lacks model.safetensors"
    ):
        load_model(DEFAULT_MODEL)
    (info,) = (info for info in list_estimators() if info.name == DEFAULT_MODEL)
    assert not info.available
    assert "Incomplete" in info.note
    assert resolve_estimator("auto") == "builtin"


def test_a_damaged_file_is_named(install):
    folder = install(DEFAULT_MODEL)
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(
        InputError, match=rf"cannot be loaded from {re.escape(str(folder))} .*; delete that folder"
    ):
        load_model(DEFAULT_MODEL)
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_model(DEFAULT_MODEL)


def test_weights_that_do_not_fill_the_model_are_refused(install):
    from safetensors.torch import load_file, save_file

    folder = install(DEFAULT_MODEL)
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "encoder.layer" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"must fill its network, but .*model\.safetensors has \d+ tensors"):
        load_model(DEFAULT_MODEL)


def test_another_models_files_are_refused(install, tiny_models):
    folder = install(DEFAULT_MODEL)
    tiny_models.save_model(folder, "dpt")
    with pytest.raises(InputError, match=r"must hold Depth Anything V2 Small, .* got dpt"):
        load_model(DEFAULT_MODEL)
    tiny_models.save_model(folder, "depth_anything", depth_estimation_type="metric", max_depth=20)
    with pytest.raises(InputError, match=r"type depth_anything \(relative\), got depth_anything \(metric\)"):
        load_model(DEFAULT_MODEL)


def test_code_in_a_models_folder_does_not_run(install):
    folder = install(DEFAULT_MODEL)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForDepthEstimation": "modeling_evil.Evil"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_evil.py").write_text("raise SystemExit('ran')\n")
    assert load_model(DEFAULT_MODEL).spec.name == DEFAULT_MODEL


def test_a_missing_package_is_named(install, monkeypatch):
    install("midas")

    def refuse(name):
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(loading.importlib, "import_module", refuse)
    with pytest.raises(InputError, match=r"midas .* needs the Python package transformers, .* pip install"):
        load_model("midas")


def test_a_single_picture_is_told_that_it_does_not_fit():
    picture = np.zeros((30, 52, 3), np.uint8)
    assert infer_picture(FakeModel(), picture).shape == (1, 1, 30, 52)
    with pytest.raises(InputError, match=r"midas ran out of it at 52x30"):
        infer_picture(FakeModel(capacity=0), picture)


def test_a_clip_is_stabilised_unless_its_stability_is_zero():
    frames = make_clip("translate_right", frames=9, size=(90, 160)).frames
    steady, jumping = FakeModel(), FakeModel()
    jumping.inverse_depth = lambda batch: (0.7 + 0.7 * torch.rand(len(batch), 1, 1, 1)) * batch[:, :1] - 0.3
    torch.manual_seed(0)
    truth, stable, raw = (
        estimate_depth(frames, estimator=model, stability=stability)
        for model, stability in ((steady, 0.0), (jumping, 0.6), (jumping, 0.0))
    )
    assert (raw - truth).abs().mean() > 0.04
    assert (stable - truth).abs().mean() < 0.01
    flow = estimate_flow(frames)
    given = estimate_depth(frames, estimator=steady, flow=flow)
    assert (given - truth).abs().mean() < 0.01
    still = Flow.between(0 * flow.forward, 0 * flow.backward)
    resting = estimate_depth(frames, estimator=steady, flow=still)
    assert not torch.equal(given, resting)
    with pytest.raises(InputError, match=r"stability must be between 0 and 0\.95, got 1"):
        estimate_depth(frames, estimator=steady, stability=1.0)


def test_a_photo_as_a_stream_is_what_a_clip_of_one_frame_is(install):
    install(DEFAULT_MODEL)
    model = open_estimator(DEFAULT_MODEL)
    image = (frames_of(1)[0] * 255).round().byte().permute(1, 2, 0).numpy()
    frame = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    alone = estimate_depth(frame, estimator=model)[0, 0].numpy()
    np.testing.assert_allclose(ModelPhoto(model).step(image, None, None), alone, atol=1e-5)


def test_an_estimator_opens_as_its_model_or_as_none():
    assert open_estimator("auto") is None
    with pytest.raises(InputError, match="estimator must be one of builtin, auto, depth_anything_v2_small"):
        open_estimator("magic")
