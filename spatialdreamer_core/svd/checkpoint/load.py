"""Loading Stable Video Diffusion: a single file in sgm's names, or a folder in diffusers' layout.

In a single file the autoencoder is `first_stage_model`, as in ComfyUI. The second copy of its encoder, which
published files hold for conditioning, is not read.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import torch

from ...checks import InputError
from ...parsing import parsing
from ...weights.files import Header, read_header
from ...weights.loading import Table, check_tensors, load_into
from ..model import SVDModel
from .folders import load_folder, load_unet_folder
from .identify import SVD, identify
from .networks import ADDRESS, build_image_encoder, build_svd_unet, build_svd_vae
from .sgm_keys import IMAGE_ENCODER, UNET, VAE, image_encoder_table, unet_table, vae_table
from .sgm_shapes import (
    has_transformers_tower,
    infer_image_encoder_config,
    infer_unet_config,
    infer_vae_config,
    published_frames,
)

_LOGGER = logging.getLogger(__name__)

_QUANT_CONV = "quant_conv."  # of the autoencoder, which files may lack; it is the identity then
_PRECISIONS = {"cpu": torch.float32, "xla": torch.bfloat16, "hpu": torch.bfloat16}  # by kind of device
# What files hold beside the three networks: sgm's second copy of the autoencoder, what it kept of CLIP's text
# half, averaged weights and notes about sampling.
_UNUSED = rf"(?!{re.escape(UNET)}|{re.escape(VAE)}|{re.escape(IMAGE_ENCODER)})|{re.escape(VAE)}loss\."


def choose_dtype(device: torch.device | str, wanted: torch.dtype | None = None) -> torch.dtype:
    """Choose a precision for a device.

    SVD was published in float16, which also has finer steps than bfloat16: GPUs get it. Accelerators without
    it get bfloat16, and the CPU, where halves are slow, float32.

    Args:
        device: Where the model runs.
        wanted: A precision to take instead, if the device has it: NVIDIA's cards before 2020 have no bfloat16
            and get float16, which the log says.
    """
    kind = torch.device(device).type
    if wanted == torch.bfloat16 and kind == "cuda" and not torch.cuda.is_bf16_supported(False):
        _LOGGER.warning("this card has no bfloat16, so the model runs in float16")
        return torch.float16
    return wanted or _PRECISIONS.get(kind, torch.float16)


def load_svd(
    checkpoint: Path | str,
    *,
    unet: Path | str | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> SVDModel:
    """Load a model, in evaluation mode and without gradients.

    Args:
        checkpoint: A single safetensors file, such as `svd_xt.safetensors`, or a folder in diffusers' layout.
        unet: A folder with a UNet in diffusers' layout that replaces the checkpoint's, such as one of 9
            channels.
        dtype: Precision of the weights, see `choose_dtype`; None is the best for the device.
        device: Where the weights go.

    Raises:
        InputError: If a file or folder is missing, damaged, a pickle, or holds another model.
    """
    device = torch.device(device)
    dtype = choose_dtype(device, dtype)
    checkpoint = Path(checkpoint)
    load = load_folder if checkpoint.is_dir() else _load_file
    parts = {} if unet is None else {"unet": load_unet_folder(Path(unet), dtype, device)}
    networks = parts | load(checkpoint, dtype, device, with_unet=unet is None)
    model = SVDModel(**networks, replaced=unet is not None)
    given, taken = model.image_encoder.config.projection_dim, model.unet.config.cross_attention_dim
    if given != taken:
        raise InputError(
            f"the UNet must take the {given} channels of the image encoder's embeddings, got one for {taken} "
            f"from {unet or checkpoint}; choose the UNet of a Stable Video Diffusion"
        )
    channels, latents = model.unet.config.out_channels, model.codec.channels
    if channels != latents:
        raise InputError(
            f"the UNet must give latents of the {latents} channels that the autoencoder takes, got one for "
            f"{channels} from {unet or checkpoint}; choose the UNet of a Stable Video Diffusion"
        )
    return model


def _load_file(file: Path, dtype: torch.dtype, device: torch.device, *, with_unet: bool) -> dict[str, Any]:
    """Load the networks of a single file by name, with or without the UNet."""
    header = read_header(file)
    shapes = header.shapes
    kind = identify(shapes)
    if kind != SVD:
        raise InputError(
            f"{file} must be a Stable Video Diffusion checkpoint with UNet, autoencoder and image encoder, "
            f"got what looks like {kind}; choose svd_xt.safetensors from {ADDRESS}"
        )
    networks = _build_networks(header, with_unet=with_unet)
    unused = _UNUSED if with_unet else rf"{_UNUSED}|{re.escape(UNET)}"
    check_tensors(header, networks.values(), unused=unused, what="Stable Video Diffusion", address=ADDRESS)
    filled = {name: load_into(*network, header, dtype, device) for name, network in networks.items()}
    if f"{VAE}{_QUANT_CONV}weight" not in shapes:
        torch.nn.init.dirac_(filled["vae"].quant_conv.weight)
        filled["vae"].quant_conv.bias.zero_()
    return filled


def _build_networks(header: Header, *, with_unet: bool) -> dict[str, tuple[Any, Table]]:
    """Build a file's networks on the meta device, each with the places of its tensors."""
    file, shapes = header.file, header.shapes
    remedy = f"download it again, or choose {ADDRESS}"
    with parsing(file, rule="a Stable Video Diffusion must have the published layout", remedy=remedy):
        vae = build_svd_vae(infer_vae_config(shapes), header, file=file)
        tower_config = infer_image_encoder_config(shapes).to_dict()
        tower = build_image_encoder(tower_config, header, file=file)
        vae_names = list(vae.state_dict())
        if f"{VAE}{_QUANT_CONV}weight" not in shapes:
            vae_names = [name for name in vae_names if not name.startswith(_QUANT_CONV)]
        as_comfyui = has_transformers_tower(shapes)
        tower_table = image_encoder_table(tower.state_dict(), transformers_layout=as_comfyui)
        networks = {"vae": (vae, vae_table(vae_names)), "image_encoder": (tower, tower_table)}
        if with_unet:
            frames = published_frames(file.name, header.metadata)
            unet_config = infer_unet_config(shapes) | {"num_frames": frames}
            unet = build_svd_unet(unet_config, header, file=file)
            networks["unet"] = (unet, unet_table(unet.state_dict()))
    return networks
