"""Our networks give what ComfyUI's own give, loaded from the same file."""

import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder

from spatialdreamer_core.svd import SVDModel, load_svd, save_sgm

from ..tiny_svd import make_image_encoder, make_unet
from .conftest import FRAMES, randomise, run_comfyui


@pytest.fixture(scope="module")
def model(comfyui_networks):
    return load_svd(comfyui_networks.checkpoint)


def decode_and_encode(vae, inputs):
    with torch.inference_mode():
        return {
            "moments": vae.encode(inputs["pictures"]).latent_dist.parameters,
            "decoded": vae.decode(inputs["latents"], num_frames=FRAMES).sample,
        }


def assert_close(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert theirs.std() > 0.01


def test_the_unet_is_comfyuis(model, comfyui_networks):
    inputs = comfyui_networks.inputs
    with torch.inference_mode():
        noise = model.unet(
            inputs["sample"][None], inputs["timestep"], inputs["context"][:1], inputs["time_ids"]
        ).sample[0]
    assert_close(noise, comfyui_networks.outputs["noise"])


def test_the_vae_is_comfyuis(model, comfyui_networks):
    for name, ours in decode_and_encode(model.vae, comfyui_networks.inputs).items():
        assert_close(ours, comfyui_networks.outputs[name])


def test_the_image_tower_is_comfyuis(model, comfyui_networks):
    with torch.inference_mode():
        embeddings = model.image_encoder(comfyui_networks.inputs["pixels"]).image_embeds
    assert_close(embeddings, comfyui_networks.outputs["embeddings"])


@pytest.mark.slow
def test_the_vae_of_full_size_is_comfyuis(tmp_path):
    torch.manual_seed(0)
    vae = AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
    )
    model = randomise(SVDModel(make_unet(), vae, make_image_encoder()))
    save_sgm(model, tmp_path / "full.safetensors")
    loaded = load_svd(tmp_path / "full.safetensors").vae
    assert loaded.config.block_out_channels == (128, 256, 512, 512)
    theirs = run_comfyui(tmp_path / "full.safetensors", tmp_path)
    for name, ours in decode_and_encode(loaded, theirs.inputs).items():
        assert_close(ours, theirs.outputs[name])
