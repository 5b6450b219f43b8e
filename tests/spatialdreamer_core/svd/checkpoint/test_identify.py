import pytest
import torch
from safetensors.torch import save_file

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.svd import load_svd
from spatialdreamer_core.svd.checkpoint.identify import SVD, identify

UNET = "model.diffusion_model."
VIDEO = {f"{UNET}input_blocks.1.0.time_stack.in_layers.0.weight": (320,)}
PARTS = {
    "first_stage_model.decoder.conv_in.bias": (4,),
    "conditioner.embedders.0.open_clip.model.visual.proj": (1280, 1024),
}
TEMPORAL = {"first_stage_model.decoder.mid.block_1.time_stack.in_layers.0.weight": (512,)}


def unet(channels=4, context=768, classes=None):
    shapes = {
        f"{UNET}input_blocks.0.0.weight": (320, channels, 3, 3),
        f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, context),
    }
    return shapes | ({f"{UNET}label_emb.0.0.weight": (1280, classes)} if classes else {})


CASES = [
    (unet(8, 1024, 768) | VIDEO | PARTS | TEMPORAL, SVD),
    (unet(9, 1024, 1024) | VIDEO | PARTS | TEMPORAL, SVD),
    (unet(8, 1024, 768) | VIDEO | PARTS, "a Stable Video Diffusion whose decoder is for single images"),
    (unet(8, 1024, 768) | VIDEO, "Stable Video Diffusion without autoencoder and image encoder"),
    (unet(13, 1024, 768) | VIDEO | PARTS, "M2SVid"),
    (unet(8, 1024, 256) | VIDEO | PARTS, "SV3D_u"),
    (unet(8, 1024, 1280) | VIDEO | PARTS, "SV3D_p"),
    (unet(), "Stable Diffusion 1.x"),
    ({f"{UNET}input_blocks.0.0.weight": (999,)}, "a Stable Diffusion of an unknown kind"),
    (unet(9), "Stable Diffusion 1.x for inpainting"),
    (unet(4, 1024), "Stable Diffusion 2.x"),
    (unet(4, 2048, 2816), "Stable Diffusion XL"),
    (unet(4, 1280, 2560), "the refiner of Stable Diffusion XL"),
    ({name.removeprefix(UNET): shape for name, shape in unet().items()}, "Stable Diffusion 1.x, as a UNet"),
    ({f"{UNET}joint_blocks.0.context_block.attn.qkv.weight": (1, 1)}, "Stable Diffusion 3"),
    ({"double_blocks.0.img_attn.norm.key_norm.scale": (128,)}, "Flux"),
    ({f"{UNET}patchify_proj.weight": (2048, 128)}, "LTX Video"),
    ({"head.modulation": (1, 2, 1536), "patch_embedding.weight": (1536, 16, 1, 2, 2)}, "Wan"),
    (
        {
            "txt_in.individual_token_refiner.blocks.0.norm1.weight": (1,),
            "double_blocks.0.img_attn.norm.key_norm.scale": (128,),
        },
        "Hunyuan Video",
    ),
    ({"patch_embed.text_proj.weight": (1, 1)}, "CogVideoX"),
    ({"t5_yproj.weight": (1, 1)}, "Mochi"),
    (
        {"down_blocks.0.motion_modules.0.temporal_transformer.norm.bias": (320,)},
        "an AnimateDiff motion module",
    ),
    ({"unet.down_blocks.0.attentions.0.to_k.lora_A.weight": (4, 320)}, "a LoRA"),
    ({"lora_unet_down_blocks_0_attentions_0.alpha": ()}, "a LoRA"),
    ({"refiner.down_blocks.0.resnets.0.conv1.bias": (320,)}, "SpatialDreamer's trained weights"),
    ({"control_model.input_hint_block.0.bias": (16,)}, "a ControlNet"),
    (PARTS | {}, "an autoencoder (VAE) alone"),
    ({"decoder.conv_in.weight": (512, 4, 3, 3)}, "an autoencoder (VAE) alone"),
    ({"vision_model.embeddings.class_embedding": (1280,)}, "an image encoder alone"),
    ({"text_model.embeddings.token_embedding.weight": (49408, 768)}, "a text encoder"),
    (
        {"down_blocks.0.resnets.0.temporal_res_block.norm1.bias": (320,)},
        "the UNet of a Stable Video Diffusion in diffusers' layout",
    ),
    ({"down_blocks.0.resnets.0.norm1.bias": (320,)}, "a UNet in diffusers' layout"),
    ({"a.b": (1,)}, "an unknown kind of model (it holds 1 tensors, such as a.b)"),
    ({}, "nothing at all"),
]


@pytest.mark.parametrize(("shapes", "kind"), CASES, ids=[kind for _, kind in CASES])
def test_kinds(shapes, kind):
    assert identify(shapes).startswith(kind)
    assert (identify(shapes) == SVD) == (kind == SVD)


def test_the_error_names_the_kind_and_what_to_do(tmp_path):
    file = tmp_path / "dreamshaper.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in unet().items()}, file)
    message = (
        r"dreamshaper\.safetensors must be a Stable Video Diffusion checkpoint .*, got what looks like "
        r"Stable Diffusion 1\.x; choose svd_xt\.safetensors from https://huggingface\.co/stabilityai/"
    )
    with pytest.raises(InputError, match=message):
        load_svd(file)
