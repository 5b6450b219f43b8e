"""Stable Diffusion inpainting through a tiny pipeline of the real classes."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.fill import (
    INPAINTING_KIND,
    InpaintConfig,
    fetch_inpainting_model,
    load_inpainter,
    render_pair,
    stable_diffusion_weights,
)
from spatialdreamer_core.weights import add_model_folder

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

NAME = "stable-diffusion-2-inpainting"
FAST = InpaintConfig(steps=2)


@pytest.fixture(scope="module")
def published(tiny_diffusion, tmp_path_factory) -> Path:
    """Give a folder with a pipeline as the hub has it, not to be changed."""
    folder = tmp_path_factory.mktemp("published") / NAME
    tiny_diffusion.save_inpainting(folder)
    return folder


@pytest.fixture(scope="module")
def inpainter(published):
    return load_inpainter(published, config=FAST)


@pytest.fixture
def installed(published, own_models, monkeypatch) -> Path:
    """Give a copy in the folder of models."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return Path(shutil.copytree(published, own_models / INPAINTING_KIND / NAME))


def views_of(frames=3, size=(32, 48)):
    """Make views with a hole each, a thin one and one at the border, and none in the second."""
    generator = torch.Generator().manual_seed(1)
    view = torch.rand(frames, 3, *size, generator=generator)
    hole = torch.zeros(frames, 1, *size)
    hole[..., 5:25, 20:22] = 1
    hole[..., -4:] = 1
    hole[1:2] = 0
    return view * (1 - hole), hole


@pytest.mark.parametrize("size", [(32, 48), (30, 45), (1, 1), (7, 90)])
def test_holes_are_filled_and_known_pixels_stay_bit_for_bit(inpainter, size):
    view, hole = views_of(size=size)
    filled = inpainter(view, hole)
    inside = hole.expand_as(view) > 0
    assert filled.shape == view.shape
    assert torch.equal(filled[~inside], view[~inside])
    assert (filled[inside] != 0).float().mean() > 0.5
    assert 0 <= filled.min() <= filled.max() <= 1


def test_same_seed_same_fill_and_chunks_equal_the_whole(inpainter, published):
    view, hole = views_of(4)
    filled = inpainter(view, hole)
    assert torch.equal(inpainter(view, hole), filled)
    assert torch.equal(
        torch.cat([inpainter(v, h) for v, h in zip(view.split(3), hole.split(3), strict=True)]), filled
    )
    other = load_inpainter(published, config=InpaintConfig(steps=2, seed=1))
    assert not torch.equal(other(view, hole), filled)


def test_still_frames_are_filled_alike(inpainter):
    view, hole = (video[:1].repeat(3, 1, 1, 1) for video in views_of())
    filled = inpainter(view, hole)
    assert torch.equal(filled[0], filled[2])


def test_a_clip_without_holes_does_not_run_the_model(inpainter, monkeypatch):
    monkeypatch.setattr(inpainter, "_pipeline", None)
    view, hole = views_of()
    assert torch.equal(inpainter(view[1:2], hole[1:2]), view[1:2])


def test_a_hole_thinner_than_a_latent_reaches_the_unet_and_its_colour_does_not(inpainter, tiny_diffusion):
    seen = []
    hook = inpainter.modules[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    view, hole = torch.full((1, 3, 32, 48), 0.5), torch.zeros(1, 1, 32, 48)
    hole[..., 21] = 1
    filled = [inpainter(view + shade * hole, hole) for shade in (-0.5, 0.5)]
    hook.remove()
    assert torch.equal(*filled)
    expected = torch.zeros(8, 12)
    expected[:, 21 // tiny_diffusion.LATENT_SIZE] = 1
    assert torch.equal(seen[0][0, 4], expected)


def test_large_frames_are_worked_on_at_the_working_size(inpainter, published):
    seen = []
    small = load_inpainter(published, config=InpaintConfig(steps=2, size=64))
    small.modules[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-2:]))
    view, hole = views_of(1, (100, 151))
    filled = small(view, hole)
    assert set(seen) == {(16, 25)}, "64x97 px, padded to 64x100"
    inside = hole.expand_as(view) > 0
    assert torch.equal(filled[~inside], view[~inside])
    assert filled[inside].min() > 0
    shaded = small(view + 0.5 * hole, hole)
    assert torch.equal(shaded, filled), "a hole's colour does not get into what is known"


def test_half_precision_and_values_beyond_the_range(inpainter):
    view, hole = views_of(1)
    half = inpainter(view.half(), hole.half())
    assert half.dtype == torch.float16
    assert (half.float() - inpainter(view.half().float(), hole)).abs().max() < 1e-3
    fills = []
    for value in (0.0, -0.01):  # diffusers would take a whole frame with negative values for [-1, 1]
        view[0, 0, 0, 0] = value
        fills.append(inpainter(view, hole)[hole.expand_as(view) > 0])
    assert torch.equal(*fills)


def test_training_can_take_the_result(inpainter):
    scale = torch.ones((), requires_grad=True)
    (scale * inpainter(*views_of(1))).sum().backward()
    assert scale.grad.isfinite()


def test_a_prompt_and_its_guidance_count_only_together(published):
    view, hole = views_of(1)

    def fill(**settings):
        return load_inpainter(published, config=InpaintConfig(steps=2, **settings))(view, hole)

    assert torch.equal(fill(guidance=7.5), fill(guidance=1))
    assert not torch.equal(fill(prompt="a a", guidance=7.5), fill(prompt="a a", guidance=1))


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_pair_is_rendered_with_it(inpainter, side):
    image = torch.full((2, 3, 32, 64), 0.4)
    depth = torch.zeros(2, 1, 32, 64)
    image[..., 24:40], depth[..., 24:40] = 0.9, 1.0
    pair = render_pair(image, depth, side=side, filler=inpainter, divergence=10, convergence=0)
    assert pair.warped.shape == image.shape
    known = pair.hole.expand_as(image) < 0.5
    assert 0 < known.float().mean() < 1
    beside = slice(42, 60) if side == "left" else slice(4, 22)
    untouched = (pair.reference[..., beside] - 0.4).abs() < 1e-3
    assert 0.5 < untouched.float().mean() <= 1


def test_the_published_model_is_found_in_model_folders_and_caches(installed, tmp_path):
    assert fetch_inpainting_model() == installed
    add_model_folder(INPAINTING_KIND, tmp_path / "comfyui")
    shutil.copytree(installed, tmp_path / "comfyui" / NAME)
    assert fetch_inpainting_model() == tmp_path / "comfyui" / NAME
    shutil.rmtree(tmp_path / "comfyui")
    cached = tmp_path / "hub" / f"models--stabilityai--{NAME}" / "snapshots" / "0123abc"
    cached.parent.mkdir(parents=True)
    installed.rename(cached)
    assert fetch_inpainting_model() == cached
    assert load_inpainter(config=FAST).config == FAST


def test_full_precision_is_taken_as_well(tiny_diffusion, own_models):
    folder = own_models / INPAINTING_KIND / NAME
    tiny_diffusion.save_inpainting(folder, variant=None)
    assert fetch_inpainting_model() == folder
    assert load_inpainter().modules[0].dtype == torch.float32


def test_missing_weights_are_named_with_licence_folder_and_address(own_models, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError) as raised:
        load_inpainter()
    for part in (
        "Open RAIL++-M",
        "download=True",
        str(own_models / INPAINTING_KIND / NAME),
        "https://huggingface.co/sd2-community/stable-diffusion-2-inpainting",
    ):
        assert part in str(raised.value)
    with pytest.raises(InputError, match="downloads are switched off by HF_HUB_OFFLINE"):
        load_inpainter(download=True)


def test_it_is_downloaded_when_asked_for(published, own_models, file_server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", file_server.url)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    repository, revision = stable_diffusion_weights.REPOSITORY, stable_diffusion_weights.REVISION
    files = [file for file in published.rglob("*") if file.is_file()]
    names = [file.relative_to(published).as_posix() for file in files]
    for name, file in zip(names, files, strict=True):
        file_server.files[f"/{repository}/resolve/{revision}/{name}"] = file.read_bytes()
    folder = fetch_inpainting_model(download=True)
    assert folder == own_models / INPAINTING_KIND / NAME
    view, hole = views_of(1)
    there = load_inpainter(published, config=FAST)(view, hole)
    assert torch.equal(load_inpainter(config=FAST)(view, hole), there)


def test_a_half_downloaded_folder_is_named_with_what_it_lacks(installed):
    (installed / "vae" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    with pytest.raises(
        InputError, match=rf"but {re.escape(str(installed))} lacks vae/diffusion_pytorch_model\.fp16\.safete"
    ):
        load_inpainter()
    with pytest.raises(InputError, match="cannot be loaded from"):
        load_inpainter(installed)


def test_a_damaged_file_is_named(installed):
    weights = installed / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match=rf"cannot be loaded from {re.escape(str(installed))} .*; delete"):
        load_inpainter()
    (installed / "model_index.json").write_text("{")
    with pytest.raises(InputError, match=r"must be a JSON object, got .*model_index\.json"):
        load_inpainter()


def test_weights_that_do_not_fill_the_model_are_refused(installed):
    from safetensors.torch import load_file, save_file

    for part, file in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        path = installed / part / f"{file}.fp16.safetensors"
        whole = path.read_bytes()
        weights = load_file(path)
        weights.pop(sorted(weights)[0])
        save_file(weights, path, metadata={"format": "pt"})
        with pytest.raises(InputError, match=rf"{part}/.*(got 1 missing|lacks 1 tensors)"):
            load_inpainter()
        path.write_bytes(whole)


def test_pickled_weights_are_not_read(installed):
    for path in installed.rglob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))
    with pytest.raises(InputError, match="cannot be loaded from"):
        load_inpainter(installed)


def test_another_architecture_is_refused(tiny_diffusion, installed, tmp_path):
    tiny_diffusion.save_inpainting(tmp_path / "text_to_image", channels=4)
    with pytest.raises(
        InputError, match=r"UNet has 9 input channels, got StableDiffusionInpaintPipeline with 4"
    ):
        load_inpainter(tmp_path / "text_to_image")
    index = json.loads((installed / "model_index.json").read_text())
    changed = index | {"_class_name": "StableDiffusionXLInpaintPipeline"}
    (installed / "model_index.json").write_text(json.dumps(changed))
    with pytest.raises(InputError, match="got StableDiffusionXLInpaintPipeline with 9"):
        load_inpainter()
    with pytest.raises(InputError, match=r"diffusers' layout, but .*model_index\.json is missing"):
        load_inpainter(tmp_path / "nowhere")


def test_code_in_a_models_folder_does_not_run(installed):
    index = json.loads((installed / "model_index.json").read_text())
    (installed / "model_index.json").write_text(json.dumps(index | {"unet": ["evil", "Evil"]}))
    (installed / "unet" / "evil.py").write_text("raise SystemExit('ran')\n")
    with pytest.raises(InputError, match="got others for unet, whose code is not run"):
        load_inpainter()


def test_a_missing_package_is_named(published, monkeypatch):
    def refuse(name):
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(stable_diffusion_weights.importlib, "import_module", refuse)
    with pytest.raises(
        InputError, match=r"No module named 'diffusers'.*pip install .*spatialdreamer\[inpaint\]"
    ):
        load_inpainter(published)


def test_a_frame_that_does_not_fit_is_an_error_and_other_errors_stay(inpainter):
    def fail(message):
        def raise_it(*_):
            raise RuntimeError(message)

        return inpainter.modules[0].register_forward_pre_hook(raise_it)

    hook = fail("CUDA out of memory. Tried to allocate 2 GiB")
    with pytest.raises(InputError, match="ran out of it at 48x32; use a smaller `size` than 512 px"):
        inpainter(*views_of(1))
    hook.remove()
    hook = fail("mat1 and mat2 must match")
    with pytest.raises(RuntimeError, match="must match"):
        inpainter(*views_of(1))
    hook.remove()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps must be between 1 and 1000, got 0"),
        ({"guidance": 0.5}, "guidance must be between 1 and 50"),
        ({"size": 8}, r"size must be between 64 and 4096 \(px\)"),
        ({"seed": -1}, "seed must be between 0"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(InputError, match=message):
        load_inpainter(config=InpaintConfig(**settings))


def test_shapes_that_do_not_fit(inpainter):
    view, hole = views_of()
    with pytest.raises(InputError, match="`hole` must have as many frames as `warped`"):
        inpainter(view, hole[:2])


@pytest.mark.gpu
def test_the_gpu_fills_as_the_cpu_does(inpainter, published):
    view, hole = views_of()
    on_gpu = load_inpainter(published, config=FAST, device="cuda")(view, hole)
    torch.testing.assert_close(on_gpu, inpainter(view, hole), atol=2e-2, rtol=0)
