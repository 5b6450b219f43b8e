"""Out of memory: how it is told from other errors, and what gives some back."""

from __future__ import annotations

import torch

_SAYINGS = ("out of memory", "not enough memory", "can't allocate memory")  # of CUDA and MPS, and of the CPU


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether torch raised an error because memory did not suffice, on whatever device."""
    return any(saying in str(error) for saying in _SAYINGS)


def release_cached_memory() -> None:
    """Give the blocks back that torch keeps on the GPU for later use."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
