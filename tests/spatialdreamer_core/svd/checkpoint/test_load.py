import json
import os
import shutil
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.svd import (
    build_unet,
    choose_dtype,
    load_svd,
    save_sgm,
    time_id_count,
    trained_area,
    trained_frames,
    widen_unet,
)
from spatialdreamer_core.svd.checkpoint.sgm_shapes import published_frames

from ...tiny_svd import make_unet, save_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    file = tmp_path_factory.mktemp("checkpoint") / "svd_tiny.safetensors"
    return file, save_checkpoint(file)


@pytest.fixture(scope="module")
def loaded(checkpoint):
    return load_svd(checkpoint[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory, checkpoint):
    """The same model in diffusers' layout."""
    folder = tmp_path_factory.mktemp("folder")
    for part in ("unet", "vae", "image_encoder"):
        getattr(checkpoint[1], part).save_pretrained(folder / part)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableVideoDiffusionPipeline"}))
    return folder


def states(model):
    return [module.state_dict() for module in model.modules]


def assert_same(model, other):
    for state, expected in zip(states(model), states(other), strict=True):
        assert state.keys() == expected.keys()
        torch.testing.assert_close(state, expected, rtol=0, atol=0)


def test_a_file_gives_back_what_was_saved(checkpoint, loaded):
    saved = checkpoint[1]
    for name in ("unet", "image_encoder"):
        expected = getattr(saved, name).state_dict()
        torch.testing.assert_close(getattr(loaded, name).state_dict(), expected, rtol=0, atol=0)
    for module in loaded.modules:
        assert not module.training
        for tensor in (*module.parameters(), *module.buffers()):
            assert not tensor.requires_grad
            assert tensor.device.type == "cpu"
            assert tensor.is_contiguous() or tensor.ndim == 2  # position ids are expanded
    pictures = torch.rand(2, 3, 16, 16)
    with torch.inference_mode():
        ours, theirs = (model.vae.encode(pictures).latent_dist.mode() for model in (loaded, saved))
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)  # quant_conv is folded into the layer before


def test_a_loaded_file_is_saved_as_it_was(checkpoint, loaded, tmp_path):
    file = tmp_path / "again.safetensors"
    save_sgm(loaded, file)
    before, after = load_file(checkpoint[0]), load_file(file)
    assert before.keys() == after.keys()
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_folder_gives_the_same_model(checkpoint, folder):
    assert_same(load_svd(folder), checkpoint[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_are_converted(checkpoint, loaded, dtype):
    for state, full in zip(states(load_svd(checkpoint[0], dtype=dtype)), states(loaded), strict=True):
        wanted = {name: tensor.to(dtype) for name, tensor in full.items()}
        torch.testing.assert_close(state, wanted, rtol=0, atol=0)


def test_precision_follows_the_device():
    kinds = {"cpu": torch.float32, "cuda": torch.float16, "hpu": torch.bfloat16}
    assert {kind: choose_dtype(kind) for kind in kinds} == kinds
    for wanted in (torch.float16, torch.float32):
        assert {choose_dtype(kind, wanted) for kind in kinds} == {wanted}


@pytest.mark.parametrize("has_it", [True, False])
def test_a_card_without_bfloat16_gets_float16_and_the_log_says_so(monkeypatch, caplog, has_it):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has_it)
    assert choose_dtype("cuda:0", torch.bfloat16) == (torch.bfloat16 if has_it else torch.float16)
    said = [] if has_it else ["this card has no bfloat16, so the model runs in float16"]
    assert caplog.messages == said
    assert choose_dtype("cpu", torch.bfloat16) == torch.bfloat16, "the CPU has it"
    assert choose_dtype("cuda") == torch.float16


@pytest.mark.parametrize(
    ("name", "metadata", "frames"),
    [
        ("svd.safetensors", {}, 14),
        ("svd_xt.safetensors", {}, 25),
        ("svd_xt_1_1.safetensors", {}, 25),
        ("stable-video-diffusion-img2vid-XT-1-1.safetensors", {}, 25),
        ("SVDXT_fp16.safetensors", {}, 25),
        ("next.safetensors", {"format": "pt"}, 14),
        ("model.safetensors", {"modelspec.title": "Stable Video Diffusion XT 1.1"}, 25),
        ("model.safetensors", {"modelspec.architecture": "stable-video-diffusion-v1"}, 14),
    ],
)
def test_a_file_says_how_many_frames_the_model_knows(name, metadata, frames):
    assert published_frames(name, metadata) == frames


def test_a_model_knows_the_frames_and_the_size_of_its_training(checkpoint, folder, loaded, tmp_path):
    assert trained_frames(loaded.unet) == 14
    shutil.copyfile(checkpoint[0], tmp_path / "svd_xt.safetensors")
    wide = widen_unet(load_svd(tmp_path / "svd_xt.safetensors").unet)
    assert trained_frames(wide) == 25
    assert trained_area(wide) == 1024 * 576
    assert trained_frames(load_svd(folder).unet) == 14
    assert not loaded.replaced
    wide.register_to_config(num_frames=0, sample_size=[72, 128])
    assert (trained_frames(wide), trained_area(wide)) == (14, 1024 * 576)
    for size in (None, 0, (64,)):
        wide.register_to_config(num_frames=1000, sample_size=size)
        assert (trained_frames(wide), trained_area(wide)) == (128, 0)


def test_the_file_may_go_once_loaded(checkpoint, loaded, tmp_path):
    file = tmp_path / "copy.safetensors"
    file.write_bytes(checkpoint[0].read_bytes())
    model = load_svd(file)
    with file.open("r+b") as stream:
        stream.truncate(100)
    assert_same(model, loaded)


def test_a_half_precision_variant_is_found(checkpoint, tmp_path):
    half = load_svd(checkpoint[0], dtype=torch.float16)
    for part in ("unet", "vae", "image_encoder"):
        getattr(half, part).save_pretrained(tmp_path / part, variant="fp16")
    assert_same(load_svd(tmp_path, dtype=torch.float16), half)
    assert load_svd(tmp_path).unet.dtype == torch.float32


def test_a_wide_unet_replaces_the_checkpoints(checkpoint, folder, tmp_path):
    wide = build_unet(**make_unet(in_channels=9, time_ids=4, seed=5).config)
    wide.save_pretrained(tmp_path / "unet")
    for source in (checkpoint[0], folder):
        model = load_svd(source, unet=tmp_path / "unet")
        assert model.replaced
        assert (model.unet.config.in_channels, time_id_count(model.unet)) == (9, 4)
        torch.testing.assert_close(model.unet.state_dict(), wide.state_dict(), rtol=0, atol=0)
    assert widen_unet(model.unet) is model.unet


def test_a_wide_model_can_be_shared_as_a_file(tmp_path):
    saved = save_checkpoint(tmp_path / "wide.safetensors", in_channels=9, time_ids=4)
    loaded = load_svd(tmp_path / "wide.safetensors")
    torch.testing.assert_close(loaded.unet.state_dict(), saved.unet.state_dict(), rtol=0, atol=0)


def test_what_published_files_hold_besides_is_not_read(checkpoint, loaded, tmp_path):
    state = load_file(checkpoint[0])
    state["conditioner.embedders.0.open_clip.model.token_embedding.weight"] = torch.zeros(4, 2)
    state["conditioner.embedders.3.encoder.encoder.conv_in.bias"] = torch.zeros(2)
    state["edm_vpred.sigma_max"] = torch.zeros(())
    state["denoiser.sigmas"] = torch.zeros(3)
    state["model_ema.diffusion_modelout2bias"] = torch.zeros(4)
    state["first_stage_model.loss.logvar"] = torch.zeros(())
    save_file(state, tmp_path / "whole.safetensors")
    assert_same(load_svd(tmp_path / "whole.safetensors"), loaded)


def test_a_file_of_comfyui_has_the_tower_in_transformers_names(checkpoint, loaded, tmp_path):
    prefix = "conditioner.embedders.0.open_clip.model.visual."
    state = {name: tensor for name, tensor in load_file(checkpoint[0]).items() if not name.startswith(prefix)}
    tower = checkpoint[1].image_encoder.state_dict()
    state |= {prefix + name: tensor for name, tensor in tower.items()}
    save_file(state, tmp_path / "comfyui.safetensors")
    assert_same(load_svd(tmp_path / "comfyui.safetensors"), loaded)


def test_a_quant_conv_in_the_file_is_used(checkpoint, tmp_path):
    state = load_file(checkpoint[0])
    mixing = torch.randn(8, 8, 1, 1)
    state |= {
        "first_stage_model.quant_conv.weight": mixing,
        "first_stage_model.quant_conv.bias": torch.ones(8),
    }
    save_file(state, tmp_path / "quant.safetensors")
    assert torch.equal(load_svd(tmp_path / "quant.safetensors").vae.quant_conv.weight, mixing)


def test_floats_of_eight_bits_are_read(checkpoint, tmp_path):
    state = load_file(checkpoint[0])
    key = "model.diffusion_model.time_embed.0.weight"
    state[key] = state[key].to(torch.float8_e4m3fn)
    save_file(state, tmp_path / "eight.safetensors")
    loaded = load_svd(tmp_path / "eight.safetensors").unet.time_embedding.linear_1.weight
    assert torch.equal(loaded, state[key].float())


def test_saving_does_not_leave_half_a_file(checkpoint, tmp_path):
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(OSError, match=r"model\.safetensors"):
        save_sgm(checkpoint[1], tmp_path / "model.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def change(checkpoint, file, edit):
    state = load_file(checkpoint[0])
    edit(state)
    save_file(state, file)
    return file


def drop(state):
    del state["model.diffusion_model.out.2.bias"], state["first_stage_model.decoder.norm_out.bias"]


def add(state):
    state["model.diffusion_model.out.2.scale_weight"] = torch.zeros(1)


def add_to_tower(state):
    state["conditioner.embedders.0.open_clip.model.visual.attn_pool.query"] = torch.zeros(1)


def reshape(state):
    state["model.diffusion_model.out.2.bias"] = torch.zeros(7)


def quantise(state):
    state["model.diffusion_model.out.2.bias"] = torch.zeros(4, dtype=torch.int8)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (drop, r"got 2 missing \(such as first_stage_model\.decoder\.norm_out\.bias, model\.diffusion_model"),
        (add, r"got 1 unexpected \(such as model\.diffusion_model\.out\.2\.scale_weight\)"),
        (add_to_tower, r"got 1 unexpected \(such as conditioner\.embedders\.0\..*\.attn_pool\.query\)"),
        (reshape, r"got 1 of another shape \(such as model\.diffusion_model\.out\.2\.bias \[7\] for \[4\]\)"),
        (quantise, r"must hold floats, got 1 tensors of other types, .* of I8; use a file that is not quant"),
    ],
)
def test_tensors_are_checked_strictly(checkpoint, tmp_path, edit, message):
    with pytest.raises(InputError, match=message):
        load_svd(change(checkpoint, tmp_path / "changed.safetensors", edit))


def test_a_truncated_file(checkpoint, tmp_path):
    content = checkpoint[0].read_bytes()
    for length, message in (
        (len(content) - 1, f"must have {len(content)} bytes, .* got {len(content) - 1}: it is truncated"),
        (1000, r"with a whole header, got .* download it again"),
        (0, r"with a whole header, got .* download it again"),
    ):
        (tmp_path / "cut.safetensors").write_bytes(content[:length])
        with pytest.raises(InputError, match=message):
            load_svd(tmp_path / "cut.safetensors")


def test_a_file_whose_tensors_overlap(checkpoint, tmp_path):
    content = checkpoint[0].read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    first, second = sorted(header.keys() - {"__metadata__"})[:2]
    header[first]["data_offsets"] = header[second]["data_offsets"]
    text = json.dumps(header).encode()
    file = tmp_path / "overlap.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    with pytest.raises(InputError, match=r"overlap\.safetensors is damaged \(.*\); download it again"):
        load_svd(file)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.ckpt", b"PK\x03\x04" + bytes(64), "got a pickle, which can run code and is not read; use"),
        ("a.safetensors", b"\x80\x02}q" + bytes(64), "got a pickle"),
        ("a.pt", b"", "got a pickle"),
        ("a.safetensors", b"GGUF\x03\x00\x00\x00" + bytes(64), "got a GGUF file"),
        ("a.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "got a Git LFS pointer"),
        ("a.safetensors", b"<!DOCTYPE html><html></html>", "got a web page"),
        ("a.safetensors", struct.pack("<Q", 2) + b"[]", "with a whole header, got"),
        ("a.safetensors", struct.pack("<Q", 2) + b"{}", "looks like nothing at all"),
    ],
)
def test_files_of_other_formats(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_svd(tmp_path / name)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*missing\.safetensors; check the path"):
        load_svd(tmp_path / "missing.safetensors")


def test_folders_of_something_else(folder, tmp_path):
    with pytest.raises(InputError, match=r"with unet, vae, image_encoder, got one without unet and vae and"):
        load_svd(tmp_path)
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    with pytest.raises(InputError, match="got a StableDiffusionPipeline"):
        load_svd(tmp_path)
    (tmp_path / "model_index.json").write_text("{")
    with pytest.raises(InputError, match=r"must be a JSON object, got .*model_index\.json"):
        load_svd(tmp_path)


def test_unet_folders_of_something_else(checkpoint, tmp_path):
    unet = tmp_path / "unet"
    unet.mkdir()

    def load(message):
        with pytest.raises(InputError, match=message):
            load_svd(checkpoint[0], unet=unet)

    load(r"must hold a config\.json, but there is none in")
    (unet / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    load("must hold a UNetSpatioTemporalConditionModel, got a UNet2DConditionModel")
    make_unet(in_channels=13).save_pretrained(unet)
    load("must have 8 or 9 input channels, got 13")
    make_unet(time_ids=5).save_pretrained(unet)
    load("must have 3 or 4 time ids, got 5")
    make_unet().save_pretrained(unet)
    (unet / "config.json").write_text(
        (unet / "config.json").read_text().replace('"layers_per_block": 2', '"layers_per_block": 1')
    )
    load(r"must hold exactly the \d+ tensors .* got \d+ unexpected .* of another shape")
    (unet / "diffusion_pytorch_model.safetensors").rename(unet / "diffusion_pytorch_model.bin")
    load(r"or diffusion_pytorch_model\.safetensors, got only diffusion_pytorch_model\.bin, a pickle")


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("unet", {"layers_per_block": 2**63}),
        ("unet", {"layers_per_block": 500}),
        ("unet", {"block_out_channels": [2**18] * 4}),
        ("unet", {"num_attention_heads": [1, 1, 1, 1]}),
        ("unet", {"num_attention_heads": "many"}),
        ("unet", {"addition_time_embed_dim": 0}),
        ("unet", {"cross_attention_dim": None}),
        ("vae", {"block_out_channels": [32, 32]}),
        ("vae", {"layers_per_block": "2"}),
        ("image_encoder", {"num_hidden_layers": 500}),
        ("image_encoder", {"layer_norm_eps": "small"}),
        ("image_encoder", {"image_size": 2**20}),
        ("image_encoder", {"architectures": 5}),
    ],
)
def test_configs_of_something_that_cannot_be(folder, tmp_path, part, changes):
    copy = tmp_path / "copy"
    for name in ("unet", "vae", "image_encoder"):
        (copy / name).mkdir(parents=True)
        for file in (folder / name).iterdir():
            if file.suffix == ".json":
                (copy / name / file.name).write_bytes(file.read_bytes())
            else:
                os.link(file, copy / name / file.name)
    config = json.loads((copy / part / "config.json").read_text())
    (copy / part / "config.json").write_text(json.dumps(config | changes))
    network = {"unet": "UNetSpatio", "vae": "AutoencoderKLT", "image_encoder": "CLIPVisionModelW"}[part]
    with pytest.raises(InputError, match=rf"{part}|{network}"):
        load_svd(copy, unet=None)


def test_a_unet_for_other_embeddings(checkpoint, tmp_path):
    config = {**make_unet().config, "cross_attention_dim": 48}
    build_unet(**config).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"must take the 32 channels of the image .*, got one for 48 from"):
        load_svd(checkpoint[0], unet=tmp_path)
