"""Comparisons of tensors, which on the CPU NumPy makes in a seventh of the time that torch takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def compare(rule: Callable[..., Any], *values: Tensor) -> Tensor:  # bool
    """Apply a rule of comparisons to tensors: the same as `rule(*values)`, without gradients.

    Args:
        rule: Takes as many tensors, or arrays, as are given, and compares their values by `<` and such.
        *values: The tensors, on one device.
    """
    if not all(map(_numpy_reads, values)):
        return rule(*values)
    return torch.from_numpy(rule(*(value.detach().numpy() for value in values)))


def _numpy_reads(values: Tensor) -> bool:
    """Tell whether NumPy can look at a tensor where it lies, and gives an array for it."""
    return values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64) and values.dim() > 0
