"""Percentiles of maps of any size, of a bounded number of samples."""

from __future__ import annotations

from math import gcd

import torch
from torch import Tensor

_SAMPLES = 1 << 20  # values that percentiles are taken from


def percentiles(
    values: Tensor,  # [..., W]
    low: float,
    high: float,
) -> tuple[float, float]:
    """Return the values below which the shares `low` and `high` lie, of about a million spread evenly."""
    bounds = torch.quantile(_spread(values), torch.tensor([low, high], device=values.device))
    return float(bounds[0]), float(bounds[1])


def percentile(values: Tensor, share: float) -> Tensor:  # []
    """Return the value below which a share of the values lies, on their device: nothing waits for it."""
    return torch.quantile(_spread(values), share)


def _spread(values: Tensor) -> Tensor:
    """Take about a million of the values, spread evenly."""
    step = max(1, values.numel() // _SAMPLES)
    while gcd(step, values.shape[-1]) != 1:
        step += 1
    return values.detach().reshape(-1)[::step].float()
