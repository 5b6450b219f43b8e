"""SVD at its full size, in bfloat16 with random weights; for programs that measure the memory it takes."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLTemporalDecoder
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from spatialdreamer_core.svd import SVDModel, build_unet


def make_model(**unet_config) -> SVDModel:
    """Make the three networks; `unet_config` differs from SVD's."""
    torch.manual_seed(0)
    with torch.device("meta"):
        unet = build_unet(num_frames=25, **unet_config)
        vae = AutoencoderKLTemporalDecoder(
            down_block_types=("DownEncoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            force_upcast=True,
        )
        encoder = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=1280,
                intermediate_size=5120,
                num_hidden_layers=32,
                num_attention_heads=16,
                patch_size=14,
                projection_dim=1024,
                hidden_act="gelu",
            )
        )
    encoder = fill(encoder)
    embeddings = encoder.vision_model.embeddings
    embeddings.position_ids = torch.arange(embeddings.position_embedding.num_embeddings)[None]
    return SVDModel(fill(unet), fill(vae), encoder)


def fill(network: torch.nn.Module) -> torch.nn.Module:
    """Give a network on the meta device random weights."""
    network = network.to(torch.bfloat16).to_empty(device="cpu").eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.uniform_(-0.02, 0.02)
    return network
