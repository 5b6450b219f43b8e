"""Where single-file checkpoints of Stable Video Diffusion keep each tensor of its networks.

The published files (`svd.safetensors`, `svd_xt.safetensors`, …) have the names of Stability AI's
generative-models ("sgm"), our networks those of diffusers and transformers. A table maps every tensor of a
network to its place in the file, one to one, so that the same table serves loading and saving. It is made
from the network's own names, hence fits any width.

The file's parts: the UNet, the autoencoder, and OpenCLIP's image tower, which has queries, keys and values in
one tensor. ComfyUI's own saves have the tower in transformers' names behind the same prefix. The files'
autoencoder has no `quant_conv`; diffusers' is the identity then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from ...weights.loading import Place, Table

UNET = "model.diffusion_model."
VAE = "first_stage_model."
IMAGE_ENCODER = "conditioner.embedders.0.open_clip.model.visual."

_LAYERS = 2  # residual blocks of a level in every SVD

_RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_UNET_ATTENTION = {
    "temporal_transformer_blocks": "time_stack",
    "time_pos_embed.linear_1": "time_pos_embed.0",
    "time_pos_embed.linear_2": "time_pos_embed.2",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_TOWER_ENDS = {
    "vision_model.embeddings.class_embedding": "class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "positional_embedding",
    "vision_model.pre_layrnorm": "ln_pre",
    "vision_model.post_layernorm": "ln_post",
}
_TOWER_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_ATTENTION_THIRDS = ("q_proj", "k_proj", "v_proj")


def unet_table(names: Iterable[str]) -> Table:
    """Map the names of an SVD UNet of diffusers to places in a file."""
    names = list(names)
    attending = {match[1] for name in names if (match := re.match(r"up_blocks\.(\d+)\.attentions", name))}
    return {name: Place(UNET + _unet_key(name, attending)) for name in names}


def vae_table(names: Iterable[str]) -> Table:
    """Map the names of SVD's autoencoder of diffusers to places in a file."""
    names = list(names)
    levels = len({match[1] for name in names if (match := re.match(r"decoder\.up_blocks\.(\d+)", name))})
    return {
        name: Place(
            VAE + _vae_key(name, levels), convolution=bool(re.search(r"to_(q|k|v|out\.0)\.weight$", name))
        )
        for name in names
    }


def image_encoder_table(names: Iterable[str], *, transformers_layout: bool = False) -> Table:
    """Map the names of transformers' CLIP image tower to places in a file.

    Args:
        names: The tower's names.
        transformers_layout: Whether the file has these names too, as ComfyUI saves them, not OpenCLIP's.
    """
    if transformers_layout:
        return {name: Place(IMAGE_ENCODER + name) for name in names}
    return {name: _tower_place(name) for name in names}


def to_stored(table: Table, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Bring a network's tensors into the file's names and forms."""
    stored: dict[str, Tensor] = {}
    thirds: dict[str, list[Tensor]] = {}
    for name, tensor in state.items():
        place = table[name]
        if place.third is not None:
            thirds.setdefault(place.key, [tensor] * 3)[place.third] = tensor
        else:
            tensor = tensor.T if place.transposed else tensor
            stored[place.key] = tensor[:, :, None, None] if place.convolution else tensor
    return stored | {key: torch.cat(parts) for key, parts in thirds.items()}


def _replace(text: str, names: dict[str, str]) -> str:
    """Replace the start of a dotted name by the first entry that it begins with."""
    for old, new in names.items():
        if text == old or text.startswith(f"{old}."):
            return new + text[len(old) :]
    return text


def _unet_key(name: str, attending: set[str]) -> str:
    """Return the file's name of a UNet's tensor, without prefix; `attending` up blocks have attention."""
    match = re.match(
        r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.(.+)", name
    )
    if match:
        side, block, kind, layer, rest = match.groups()
        first = (_LAYERS + 1) * int(block)
        if kind == "downsamplers":
            return f"input_blocks.{first + _LAYERS + 1}.0.{_replace(rest, {'conv': 'op'})}"
        if kind == "upsamplers":
            return f"output_blocks.{first + _LAYERS}.{2 if block in attending else 1}.{rest}"
        index = first + int(layer) + (side == "down")
        part = f"{'input' if side == 'down' else 'output'}_blocks.{index}"
    elif match := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", name):
        kind, layer, rest = match.groups()
        part = "middle_block"
        if kind == "resnets":
            return f"{part}.{2 * int(layer)}.{_residual(rest, _RESIDUAL)}"
    else:
        return _replace(name, _UNET_ENDS)
    if kind == "resnets":
        return f"{part}.0.{_residual(rest, _RESIDUAL)}"
    return f"{part}.1.{_replace(rest, _UNET_ATTENTION)}"


def _residual(rest: str, spatial_names: dict[str, str]) -> str:
    """Return the file's name of a tensor in a residual block, spatial or spatio-temporal."""
    if rest.startswith("temporal_res_block."):
        return "time_stack." + _replace(rest.removeprefix("temporal_res_block."), _RESIDUAL)
    return _replace(rest.removeprefix("spatial_res_block."), spatial_names)


def _vae_key(name: str, levels: int) -> str:
    """Return the file's name of an autoencoder's tensor, without prefix; the decoder counts from the end."""
    pattern = r"(encoder|decoder)\.(down|up)_blocks\.(\d+)\.(resnets|downsamplers|upsamplers)\.(\d)\.(.+)"
    if match := re.match(pattern, name):
        half, side, block, kind, layer, rest = match.groups()
        level = int(block) if side == "down" else levels - 1 - int(block)
        if kind != "resnets":
            return f"{half}.{side}.{level}.{side}sample.{rest}"
        return f"{half}.{side}.{level}.block.{layer}.{_vae_residual(rest)}"
    if match := re.match(r"(encoder|decoder)\.mid_block\.(resnets|attentions)\.(\d)\.(.+)", name):
        half, kind, layer, rest = match.groups()
        if kind == "resnets":
            return f"{half}.mid.block_{int(layer) + 1}.{_vae_residual(rest)}"
        return f"{half}.mid.attn_1.{_replace(rest, _VAE_ATTENTION)}"
    half, _, rest = name.partition(".")
    ends = {"conv_norm_out": "norm_out", "time_conv_out": "conv_out.time_mix_conv"}
    return f"{half}.{_replace(rest, ends)}"


def _vae_residual(rest: str) -> str:
    """Return the file's name of a tensor in the autoencoder's residual block."""
    return _residual(rest.removeprefix("time_mixer."), {"conv_shortcut": "nin_shortcut"})


def _tower_place(name: str) -> Place:
    """Return OpenCLIP's place of an image tower's tensor."""
    if name == "visual_projection.weight":
        return Place(f"{IMAGE_ENCODER}proj", transposed=True)
    match = re.match(r"vision_model\.encoder\.layers\.(\d+)\.(.+)", name)
    if match is None:
        return Place(IMAGE_ENCODER + _replace(name, _TOWER_ENDS))
    layer, rest = match.groups()
    block = f"{IMAGE_ENCODER}transformer.resblocks.{layer}"
    if third := re.match(r"self_attn\.(q_proj|k_proj|v_proj)\.(weight|bias)", rest):
        return Place(f"{block}.attn.in_proj_{third[2]}", third=_ATTENTION_THIRDS.index(third[1]))
    return Place(f"{block}.{_replace(rest, _TOWER_LAYER)}")
