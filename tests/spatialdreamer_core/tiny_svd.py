"""Tiny parts of Stable Video Diffusion with random weights, of the real classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

WIDTHS = (64, 64, 128, 128)  # multiples of 64, as the heads have 64 channels
CONTEXT = 32  # channels of an image embedding
FACTOR = 8  # px of a latent


def make_unet(*, in_channels: int = 8, time_ids: int = 3, seed: int = 0) -> Any:
    """Make a UNet in SVD's layout: four levels, two blocks each, heads of 64 channels."""
    from diffusers import UNetSpatioTemporalConditionModel

    torch.manual_seed(seed)
    return UNetSpatioTemporalConditionModel(
        sample_size=None,
        in_channels=in_channels,
        block_out_channels=WIDTHS,
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=256 * time_ids,
        cross_attention_dim=CONTEXT,
        num_attention_heads=tuple(width // 64 for width in WIDTHS),
        num_frames=14,
    ).eval()


def make_vae(*, seed: int = 0) -> Any:
    """Make a VAE with SVD's temporal decoder."""
    from diffusers import AutoencoderKLTemporalDecoder

    torch.manual_seed(seed)
    return AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 4,
        block_out_channels=(32, 32, 32, 32),
        layers_per_block=2,
        latent_channels=4,
        sample_size=768,
        scaling_factor=0.18215,
        force_upcast=True,
    ).eval()


def make_image_encoder(*, seed: int = 0) -> Any:
    """Make a CLIP image tower."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(seed)
    config = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=1,
        image_size=224,
        patch_size=56,
        projection_dim=CONTEXT,
        hidden_act="gelu",
    )
    return CLIPVisionModelWithProjection(config).eval()


def make_model(*, seed: int = 0, **unet: int) -> Any:
    """Make all three, seeded one after the other; `unet` are options of its UNet."""
    from spatialdreamer_core.svd import SVDModel

    return SVDModel(make_unet(seed=seed, **unet), make_vae(seed=seed + 1), make_image_encoder(seed=seed + 2))


def save_checkpoint(file: Path, *, seed: int = 0, **unet: int) -> Any:
    """Save a tiny checkpoint as the published ones are, and return the model that is in it."""
    from spatialdreamer_core.svd import save_sgm

    model = make_model(seed=seed, **unet)
    save_sgm(model, file)
    return model
