"""Stable Diffusion in diffusers' layout: the files of a pipeline, and telling version 2.1 by its shapes.

RefinerNet may start from the UNet of Stable Diffusion 2.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..checks import InputError
from .files import read_header, read_json

_SGM = "model.diffusion_model."  # how the UNet's tensors begin in a whole checkpoint
_CLASS = "UNet2DConditionModel"
_OTHER_CONTEXTS = {768, 1280, 2048}  # widths of a prompt's tokens: Stable Diffusion 1.x, XL's refiner, XL


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


def is_stable_diffusion_2(path: Path) -> bool:
    """Tell whether a file or folder looks like a Stable Diffusion 2.1 or its UNet, for text to image.

    Args:
        path: A safetensors file, or a folder in diffusers' layout: a UNet's, or one with a UNet in `unet`.
            What cannot be read is none.
    """
    try:
        if path.is_file():
            return has_unet_of_stable_diffusion_2(read_header(path).shapes)
        files = [folder / "config.json" for folder in (path, path / "unet")]
        config = next((read_json(file) for file in files if file.is_file()), {})
    except InputError:
        return False
    context = config.get("cross_attention_dim")
    fits = isinstance(context, int) and context not in _OTHER_CONTEXTS and config.get("in_channels", 4) == 4
    return fits and config.get("_class_name") == _CLASS


def has_unet_of_stable_diffusion_2(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Tell the same of a file's tensors, in the published names or in those of diffusers.

    Args:
        shapes: By the tensors' names.
    """
    first = shapes.get(f"{_SGM}input_blocks.0.0.weight") or shapes.get("conv_in.weight") or (0, 0)
    contexts = {
        shape[-1]
        for name, shape in shapes.items()
        if name.endswith("attn2.to_k.weight") and name.startswith((_SGM, "down_blocks.")) and shape
    }
    video, xl, control = ("time_stack.", "temporal_"), ("label_emb.", "add_embedding."), ("control",)
    return (
        first[1:2] == (4,)
        and bool(contexts - _OTHER_CONTEXTS)
        and not any(word in name for name in shapes for word in video + xl + control)
    )
