"""Whether work is done by Triton kernels: on NVIDIA's GPUs where Triton runs, without gradients.

Each kernel lives in a `*_triton.py` beside its torch twin, which every other device runs. With
TRITON_INTERPRET=1 in the environment, before the program starts, Triton interprets its kernels on the CPU:
so tests run the same kernels without a GPU, very slowly.
"""

from __future__ import annotations

import functools
import logging
import os

import torch
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
_LOGGER = logging.getLogger(__name__)


def use_kernels(*tensors: Tensor | None) -> bool:
    """Tell whether kernels can work on these tensors: all on one device, none that needs a gradient."""
    given = [tensor for tensor in tensors if tensor is not None]
    devices = {tensor.device for tensor in given}
    if len(devices) != 1 or (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)):
        return False
    return kernels_run(devices.pop())


@functools.cache
def kernels_run(device: torch.device) -> bool:
    """Tell whether Triton runs on a device, by trying it once.

    Triton is not made for every system, and at run time it needs a C compiler and a GPU that it knows.
    """
    if device.type == "cpu" and not INTERPRETED:
        return False
    if device.type not in ("cpu", "cuda") or torch.version.hip is not None:  # torch calls AMD's GPUs CUDA too
        return False
    try:
        from .triton_probe import run_probe
    except ImportError:
        return False
    try:
        run_probe(device)
    except Exception as error:  # whatever it is, torch can do the work
        _LOGGER.warning("this is slower than it could be: Triton does not run on %s: %s", device, error)
        return False
    return True
