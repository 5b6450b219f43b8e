"""The configs of a checkpoint's networks, inferred from the shapes of its tensors.

Single-file checkpoints carry no config. Shapes say almost all; what they cannot say is the same for every
SVD: two residual blocks a level, one transformer block a site, heads of 64 channels, 256 channels a time id.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from transformers import CLIPVisionConfig

from ...checks import InputError
from ..model import SCALING
from ..unet import HEAD_WIDTH, PLAIN_FRAMES, TIME_ID_WIDTH, XT_FRAMES
from .sgm_keys import IMAGE_ENCODER, UNET, VAE

Shapes = Mapping[str, tuple[int, ...]]  # by the tensors' names in the file

_TOWER_HEAD_WIDTHS = {
    1280: 80
}  # by the tower's width: ViT-H/14, which every SVD has; OpenCLIP's others have 64


def infer_unet_config(shapes: Shapes) -> dict[str, Any]:
    """Infer the config of diffusers' UNet from a file in sgm's names.

    Raises:
        InputError: If a tensor that shows it is missing.
    """
    levels = _count(shapes, UNET + "input_blocks.{}.0.in_layers.0.weight", first=1, step=3)
    blocks = [f"{UNET}input_blocks.{1 + 3 * level}" for level in range(levels)]
    widths = tuple(_size(shapes, f"{block}.0.out_layers.3.weight", axis=0) for block in blocks)
    _check_widths("UNet", widths, HEAD_WIDTH)
    attending = [f"{block}.1.proj_in.weight" in shapes for block in blocks]
    return {
        "sample_size": 96,  # as published; no layer depends on it
        "in_channels": _size(shapes, f"{UNET}input_blocks.0.0.weight", axis=1),
        "out_channels": _size(shapes, f"{UNET}out.2.weight", axis=0),
        "down_block_types": tuple(
            "CrossAttnDownBlockSpatioTemporal" if attends else "DownBlockSpatioTemporal"
            for attends in attending
        ),
        "up_block_types": tuple(
            "CrossAttnUpBlockSpatioTemporal" if attends else "UpBlockSpatioTemporal"
            for attends in reversed(attending)
        ),
        "block_out_channels": widths,
        "addition_time_embed_dim": TIME_ID_WIDTH,
        "projection_class_embeddings_input_dim": _size(shapes, f"{UNET}label_emb.0.0.weight", axis=1),
        "layers_per_block": 2,
        "cross_attention_dim": _size(
            shapes, f"{UNET}middle_block.1.transformer_blocks.0.attn2.to_k.weight", axis=1
        ),
        "transformer_layers_per_block": 1,
        "num_attention_heads": tuple(width // HEAD_WIDTH for width in widths),
        "num_frames": XT_FRAMES,  # no layer depends on it, see `published_frames`
    }


def published_frames(name: str, metadata: Mapping[str, str]) -> int:
    """Tell how many frames at a time a checkpoint was trained on, which no tensor shows: SVD-XT says so.

    Args:
        name: Of the file.
        metadata: What the file says about itself.
    """
    said = " ".join([name, *(metadata.get(f"modelspec.{key}", "") for key in ("title", "architecture"))])
    return XT_FRAMES if re.search(r"(?<![a-z])(svd)?xt(?![a-z])", said.lower()) else PLAIN_FRAMES


def infer_vae_config(shapes: Shapes) -> dict[str, Any]:
    """Infer the config of diffusers' autoencoder from a file in sgm's names.

    Raises:
        InputError: If a tensor that shows it is missing.
    """
    levels = _count(shapes, VAE + "encoder.down.{}.block.0.norm1.weight")
    widths = tuple(
        _size(shapes, f"{VAE}encoder.down.{level}.block.0.conv2.weight", axis=0) for level in range(levels)
    )
    _check_widths("autoencoder", widths, 32)  # of the group norms
    return {
        "in_channels": _size(shapes, f"{VAE}encoder.conv_in.weight", axis=1),
        "out_channels": _size(shapes, f"{VAE}decoder.conv_out.weight", axis=0),
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "block_out_channels": widths,
        "layers_per_block": 2,
        "latent_channels": _size(shapes, f"{VAE}decoder.conv_in.weight", axis=1),
        "sample_size": 768,  # as published; no layer depends on it
        "scaling_factor": SCALING,
        "force_upcast": True,
    }


def infer_image_encoder_config(shapes: Shapes) -> CLIPVisionConfig:
    """Infer the config of transformers' image tower from a file in OpenCLIP's or transformers' names.

    The number of heads cannot be seen: a width of 1280 (ViT-H/14) has heads of 80 channels, others of 64.

    Raises:
        InputError: If a tensor that shows it is missing.
    """
    if has_transformers_tower(shapes):
        layers = _count(shapes, IMAGE_ENCODER + "vision_model.encoder.layers.{}.layer_norm1.weight")
        embeddings = f"{IMAGE_ENCODER}vision_model.embeddings"
        convolution = f"{embeddings}.patch_embedding.weight"
        positions = _size(shapes, f"{embeddings}.position_embedding.weight", axis=0)
        inner = _size(shapes, f"{IMAGE_ENCODER}vision_model.encoder.layers.0.mlp.fc1.weight", axis=0)
        projection = _size(shapes, f"{IMAGE_ENCODER}visual_projection.weight", axis=0)
    else:
        layers = _count(shapes, IMAGE_ENCODER + "transformer.resblocks.{}.ln_1.weight")
        convolution = f"{IMAGE_ENCODER}conv1.weight"
        positions = _size(shapes, f"{IMAGE_ENCODER}positional_embedding", axis=0)
        inner = _size(shapes, f"{IMAGE_ENCODER}transformer.resblocks.0.mlp.c_fc.weight", axis=0)
        projection = _size(shapes, f"{IMAGE_ENCODER}proj", axis=1)
    width, patch = (_size(shapes, convolution, axis=axis) for axis in (0, 3))
    head_width = _TOWER_HEAD_WIDTHS.get(width, 64)
    _check_widths("image encoder", (width,), head_width)
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=width // head_width,
        image_size=patch * round((positions - 1) ** 0.5),
        patch_size=patch,
        projection_dim=projection,
        hidden_act="gelu",
    )


def has_transformers_tower(shapes: Shapes) -> bool:
    """Return whether the image tower has transformers' names, as ComfyUI saves it."""
    return f"{IMAGE_ENCODER}visual_projection.weight" in shapes


def _size(shapes: Shapes, name: str, *, axis: int) -> int:
    """Return the size of a tensor that has to be there along one axis."""
    if len(shapes.get(name, ())) <= axis:
        raise InputError(
            f"a Stable Video Diffusion checkpoint must hold the tensor {name} with at least {axis + 1} axes, "
            f"got {list(shapes[name]) if name in shapes else 'none'}; download the file again"
        )
    return shapes[name][axis]


def _check_widths(part: str, widths: tuple[int, ...], multiple: int) -> None:
    """Check that a network's levels can be built."""
    if any(width % multiple or not width for width in widths):
        raise InputError(
            f"the levels of the {part} must have multiples of {multiple} channels, got {widths}; download "
            "the file again"
        )


def _count(shapes: Shapes, pattern: str, *, first: int = 0, step: int = 1) -> int:
    """Count the numbers from `first` on for which a tensor is there; there has to be one."""
    _size(shapes, pattern.format(first), axis=0)
    count = 1
    while pattern.format(first + step * count) in shapes:
        count += 1
    return count
