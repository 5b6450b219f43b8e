"""Memory: how much is free, how running out of it is told from other errors, and what gives some back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import psutil
import torch

T = TypeVar("T")

_SAYINGS = (  # in lower case
    *("out of memory", "alloc_failed"),  # CUDA and MPS; cuBLAS and cuDNN
    *("not enough memory", "can't allocate memory"),  # the CPU
    *("out_of_device_memory", "not enough gpu video memory"),  # XPU; DirectML
)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether torch raised an error because memory did not suffice, on whatever device."""
    return any(saying in str(error).lower() for saying in _SAYINGS)


def attempt(run: Callable[[], T]) -> T | None:
    """Return what a function returns, or None if memory did not suffice, with all that it held set free."""
    try:
        return run()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    # Only here is the error gone, whose traceback holds the function's tensors.
    release_cached_memory()
    return None


def free_memory(device: torch.device) -> int:
    """Return how many bytes can be allocated on a device; for others than CUDA's, main memory's."""
    if device.type != "cuda":
        return psutil.virtual_memory().available
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + cached


def release_cached_memory() -> None:
    """Give the blocks back that torch keeps on the GPU for later use."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
