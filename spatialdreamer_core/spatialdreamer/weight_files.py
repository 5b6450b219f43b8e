"""Finding a UNet's weights, and giving a module exactly the ones it needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ..checks import InputError
from ..weights.files import compare_shapes

_PUBLISHED = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors")


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
