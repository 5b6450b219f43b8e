"""The smallest Triton kernel, which shows whether kernels run on a device (`kernels.py`)."""

from __future__ import annotations

import torch
import triton
import triton.language as tl


def run_probe(device: torch.device) -> None:
    """Run a kernel and wait for it; raises whatever Triton raises where it cannot."""
    value = torch.zeros(1, dtype=torch.int32, device=device)
    with torch.cuda.device_of(value):
        _store_one[(1,)](value)
    if int(value) != 1:
        raise RuntimeError("a kernel ran without a result")


@triton.jit
def _store_one(value: tl.tensor) -> None:
    """Store a one."""
    tl.store(value, 1)
