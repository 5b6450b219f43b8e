import re

import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.svd import build_unet, time_id_count
from spatialdreamer_core.svd.checkpoint.sgm_keys import (
    IMAGE_ENCODER,
    UNET,
    VAE,
    Place,
    image_encoder_table,
    to_stored,
    unet_table,
    vae_table,
)
from spatialdreamer_core.svd.checkpoint.sgm_shapes import (
    infer_image_encoder_config,
    infer_unet_config,
    infer_vae_config,
)

from ...tiny_svd import make_image_encoder, make_unet, make_vae

PUBLISHED_UNET = {  # unet/config.json of stabilityai/stable-video-diffusion-img2vid-xt
    "addition_time_embed_dim": 256,
    "block_out_channels": [320, 640, 1280, 1280],
    "cross_attention_dim": 1024,
    "down_block_types": [
        "CrossAttnDownBlockSpatioTemporal",
        "CrossAttnDownBlockSpatioTemporal",
        "CrossAttnDownBlockSpatioTemporal",
        "DownBlockSpatioTemporal",
    ],
    "in_channels": 8,
    "layers_per_block": 2,
    "num_attention_heads": [5, 10, 20, 20],
    "num_frames": 25,
    "out_channels": 4,
    "projection_class_embeddings_input_dim": 768,
    "sample_size": 96,
    "transformer_layers_per_block": 1,
    "up_block_types": [
        "UpBlockSpatioTemporal",
        "CrossAttnUpBlockSpatioTemporal",
        "CrossAttnUpBlockSpatioTemporal",
        "CrossAttnUpBlockSpatioTemporal",
    ],
}
PUBLISHED_VAE = {  # vae/config.json of the same
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "force_upcast": True,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "out_channels": 3,
    "sample_size": 768,
    "scaling_factor": 0.18215,
}


def shapes_of(network):
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def stored_shapes(table, network):
    return {table[name].key: table[name].stored_shape(shape) for name, shape in shapes_of(network).items()}


def openclip_shapes(*, width, inner, layers, patch, projection):
    """List the tensors of OpenCLIP's VisionTransformer, for pictures of 224 px."""
    block = {"attn.in_proj_weight": (3 * width, width), "attn.in_proj_bias": (3 * width,)}
    for name, rows, columns in (
        ("attn.out_proj", width, width),
        ("mlp.c_fc", inner, width),
        ("mlp.c_proj", width, inner),
    ):
        block |= {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}
    block |= {f"ln_{i}.{end}": (width,) for i in (1, 2) for end in ("weight", "bias")}
    shapes = {
        "class_embedding": (width,),
        "positional_embedding": ((224 // patch) ** 2 + 1, width),
        "proj": (width, projection),
        "conv1.weight": (width, 3, patch, patch),
    }
    shapes |= {f"ln_{place}.{end}": (width,) for place in ("pre", "post") for end in ("weight", "bias")}
    for layer in range(layers):
        shapes |= {f"transformer.resblocks.{layer}.{name}": shape for name, shape in block.items()}
    return {IMAGE_ENCODER + name: shape for name, shape in shapes.items()}


VIT_H = openclip_shapes(width=1280, inner=5120, layers=32, patch=14, projection=1024)


@pytest.fixture(scope="module")
def full_size():
    """The published configs' networks, without memory."""
    with torch.device("meta"):
        return (
            UNetSpatioTemporalConditionModel.from_config(PUBLISHED_UNET),
            AutoencoderKLTemporalDecoder.from_config(PUBLISHED_VAE),
        )


def test_tables_at_full_size_hold_each_of_comfyuis_tensors_once(full_size, comfyui_networks):
    unet, vae = full_size
    tables = unet_table(unet.state_dict()), vae_table(vae.state_dict())
    for table in tables:
        assert len({place.key for place in table.values()}) == len(table)
    ours = stored_shapes(tables[0], unet) | stored_shapes(tables[1], vae)
    quant_conv = {f"{VAE}quant_conv.{end}" for end in ("weight", "bias")}  # is in diffusers' layout alone
    assert ours.keys() - comfyui_networks.shapes.keys() == quant_conv
    assert {key: shape for key, shape in ours.items() if key not in quant_conv} == comfyui_networks.shapes
    assert sum(key.startswith(UNET) for key in ours) == 1428


def test_the_towers_table_holds_each_tensor_of_openclip(full_size):
    with torch.device("meta"):
        tower = CLIPVisionModelWithProjection(infer_image_encoder_config(VIT_H))
    assert stored_shapes(image_encoder_table(tower.state_dict()), tower) == VIT_H


@pytest.mark.parametrize(
    ("make", "make_table"),
    [(make_unet, unet_table), (make_vae, vae_table), (make_image_encoder, image_encoder_table)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_there_and_back_is_the_identity(make, make_table, dtype):
    state = {name: tensor.to(dtype) for name, tensor in make().state_dict().items()}
    table = make_table(state)
    stored = to_stored(table, state)
    assert {key: tuple(tensor.shape) for key, tensor in stored.items()} == {
        table[name].key: table[name].stored_shape(tuple(tensor.shape)) for name, tensor in state.items()
    }
    back = {name: table[name].from_stored(stored[table[name].key]) for name in state}
    torch.testing.assert_close(back, state, rtol=0, atol=0)
    again = to_stored(table, back)
    torch.testing.assert_close(again, stored, rtol=0, atol=0)


def test_places_by_hand():
    names = ["vision_model.encoder.layers.3.self_attn.k_proj.bias", "visual_projection.weight"]
    table = image_encoder_table(names)
    assert table[names[0]] == Place(IMAGE_ENCODER + "transformer.resblocks.3.attn.in_proj_bias", third=1)
    assert torch.equal(table[names[0]].from_stored(torch.arange(6)), torch.tensor([2, 3]))
    assert table[names[1]] == Place(IMAGE_ENCODER + "proj", transposed=True)
    name = "decoder.up_blocks.0.resnets.2.temporal_res_block.conv2.bias"
    levels = [f"decoder.up_blocks.{level}.resnets.0.spatial_res_block.norm1.bias" for level in range(4)]
    assert vae_table([name, *levels])[name].key == VAE + "decoder.up.3.block.2.time_stack.out_layers.3.bias"
    names = ["up_blocks.0.upsamplers.0.conv.bias", "up_blocks.1.upsamplers.0.conv.bias"]
    table = unet_table([*names, "up_blocks.1.attentions.0.norm.bias"])
    assert [table[name].key for name in names] == [
        UNET + "output_blocks.2.1.conv.bias",
        UNET + "output_blocks.5.2.conv.bias",
    ]


def test_configs_are_read_off_the_full_size_shapes(comfyui_networks):
    unet = infer_unet_config(comfyui_networks.shapes)
    assert {key: list(value) if isinstance(value, tuple) else value for key, value in unet.items()} == (
        PUBLISHED_UNET
    )
    vae = infer_vae_config(comfyui_networks.shapes)
    assert {key: list(value) if isinstance(value, tuple) else value for key, value in vae.items()} == (
        PUBLISHED_VAE
    )


def test_the_towers_config_is_read_off_the_full_size_shapes():
    config = infer_image_encoder_config(VIT_H)
    published = CLIPVisionConfig(  # image_encoder/config.json of the same
        hidden_size=1280,
        intermediate_size=5120,
        num_hidden_layers=32,
        num_attention_heads=16,
        image_size=224,
        patch_size=14,
        projection_dim=1024,
        hidden_act="gelu",
    )
    assert config.to_dict() == published.to_dict()


@pytest.mark.parametrize(("in_channels", "time_ids"), [(8, 3), (9, 4), (13, 3)])
def test_widened_unets_are_read_off_the_shapes(in_channels, time_ids):
    unet = make_unet(in_channels=in_channels, time_ids=time_ids)
    shapes = stored_shapes(unet_table(unet.state_dict()), unet)
    with torch.device("meta"):
        inferred = build_unet(**infer_unet_config(shapes))
    assert shapes_of(inferred) == shapes_of(unet)
    assert (inferred.config.in_channels, time_id_count(inferred)) == (in_channels, time_ids)


def test_shapes_that_tell_too_little_or_nonsense():
    first = UNET + "input_blocks.1.0.in_layers.0.weight"
    message = rf"must hold the tensor {re.escape(first)} with at least 1 axes, got none; download"
    with pytest.raises(InputError, match=message):
        infer_unet_config({})
    width = UNET + "input_blocks.1.0.out_layers.3.weight"
    with pytest.raises(
        InputError, match=r"levels of the UNet must have multiples of 64 channels, got \(100,\)"
    ):
        infer_unet_config({first: (100,), width: (100, 100, 3, 3)})
    first = VAE + "encoder.down.0.block.0.norm1.weight"
    width = VAE + "encoder.down.0.block.0.conv2.weight"
    with pytest.raises(InputError, match=r"levels of the autoencoder must have multiples of 32 .* \(8,\)"):
        infer_vae_config({first: (8,), width: (8, 8, 3, 3)})
    with pytest.raises(InputError, match=r"conv1\.weight with at least 4 axes, got \[1280, 3\]"):
        infer_image_encoder_config(VIT_H | {IMAGE_ENCODER + "conv1.weight": (1280, 3)})
