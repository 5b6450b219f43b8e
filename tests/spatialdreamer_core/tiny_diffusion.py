"""Tiny diffusion pipelines with random weights, of the real ones' classes, saved as the hub has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

WORDS = ("<|startoftext|>", "<|endoftext|>", "a", "a</w>")
LATENT_SIZE = 4  # px of a latent


def make_parts(folder: Path, *, channels: int) -> dict[str, Any]:
    """Make UNet, VAE, text encoder and tokenizer, whose vocabulary is written below a folder."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    unet = UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        sample_size=8,
        in_channels=channels,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(
        block_out_channels=[8, 16, 16],
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        latent_channels=4,
        norm_num_groups=4,
    )
    source = folder / "tokenizer_source"
    source.mkdir(parents=True, exist_ok=True)
    (source / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(WORDS)}))
    (source / "merges.txt").write_text("#version: 0.2\n")
    text = CLIPTextConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return {
        "unet": unet,
        "vae": vae,
        "text_encoder": CLIPTextModel(text),
        "tokenizer": CLIPTokenizer.from_pretrained(source, model_max_length=16),
    }


def save_pipeline(pipeline: Any, folder: Path, *, variant: str | None = "fp16") -> None:
    """Save a pipeline with the files of its tokenizer, which newer versions of transformers leave out."""
    pipeline.save_pretrained(folder, variant=variant)
    for name, content in (
        ("vocab.json", json.dumps({word: i for i, word in enumerate(WORDS)})),
        ("merges.txt", "#version: 0.2\n"),
        ("special_tokens_map.json", "{}"),
    ):
        (folder / "tokenizer" / name).write_text(content)


def save_inpainting(folder: Path, *, channels: int = 9, variant: str | None = "fp16") -> None:
    """Save a Stable Diffusion inpainting pipeline."""
    from diffusers import DDIMScheduler, StableDiffusionInpaintPipeline

    torch.manual_seed(0)
    pipeline = StableDiffusionInpaintPipeline(
        **make_parts(folder.parent, channels=channels),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    save_pipeline(pipeline, folder, variant=variant)
