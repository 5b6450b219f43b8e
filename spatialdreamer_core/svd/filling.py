"""Giving networks that were built without memory the tensors of a safetensors file.

Tensors are read one by one and converted on their way, so that loading needs little more memory than the
network. Nothing is left mapped: the file may be replaced afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from ..checks import InputError, one_line
from .files import Header, compare_shapes
from .sgm_keys import Table

ADDRESS = "https://huggingface.co/stabilityai/stable-video-diffusion-img2vid-xt"  # of the published model
QUANT_CONV = "quant_conv."  # of the autoencoder, which files may lack; it is the identity then


def check_tensors(header: Header, networks: Iterable[tuple[nn.Module, Table]], *, unused: str) -> None:
    """Check that a file holds what networks need and nothing else.

    Args:
        header: The file.
        networks: The networks, each with its table.
        unused: Pattern of the names that may be there besides; it matches their start.

    Raises:
        InputError: If tensors are missing, unexpected, of another shape, or not of floats.
    """
    wanted = {
        table[name].key: table[name].stored_shape(tuple(tensor.shape))
        for network, table in networks
        for name, tensor in network.state_dict().items()
        if name in table
    }
    found = {key: shape for key, shape in header.shapes.items() if key in wanted or not re.match(unused, key)}
    differences = compare_shapes(wanted, found)
    differences["of another shape"] = [
        f"{key} {list(found[key])} for {list(wanted[key])}" for key in differences["of another shape"]
    ]
    problems = [
        f"{len(keys)} {what} (such as {', '.join(keys[:3])})" for what, keys in differences.items() if keys
    ]
    if problems:
        raise InputError(
            f"{header.file} must hold exactly the {len(wanted)} tensors of Stable Video Diffusion, got "
            f"{'; '.join(problems)}; download it again, or choose {ADDRESS}"
        )
    header.check_floats(set(wanted))


def fill(network: nn.Module, table: Table, header: Header, dtype: torch.dtype, device: torch.device) -> Any:
    """Give a network without memory the weights of a checked file, in evaluation mode and without gradients.

    Raises:
        InputError: If the file is damaged.
    """
    state = {}
    try:
        with safe_open(header.file, framework="pt") as file:
            for name, parameter in network.state_dict().items():
                state[name] = torch.empty(parameter.shape, dtype=dtype, device=device)
                if name in table:
                    state[name].copy_(table[name].from_stored(file.get_tensor(table[name].key)))
    except OSError as error:
        raise InputError(
            f"{header.file} cannot be read ({one_line(error)}); on Windows a larger paging file helps, or a "
            "file in half precision"
        ) from error
    except SafetensorError as error:
        raise InputError(f"{header.file} is damaged ({one_line(error)}); download it again") from error
    if QUANT_CONV + "weight" in state and QUANT_CONV + "weight" not in table:
        torch.nn.init.dirac_(state[QUANT_CONV + "weight"])
        state[QUANT_CONV + "bias"].zero_()
    network.load_state_dict(state, assign=True)
    for name, buffer in list(network.named_buffers()):
        if buffer.is_meta:  # is in no file
            assert name.endswith("position_ids"), name
            owner = network.get_submodule(name.rpartition(".")[0])
            owner.position_ids = torch.arange(buffer.shape[-1], device=device).expand(buffer.shape)
    return network.eval().requires_grad_(False)
