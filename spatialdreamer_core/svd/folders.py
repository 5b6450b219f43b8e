"""Loading Stable Video Diffusion from a folder in diffusers' layout: a config and a safetensors file each.

Only safetensors and plain configs are read, and nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from ..checks import InputError, one_line
from .files import read_header, read_json
from .filling import ADDRESS, check_tensors, fill
from .sgm_keys import Place
from .unet import build_unet, check_unet

_PIPELINE = "StableVideoDiffusionPipeline"
_DIFFUSERS_WEIGHTS = "diffusion_pytorch_model"
_TRANSFORMERS_WEIGHTS = "model"
_UNUSED = r"vision_model\.embeddings\.position_ids$"  # which old versions of transformers saved


def load_folder(folder: Path, dtype: torch.dtype, device: torch.device, *, with_unet: bool) -> dict[str, Any]:
    """Load the networks of a folder by name, with or without the UNet.

    Raises:
        InputError: If a network is missing, damaged, a pickle or another one.
    """
    index = folder / "model_index.json"
    pipeline = read_json(index).get("_class_name") if index.is_file() else _PIPELINE
    wanted = ("unet", "vae", "image_encoder") if with_unet else ("vae", "image_encoder")
    absent = [part for part in wanted if not (folder / part / "config.json").is_file()]
    if pipeline != _PIPELINE or absent:
        found = f"a {pipeline}" if pipeline != _PIPELINE else f"one without {' and '.join(absent)}"
        raise InputError(
            f"{folder} must be the folder of a {_PIPELINE} with {', '.join(wanted)}, got {found}; choose a "
            f"copy of {ADDRESS}, or a single safetensors file"
        )
    vae = _build(folder / "vae", "AutoencoderKLTemporalDecoder", AutoencoderKLTemporalDecoder.from_config)
    tower = _build(folder / "image_encoder", "CLIPVisionModelWithProjection", _build_image_encoder)
    parts = {"unet": load_unet_folder(folder / "unet", dtype, device)} if with_unet else {}
    parts["vae"] = _load(vae, folder / "vae", _DIFFUSERS_WEIGHTS, dtype, device)
    parts["image_encoder"] = _load(tower, folder / "image_encoder", _TRANSFORMERS_WEIGHTS, dtype, device)
    return parts


def load_unet_folder(
    folder: Path, dtype: torch.dtype, device: torch.device
) -> UNetSpatioTemporalConditionModel:
    """Load the UNet of a folder.

    Raises:
        InputError: If it is missing, damaged, a pickle or another network.
    """
    unet = _build(folder, "UNetSpatioTemporalConditionModel", lambda config: build_unet(**config))
    check_unet(unet, folder)
    return _load(unet, folder, _DIFFUSERS_WEIGHTS, dtype, device)


def _build_image_encoder(config: dict[str, Any]) -> CLIPVisionModelWithProjection:
    """Build an image tower of its config."""
    return CLIPVisionModelWithProjection(CLIPVisionConfig.from_dict(config))


def _build(folder: Path, class_name: str, build: Callable[[dict[str, Any]], Any]) -> Any:
    """Build the network of a folder without memory; its config has to name the class."""
    file = folder / "config.json"
    if not file.is_file():
        raise InputError(
            f"the folder of a {class_name} must hold a config.json, but there is none in {folder}; choose "
            "the folder with the network's config.json and safetensors file"
        )
    config = read_json(file)
    found = config.get("_class_name") or next(
        iter(config.get("architectures") or []), "network without a name"
    )
    if found != class_name:
        raise InputError(f"{folder} must hold a {class_name}, got a {found}; choose a copy of {ADDRESS}")
    try:
        with torch.device("meta"):
            return build(config)
    except (TypeError, ValueError, LookupError) as error:
        raise InputError(
            f"{file} must be the config of a {class_name}, but none can be built from it "
            f"({one_line(error)}); download that folder again"
        ) from error


def _load(network: nn.Module, folder: Path, stem: str, dtype: torch.dtype, device: torch.device) -> Any:
    """Give a network the weights of its folder."""
    header = read_header(_find_weights(folder, stem, dtype))
    table = {name: Place(name) for name in network.state_dict()}
    check_tensors(header, [(network, table)], unused=_UNUSED)
    return fill(network, table, header, dtype, device)


def _find_weights(folder: Path, stem: str, dtype: torch.dtype) -> Path:
    """Find a network's weights: those in half precision unless all of it is wanted, or the others."""
    names = [f"{stem}.fp16.safetensors", f"{stem}.safetensors"]
    if dtype == torch.float32:
        names.reverse()
    file = next((folder / name for name in names if (folder / name).is_file()), None)
    if file is None:
        pickles = sorted(path.name for path in folder.glob("*.bin"))
        found = f"only {pickles[0]}, a pickle, which is not read" if pickles else "neither"
        raise InputError(
            f"{folder} must hold {' or '.join(sorted(names))}, got {found}; download the safetensors file"
        )
    return file
