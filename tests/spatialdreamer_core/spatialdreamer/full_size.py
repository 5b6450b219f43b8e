"""Build the real architecture in bfloat16, random weights, sample 2 steps, print the peak memory in bytes.

A program of its own, so that the peak is that of nothing else; run by test_full_size.py.
"""

from __future__ import annotations

import resource
import sys

import torch
from diffusers import AutoencoderKLTemporalDecoder
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from spatialdreamer_core.spatialdreamer import SamplerConfig, SpatialDreamer, encode_reference, sample
from spatialdreamer_core.svd import SVDModel, build_unet


def fill(network: torch.nn.Module) -> torch.nn.Module:
    """Give a network on the meta device random weights."""
    network = network.to(torch.bfloat16).to_empty(device="cpu").eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.uniform_(-0.02, 0.02)
    return network


def main() -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        unet = build_unet(num_frames=25)
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
    network = SpatialDreamer.from_svd(SVDModel(fill(unet), fill(vae), encoder))
    counts = [sum(p.numel() for p in net.parameters()) for net in (network.svd.unet, network.refiner)]

    left = torch.rand(3, 3, 128, 128)
    hole = torch.zeros(3, 1, 128, 128)
    hole[..., 50:60] = 1
    reference = encode_reference(network, left)
    result = sample(network, reference, left, hole, SamplerConfig(steps=2, feather=0))
    assert result.isfinite().all()
    assert torch.equal(result[..., :50], left[..., :50])
    assert not torch.equal(result[..., 50:60], left[..., 50:60])
    unit = 1 if sys.platform == "darwin" else 1024
    print(*counts, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


if __name__ == "__main__":
    main()
