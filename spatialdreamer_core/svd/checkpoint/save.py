"""Saving a Stable Video Diffusion: as one file in the names of published ones, or as diffusers' folder."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ...atomic import replacing
from ...checks import InputError
from ..codec import PixelCodec
from ..model import SVDModel
from .sgm_keys import image_encoder_table, to_stored, unet_table, vae_table


def save_sgm(model: SVDModel, file: Path) -> None:
    """Save a model as a single safetensors file that `load_svd` reads; ComfyUI too if it is not widened.

    The file appears under its name when it is whole. Published files have no `quant_conv`, so it becomes part
    of the layer before it.

    Args:
        model: The model, on any device and in any precision, which the file keeps.
        file: The file to write, ending in `.safetensors`; it is replaced if it exists.

    Raises:
        InputError: If the model has a `PixelCodec`, which no such file can hold.
    """
    if isinstance(model.vae, PixelCodec):
        raise InputError(
            f"a single file must hold SVD's autoencoder, got a model with a PixelCodec for {file}; save it "
            "as a folder with save_folder"
        )
    unet, image_encoder = model.unet.state_dict(), model.image_encoder.state_dict()
    vae = _fold_quant_conv(model.vae.state_dict())
    stored = to_stored(unet_table(unet), unet)
    stored |= to_stored(vae_table(vae), vae)
    stored |= to_stored(image_encoder_table(image_encoder), image_encoder)
    with replacing(file) as partial:
        save_file(
            {key: tensor.cpu().contiguous() for key, tensor in stored.items()}, partial, {"format": "pt"}
        )


def save_folder(model: SVDModel, path: Path | str) -> None:
    """Save a model as a folder in diffusers' layout, which `load_svd` reads and ComfyUI's loader node lists.

    The folder appears under its name when it is whole.

    Args:
        model: The model, on any device and in any precision, which the files keep.
        path: The folder, which must be new.

    Raises:
        InputError: If there is something of that name already.
    """
    path = Path(path)
    if path.exists():
        raise InputError(f"a model's folder must be new, got {path}, which is there; choose another name")
    with replacing(path) as folder:
        folder.mkdir(parents=True)
        index = json.dumps({"_class_name": "StableVideoDiffusionPipeline"})
        (folder / "model_index.json").write_text(index + "\n", encoding="utf-8")
        model.unet.save_pretrained(folder / "unet")
        vae: Any = model.vae
        save_vae = vae.save_config if isinstance(vae, PixelCodec) else vae.save_pretrained
        save_vae(folder / "vae")
        _save_image_encoder(model.image_encoder, folder / "image_encoder")


def _save_image_encoder(tower: Any, folder: Path) -> None:
    """Save the image tower as transformers does, without the progress bar that it draws meanwhile."""
    config = copy.deepcopy(tower.config)
    config.architectures = [type(tower).__name__]
    config.save_pretrained(folder)
    state = {name: tensor.cpu().contiguous() for name, tensor in tower.state_dict().items()}
    save_file(state, folder / "model.safetensors", {"format": "pt"})


def _fold_quant_conv(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put an autoencoder's 1x1 convolution after the encoder into the layer before it."""
    state = dict(state)
    mixing, shift = state.pop("quant_conv.weight")[:, :, 0, 0], state.pop("quant_conv.bias")
    identity = torch.eye(len(mixing), dtype=mixing.dtype, device=mixing.device)
    if torch.equal(mixing, identity) and not shift.any():
        return state
    weight, bias = state["encoder.conv_out.weight"], state["encoder.conv_out.bias"]
    mixing, shift = mixing.double(), shift.double()
    state["encoder.conv_out.weight"] = torch.einsum("oi,ichw->ochw", mixing, weight.double()).to(weight.dtype)
    state["encoder.conv_out.bias"] = (mixing @ bias.double() + shift).to(bias.dtype)
    return state
