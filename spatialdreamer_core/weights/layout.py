"""The files of published pipelines in diffusers' layout."""

from __future__ import annotations


def stable_diffusion_files(*, variant: str | None = "fp16") -> tuple[str, ...]:
    """List what is read of a Stable Diffusion pipeline, or of one with the same parts such as Marigold.

    Args:
        variant: The weights' precision as file names have it, or None for the unnamed, full one.
    """
    suffix = "safetensors" if variant is None else f"{variant}.safetensors"
    return (
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        f"text_encoder/model.{suffix}",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        f"unet/diffusion_pytorch_model.{suffix}",
        "vae/config.json",
        f"vae/diffusion_pytorch_model.{suffix}",
    )
