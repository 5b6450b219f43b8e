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
from ..model import SVDModel
from .folders import load_folder, load_unet_folder
from .sgm_keys import UNET
from .sgm_shapes import published_frames
from .single_file import UNUSED, check_parts, find_image_encoder, find_unet, find_vae, read_svd_header

_LOGGER = logging.getLogger(__name__)

_PRECISIONS = {"cpu": torch.float32, "xla": torch.bfloat16, "hpu": torch.bfloat16}  # by kind of device


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
    check_fit(model, unet or checkpoint)
    return model


def check_fit(model: SVDModel, source: Path | str) -> None:
    """Check that networks fit each other.

    Args:
        model: The networks.
        source: Where the UNet is from, for the message.

    Raises:
        InputError: If they do not.
    """
    given, taken = model.image_encoder.config.projection_dim, model.unet.config.cross_attention_dim
    if given != taken:
        raise InputError(
            f"the UNet must take the {given} channels of the image encoder's embeddings, got one for {taken} "
            f"from {source}; choose the UNet of a Stable Video Diffusion"
        )
    channels, latents = model.unet.config.out_channels, model.codec.channels
    if channels != latents:
        raise InputError(
            f"the UNet must give latents of the {latents} channels that the autoencoder takes, got one for "
            f"{channels} from {source}; choose the UNet of a Stable Video Diffusion"
        )


def _load_file(file: Path, dtype: torch.dtype, device: torch.device, *, with_unet: bool) -> dict[str, Any]:
    """Load the networks of a single file by name, with or without the UNet."""
    header = read_svd_header(file)
    parts = {"vae": find_vae(header), "image_encoder": find_image_encoder(header)}
    if with_unet:
        parts["unet"] = find_unet(header, frames=published_frames(file.name, header.metadata))
    check_parts(header, parts.values(), unused=UNUSED if with_unet else rf"{UNUSED}|{re.escape(UNET)}")
    return {name: part.load(dtype, device) for name, part in parts.items()}
