"""Folders of depth models that are hostile or damaged: no code of theirs runs, and nothing is fetched."""

import json
import socket

import pytest
import torch
from safetensors.torch import load_file, save_file

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import DEFAULT_MODEL, load_model


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Fail whoever looks a host up or connects, even where errors are swallowed."""
    touched = []

    def refuse(*arguments, **_):
        touched.append(arguments)
        raise OSError("the network was touched")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert touched == []


def change(file, **values):
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | values))


@pytest.mark.parametrize("name", ["midas", DEFAULT_MODEL, "zoedepth", "depth_pro", "marigold"])
def test_a_sound_folder_needs_no_network(install, name):
    install(name)
    assert load_model(name).inverse_depth(torch.rand(1, 3, 32, 48)).isfinite().all()


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": "facebook/dinov2-base", "backbone_config": None},
        {"backbone": "resnet50", "use_timm_backbone": True, "backbone_config": None},
        {"use_pretrained_backbone": True},
        {"backbone_config": {"model_type": "timm_backbone", "backbone": None}},
        {"backbone_config": {"model_type": "timm_backbone", "use_pretrained_backbone": True}},
    ],
)
@pytest.mark.parametrize("name", ["midas", DEFAULT_MODEL, "zoedepth"])
def test_a_backbone_is_never_loaded_by_name(install, name, changes):
    change(install(name) / "config.json", **changes)
    with pytest.raises(
        InputError, match=r"cannot be loaded from .*(loads another one by|must be one of beit)"
    ):
        load_model(name)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler", "extra"])
def test_a_pipelines_own_modules_do_not_run(install, part):
    folder = install("marigold")
    change(folder / "model_index.json", **{part: ["evil", "Evil"]})
    for place in (folder, folder / part):
        place.mkdir(exist_ok=True)
        (place / "evil.py").write_text("raise SystemExit('ran')\n")
    with pytest.raises(InputError, match=f"got others for {part}, whose code is not run"):
        load_model("marigold")


def test_kernels_quantisers_and_adapters_are_not_fetched(install):
    folder = install(DEFAULT_MODEL)
    change(
        folder / "config.json",
        attn_implementation="someone/kernels",
        quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True},
        auto_map={"AutoModelForDepthEstimation": "someone/repository--modeling.Evil"},
    )
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')
    assert load_model(DEFAULT_MODEL).inverse_depth(torch.rand(1, 3, 32, 48)).isfinite().all()


@pytest.mark.parametrize(
    ("name", "file", "changes"),
    [
        ("marigold", "unet/config.json", {"layers_per_block": 2**63}),
        ("marigold", "unet/config.json", {"layers_per_block": 10**6}),
        ("marigold", "unet/config.json", {"block_out_channels": [2**18, 2**18]}),
        ("marigold", "unet/config.json", {"norm_eps": "1e-5"}),
        ("marigold", "unet/config.json", {"cross_attention_dim": 32}),
        ("marigold", "unet/config.json", {"attention_head_dim": 0}),
        ("marigold", "vae/config.json", {"block_out_channels": []}),
        ("marigold", "vae/config.json", {"latent_channels": 8}),
        ("marigold", "scheduler/scheduler_config.json", {"num_train_timesteps": -5}),
        ("marigold", "scheduler/scheduler_config.json", {"beta_start": "x"}),
        ("marigold", "scheduler/scheduler_config.json", {"prediction_type": "magic"}),
        ("marigold", "scheduler/scheduler_config.json", {"steps_offset": 10**6}),
        ("marigold", "text_encoder/config.json", {"num_hidden_layers": 10**6}),
        ("marigold", "text_encoder/config.json", {"vocab_size": 3}),
        ("marigold", "tokenizer/tokenizer_config.json", {"model_max_length": 10**30}),
        ("marigold", "model_index.json", {"default_processing_resolution": 10**6}),
        ("marigold", "model_index.json", {"prediction_type": "disparity"}),
        ("marigold", "model_index.json", {"scheduler": ["diffusers", "UNet2DModel"]}),
        ("marigold", "model_index.json", {"vae": ["diffusers", "AutoencoderTiny"]}),
        (DEFAULT_MODEL, "config.json", {"neck_hidden_sizes": [2**19] * 4}),
        (DEFAULT_MODEL, "config.json", {"neck_hidden_sizes": "large"}),
        (
            DEFAULT_MODEL,
            "config.json",
            {"backbone_config": {"model_type": "dinov2", "num_hidden_layers": 10**6}},
        ),
        ("midas", "config.json", {"num_hidden_layers": 10**6}),
        ("midas", "config.json", {"hidden_size": 2**20}),
        ("midas", "config.json", {"num_attention_heads": 0}),
        ("midas", "preprocessor_config.json", {"size": {"height": 0, "width": 384}}),
        ("midas", "preprocessor_config.json", {"size": 10**9}),
        ("midas", "preprocessor_config.json", {"ensure_multiple_of": 10**9}),
        ("midas", "preprocessor_config.json", {"image_std": [0.5, 0, 0.5]}),
        ("midas", "preprocessor_config.json", {"image_mean": [0.5, "0.5", 0.5]}),
        ("midas", "preprocessor_config.json", {"keep_aspect_ratio": "yes"}),
    ],
)
def test_settings_that_cannot_be_are_refused_before_memory_is_taken(install, name, file, changes):
    change(install(name) / file, **changes)
    with pytest.raises(InputError, match=r"cannot be loaded from|that of .* fails"):
        load_model(name).inverse_depth(torch.rand(1, 3, 32, 48))


def test_a_config_that_shows_late_is_still_an_error_of_the_folder(install):
    change(install("midas") / "config.json", backbone_out_indices=[0, 1, 2, 9])
    with pytest.raises(InputError, match=r"(cannot be loaded from|that of .* fails).*; delete that folder"):
        load_model("midas").inverse_depth(torch.rand(1, 3, 32, 48))


def test_layers_that_are_never_run_may_be_missing_and_others_may_not(install):
    file = install("midas") / "model.safetensors"
    weights = load_file(file)
    before = load_model("midas").inverse_depth(
        torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    )
    unused = [name for name in weights if "fusion_stage.layers.0.residual_layer1." in name]
    assert unused
    save_file({name: value for name, value in weights.items() if name not in unused}, file, {"format": "pt"})
    model = load_model("midas")
    frames = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    assert torch.equal(model.inverse_depth(frames), before)
    used = next(name for name in weights if "fusion_stage.layers.1.residual_layer1." in name)
    save_file({name: value for name, value in weights.items() if name != used}, file, {"format": "pt"})
    with pytest.raises(InputError, match=rf"lacks 1 of \d+ tensors, such as {used}"):
        load_model("midas")


def test_weights_of_integers_are_refused(install):
    file = install("midas") / "model.safetensors"
    weights = load_file(file)
    name = sorted(weights)[5]
    save_file({**weights, name: weights[name].to(torch.int8)}, file, {"format": "pt"})
    with pytest.raises(InputError, match="must hold floats, got 1 tensors of other types"):
        load_model("midas")


def test_older_names_of_the_autoencoders_attention_are_read(install):
    folder = install("marigold") / "vae"
    file = folder / "diffusion_pytorch_model.fp16.safetensors"
    now = load_model("marigold").modules[1].state_dict()
    names = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    former = {}
    for name, value in load_file(file).items():
        for new, old in names.items():
            name = name.replace(new, old)
        former[name] = value
    assert any(".proj_attn." in name for name in former)
    save_file(former, file, {"format": "pt"})
    torch.testing.assert_close(load_model("marigold").modules[1].state_dict(), now)
