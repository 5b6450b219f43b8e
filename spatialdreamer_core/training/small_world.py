"""A small world: a Stable Video Diffusion of a few million random weights, to learn from nothing in minutes.

Its networks are of the real classes and its latents hold the pixels themselves (`PixelCodec`), so whatever
trains, samples, loads and saves a published model does so with it. What it is for: tests that train for real,
ablations, and trying a training set-up out before a large card is rented.
"""

from __future__ import annotations

import math

import torch
from diffusers import UNetSpatioTemporalConditionModel
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from ..checks import InputError, check_range
from ..svd import PixelCodec, SVDModel, build_unet
from ..svd.unet import HEAD_WIDTH, TIME_ID_WIDTH

FRAMES = 8  # of a training clip, as in the paper
_EMBEDDING = 64  # channels of an image embedding
_TOWER_SIDE = 32  # px, of the image tower's square
_TEMPORAL_ENDS = (
    "temporal_res_block.conv2",
    "time_pos_embed.linear_2",
    *(
        f"temporal_transformer_blocks.0.{end}"
        for end in ("ff_in.net.2", "attn1.to_out.0", "attn2.to_out.0", "ff.net.2")
    ),
)


def make_small_world(
    *,
    seed: int = 0,
    factor: int = 4,
    widths: tuple[int, ...] = (64, 64),
    layers: int = 1,
    height: int = 64,
    width: int = 96,
) -> SVDModel:
    """Make a small Stable Video Diffusion with random weights.

    Each level has spatial and temporal attention, which is cheap where a picture has a few hundred latents: a
    picture of 96x64 px has 24x16. Its temporal layers begin as the identity, as they do where a video model
    is made from one of images: each frame is seen by itself until stage 2 trains them.

    Args:
        seed: Of the weights.
        factor: Pixels of a latent, each side, see `PixelCodec`.
        widths: Channels of the UNet's levels, multiples of 64; each level halves the picture.
        layers: Residual blocks of a level.
        height: Of the pictures that it is to learn, px; smaller ones are enlarged to as many pixels.
        width: Of the pictures that it is to learn, px.

    Returns:
        The model on the CPU in float32, in evaluation mode and without gradients.

    Raises:
        InputError: If an argument breaks its rule.
    """
    if not widths or any(channels < HEAD_WIDTH or channels % HEAD_WIDTH for channels in widths):
        raise InputError(
            f"widths must be multiples of {HEAD_WIDTH}, the channels of an attention head, got {widths}; "
            "choose (64, 64) for a few minutes on a CPU"
        )
    check_range("layers", layers, 1, 8, whole=True)
    codec = PixelCodec(factor)
    for name, side in (("height", height), ("width", width)):
        check_range(name, side, factor, 4096, "px", whole=True)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        unet = build_unet(
            sample_size=math.isqrt(height * width) // factor,
            in_channels=2 * codec.channels,
            out_channels=codec.channels,
            down_block_types=("CrossAttnDownBlockSpatioTemporal",) * len(widths),
            up_block_types=("CrossAttnUpBlockSpatioTemporal",) * len(widths),
            block_out_channels=widths,
            layers_per_block=layers,
            addition_time_embed_dim=TIME_ID_WIDTH,
            projection_class_embeddings_input_dim=3 * TIME_ID_WIDTH,
            cross_attention_dim=_EMBEDDING,
            num_attention_heads=tuple(channels // HEAD_WIDTH for channels in widths),
            num_frames=FRAMES,
        )
        tower = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=64,
                intermediate_size=128,
                num_hidden_layers=2,
                num_attention_heads=1,
                image_size=_TOWER_SIDE,
                patch_size=8,
                projection_dim=_EMBEDDING,
                hidden_act="gelu",
            )
        )
    _begin_as_images(unet)
    model = SVDModel(unet, codec, tower)
    for module in model.modules:
        module.eval().requires_grad_(False)
    return model


@torch.no_grad()
def _begin_as_images(unet: UNetSpatioTemporalConditionModel) -> None:
    """Let nothing but the residual connections pass the temporal layers: their last weights become zero."""
    for name, module in unet.named_modules():
        if name.endswith(_TEMPORAL_ENDS):
            for weight in module.parameters():
                weight.zero_()
