"""Weights loaded into networks that were built on the meta device.

A table maps every tensor of a network to its place in the file. Tensors are read one by one and converted on
their way, so that loading needs little more memory than the network. Nothing is left mapped: the file may be
replaced afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import InputError
from ..memory import require_memory
from .files import Header, compare_shapes, open_tensors


@dataclass(frozen=True)
class Place:
    """Where a file keeps one tensor of a network, and in what form."""

    key: str  # name in the file
    third: int | None = None  # which third of the rows, where queries, keys and values are one tensor
    transposed: bool = False  # whether the file has columns for rows
    convolution: bool = False  # whether the file has a 1x1 convolution [O, I, 1, 1] for a linear layer [O, I]

    def stored_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the file's tensor, given that of the network's."""
        if self.third is not None:
            return (3 * shape[0], *shape[1:])
        if self.transposed:
            return shape[::-1]
        return (*shape, 1, 1) if self.convolution else shape

    def from_stored(self, stored: Tensor) -> Tensor:
        """Return the network's tensor, a view of the file's."""
        if self.third is not None:
            return stored.chunk(3)[self.third]
        if self.transposed:
            return stored.T
        return stored[:, :, 0, 0] if self.convolution else stored


Table = dict[str, Place]  # from a network's names


def check_tensors(
    header: Header, networks: Iterable[tuple[nn.Module, Table]], *, unused: str, what: str, address: str
) -> None:
    """Check that a file holds what networks need and nothing else.

    Args:
        header: The file.
        networks: The networks, each with its table.
        unused: Pattern of the names that may be there besides; it matches their start.
        what: What the networks are together, for the message.
        address: Where they are published, for the message.

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
            f"{header.file} must hold exactly the {len(wanted)} tensors of {what}, got "
            f"{'; '.join(problems)}; download it again, or choose {address}"
        )
    header.check_floats(set(wanted))


def load_into(
    network: nn.Module, table: Table, header: Header, dtype: torch.dtype, device: torch.device
) -> Any:
    """Load a checked file's weights into a network on the meta device; it is in evaluation mode afterwards.

    Tensors that are not in the table are left for the caller to set.

    Raises:
        InputError: If the file is damaged, or memory does not suffice.
    """
    wanted = network.state_dict()
    require_memory(
        sum(tensor.numel() for tensor in wanted.values()) * dtype.itemsize,
        what=str(header.file),
        remedy="close other programs, or choose a lower precision or a smaller model",
        device=device,
    )
    state = {}
    with open_tensors(header) as get_tensor:
        for name, parameter in wanted.items():
            state[name] = torch.empty(parameter.shape, dtype=dtype, device=device)
            if name in table:
                state[name].copy_(table[name].from_stored(get_tensor(table[name].key)))
    network.load_state_dict(state, assign=True)
    for name, buffer in list(network.named_buffers()):
        if buffer.is_meta:  # is in no file
            assert name.endswith("position_ids"), name
            owner = network.get_submodule(name.rpartition(".")[0])
            owner.position_ids = torch.arange(buffer.shape[-1], device=device).expand(buffer.shape)
    return network.eval().requires_grad_(False)


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], *, name: str, source: str) -> None:
    """Load tensors into a module that must have exactly those; it keeps them as they are.

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
