"""Loading Stable Video Diffusion from a folder in diffusers' layout: config and safetensors for each network.

Only safetensors and plain configs are read, and nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel

from ...checks import InputError
from ...parsing import parsing
from ...weights.files import read_header, read_json
from ...weights.loading import Place, check_tensors, load_into
from ..codec import PixelCodec
from .networks import ADDRESS, build_image_encoder, build_svd_unet, build_svd_vae

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
        found = f"a {str(pipeline)[:60]}" if pipeline != _PIPELINE else f"one without {' and '.join(absent)}"
        raise InputError(
            f"{folder} must be the folder of a {_PIPELINE} with {', '.join(wanted)}, got {found}; choose a "
            f"copy of {ADDRESS}, or a single safetensors file"
        )
    parts: dict[str, Any] = {"vae": _load_vae(folder / "vae", dtype, device)}
    if with_unet:
        parts["unet"] = load_unet_folder(folder / "unet", dtype, device)
    parts["image_encoder"] = _load(
        folder / "image_encoder",
        "CLIPVisionModelWithProjection",
        build_image_encoder,
        _TRANSFORMERS_WEIGHTS,
        dtype,
        device,
    )
    return parts


def load_unet_folder(
    folder: Path, dtype: torch.dtype, device: torch.device
) -> UNetSpatioTemporalConditionModel:
    """Load the UNet of a folder.

    Raises:
        InputError: If it is missing, damaged, a pickle or another network.
    """
    name = "UNetSpatioTemporalConditionModel"
    return _load(folder, name, build_svd_unet, _DIFFUSERS_WEIGHTS, dtype, device)


def _load_vae(
    folder: Path, dtype: torch.dtype, device: torch.device
) -> AutoencoderKLTemporalDecoder | PixelCodec:
    """Load the autoencoder of a folder, or make the codec without weights that its config names."""
    file = folder / "config.json"
    config = read_json(file)
    if config.get("_class_name") == "PixelCodec":
        remedy = "save the model's folder again"
        with parsing(file, rule="a config must be that of a PixelCodec", remedy=remedy):
            return PixelCodec(**{name: config[name] for name in ("factor", "scaling")})
    return _load(folder, "AutoencoderKLTemporalDecoder", build_svd_vae, _DIFFUSERS_WEIGHTS, dtype, device)


def _load(
    folder: Path,
    class_name: str,
    build: Callable[..., Any],  # of config, header and file
    stem: str,
    dtype: torch.dtype,
    device: torch.device,
) -> Any:
    """Load the network of a folder; its config has to name the class."""
    file = folder / "config.json"
    if not file.is_file():
        raise InputError(
            f"the folder of a {class_name} must hold a config.json, but there is none in {folder}; choose "
            "the folder with the network's config.json and safetensors file"
        )
    config = read_json(file)
    architectures = config.get("architectures")
    named = (
        architectures[0] if isinstance(architectures, list) and architectures else "network without a name"
    )
    found = config.get("_class_name") or named
    if found != class_name:
        raise InputError(
            f"{folder} must hold a {class_name}, got a {str(found)[:60]}; choose a copy of {ADDRESS}"
        )
    header = read_header(_find_weights(folder, stem, dtype))
    network = build(config, header, file=file)
    table = {name: Place(name) for name in network.state_dict()}
    check_tensors(header, [(network, table)], unused=_UNUSED, what=f"a {class_name}", address=ADDRESS)
    return load_into(network, table, header, dtype, device)


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
