"""Stable Diffusion pipelines, put together from the parts of a folder in diffusers' layout.

A pipeline of diffusers loads whatever its `model_index.json` names, modules of the folder included. So its
parts are made here, each of the one class that it has to have, from a plain config and safetensors; nothing
else of the folder is read, and nothing is fetched.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ..checks import InputError
from ..parsing import parsing
from .files import Header, read_header, read_json
from .loading import Place, Table, check_tensors, load_into
from .networks import build_network, check_config, check_types, load_transformers_network

_LIBRARIES = (None, "diffusers", "transformers", "stable_diffusion")  # whose classes a folder may name
_PARTS = {  # by name of a part: the library and the class that it has to have
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
}
_TRAINED = 1000  # timesteps of every Stable Diffusion
_LONGEST_FILE = 1 << 24  # bytes, of a tokenizer
_FORMER_NAMES = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}


def read_index(folder: Path, *, what: str, address: str) -> dict[str, Any]:
    """Read which pipeline a folder holds, and check that it is made of diffusers' and transformers' parts.

    Args:
        folder: The folder.
        what: What it should be, for messages.
        address: Where such a pipeline is published, for messages.

    Raises:
        InputError: If it holds no pipeline, or one with parts of other kinds.
    """
    file = folder / "model_index.json"
    if not file.is_file():
        raise InputError(
            f"the folder of {what} must hold a pipeline in diffusers' layout, but {file} is missing; give "
            f"the folder of one, such as that of {address}"
        )
    index = read_json(file)
    parts = {name: part for name, part in index.items() if isinstance(part, list)}
    foreign = [
        name
        for name, part in parts.items()
        if len(part) != 2 or part[0] not in _LIBRARIES or (name in _PARTS and tuple(part) != _PARTS[name])
    ]
    absent = [name for name in (*_PARTS, "scheduler") if name not in parts]
    if foreign or absent:
        found = f"others for {', '.join(foreign)}, whose code is not run" if foreign else "none for "
        raise InputError(
            f"{folder} must be made of diffusers' and transformers' parts, got {found}"
            f"{'' if foreign else ', '.join(absent)}; give the folder of another model"
        )
    return index


def load_parts(folder: Path, index: Mapping[str, Any], *, channels: int, address: str) -> dict[str, Any]:
    """Load the parts of a pipeline by name, in float32 on the CPU.

    Args:
        folder: The pipeline's folder.
        index: What `read_index` returned.
        channels: Input channels of the UNet.
        address: Where such a pipeline is published, for messages.

    Raises:
        InputError: If a part is missing, damaged or another model's, or parts do not fit each other.
        ImportError: If a package is missing or too old.
    """
    classes = {
        name: getattr(importlib.import_module(library), part) for name, (library, part) in _PARTS.items()
    }
    scheduler = _load_scheduler(folder, index["scheduler"][1])
    tokenizer = _load_tokenizer(classes["tokenizer"], folder / "tokenizer")
    text = _read_text_config(folder / "text_encoder" / "config.json")
    if len(tokenizer) > text.vocab_size or tokenizer.model_max_length > text.max_position_embeddings:
        raise InputError(
            f"a tokenizer must have at most the text encoder's {text.vocab_size} words and "
            f"{text.max_position_embeddings} places, got {len(tokenizer)} and {tokenizer.model_max_length} "
            f"in {folder}; download that folder again"
        )

    def try_unet(unet: Any) -> None:
        latents = torch.zeros(1, channels, 16, 16)
        prompt = torch.zeros(1, 1, text.hidden_size)
        _check_shape(unet(latents, torch.zeros(1), prompt).sample, (1, 4, 16, 16))

    def try_vae(vae: Any) -> None:
        factor = 2 ** (len(vae.config.block_out_channels) - 1)  # as pipelines compute it
        latents = vae.encode(torch.zeros(1, 3, 8 * factor, 8 * factor)).latent_dist.mode()
        _check_shape(latents, (1, 4, 8, 8))
        _check_shape(vae.decode(latents).sample, (1, 3, 8 * factor, 8 * factor))

    # All that can be wrong is found before any weight is read.
    unet = _build(classes["unet"], folder / "unet", try_unet, address)
    vae = _build(classes["vae"], folder / "vae", try_vae, address)
    text_encoder = _load_text_encoder(classes["text_encoder"], folder / "text_encoder")
    networks = {
        name: load_into(*network, torch.float32, torch.device("cpu"))
        for name, network in (("unet", unet), ("vae", vae))
    }
    return {**networks, "text_encoder": text_encoder, "tokenizer": tokenizer, "scheduler": scheduler}


def _build(
    network_class: Any, folder: Path, trial: Callable[[Any], None], address: str
) -> tuple[Any, Table, Header]:
    """Build a network of diffusers without memory, and check that its weights fit; what `load_into` takes."""
    file = folder / "config.json"
    config, header = read_json(file), _find_header(folder, "diffusion_pytorch_model")

    def build(config: dict[str, Any]) -> Any:
        check_types(network_class, config)
        return network_class.from_config(config)

    name = network_class.__name__
    network = build_network(build, config, header, file=file, what=name, trial=trial)
    table = {tensor: Place(_stored_name(tensor, header)) for tensor in network.state_dict()}
    check_tensors(header, [(network, table)], unused=r"(?!)", what=f"a {name}", address=address)
    return network, table, header


def _read_text_config(file: Path) -> Any:
    """Read a text encoder's config."""
    from transformers import CLIPTextConfig

    with parsing(file, rule="a config must be that of a CLIPTextModel", remedy="download that folder again"):
        config = CLIPTextConfig.from_dict(check_config(read_json(file), file))
        for name in ("vocab_size", "max_position_embeddings", "hidden_size"):
            value = getattr(config, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} is {str(value)[:40]}")
        return config


def _load_text_encoder(text_class: Any, folder: Path) -> Any:
    """Load a text encoder; none of its tensors may be missing."""
    from transformers import CLIPTextConfig

    header = _find_header(folder, "model")
    file = folder / "config.json"
    network, missing = load_transformers_network(
        text_class, CLIPTextConfig, read_json(file), header, file=file
    )
    if missing:
        raise InputError(
            f"a text encoder must be whole, but {header.file} lacks {len(missing)} tensors, such as "
            f"{missing[0]}; download it again"
        )
    return network.float()


def _load_tokenizer(tokenizer_class: Any, folder: Path) -> Any:
    """Load a tokenizer."""
    rule = "a tokenizer must come with its whole files"
    with parsing(folder, rule=rule, remedy="download that folder again"):
        if not folder.is_dir():
            raise ValueError("there is no such folder")
        large = [item.name for item in os.scandir(folder) if item.stat().st_size > _LONGEST_FILE]
        if large:
            raise ValueError(f"{large[0]} is larger than {_LONGEST_FILE >> 20} MB")
        tokenizer = tokenizer_class.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        tokenizer("a photo", padding="max_length", max_length=4, truncation=True)
        if not 2 <= tokenizer.model_max_length:
            raise ValueError(f"model_max_length is {tokenizer.model_max_length}")
        return tokenizer


def _load_scheduler(folder: Path, name: object) -> Any:
    """Load a scheduler of diffusers and try a few steps."""
    diffusers = importlib.import_module("diffusers")
    file = folder / "scheduler" / "scheduler_config.json"
    config = check_config(read_json(file), file)
    scheduler_class: Any = getattr(diffusers, name, None) if isinstance(name, str) else None
    if diffusers.SchedulerMixin not in getattr(scheduler_class, "__mro__", ()):
        raise InputError(
            f"a scheduler must be one of diffusers, got {str(name)[:60]} in {folder}; give the folder of "
            "another model"
        )
    with parsing(file, rule=f"a config must be that of a {name}", remedy="download that folder again"):
        check_types(scheduler_class, config)
        steps = config.get("num_train_timesteps", _TRAINED)
        if steps != _TRAINED:
            raise ValueError(f"num_train_timesteps is {steps}, not {_TRAINED}")
        tried = scheduler_class.from_config(config)
        tried.set_timesteps(4)
        sample = torch.zeros(1, 1, 2, 2)
        with torch.random.fork_rng(devices=[]):  # some draw noise
            for timestep in tried.timesteps:
                tried.scale_model_input(sample, timestep)
                sample = tried.step(torch.ones_like(sample), timestep, sample).prev_sample
        if not sample.isfinite().all():
            raise ValueError("its steps are not finite")
        return scheduler_class.from_config(config)


def _find_header(folder: Path, stem: str) -> Header:
    """Read the header of a network's weights, of those in half precision where there are some."""
    files = [folder / f"{stem}.fp16.safetensors", folder / f"{stem}.safetensors"]
    return read_header(next((file for file in files if file.is_file()), files[1]))


def _stored_name(name: str, header: Header) -> str:
    """Return a tensor's name in a file: older ones name the autoencoder's attention differently."""
    if name in header.shapes:
        return name
    for now, former in _FORMER_NAMES.items():
        if now in name and name.replace(now, former) in header.shapes:
            return name.replace(now, former)
    return name


def _check_shape(result: torch.Tensor, expected: tuple[int, ...]) -> None:
    """Check that a network without memory gives tensors of the shape that its pipeline needs."""
    if tuple(result.shape) != expected:
        raise ValueError(f"it gives {list(result.shape)} where {list(expected)} is needed")
