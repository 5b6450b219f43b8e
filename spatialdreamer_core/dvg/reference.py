"""Readable twins of the fast operations in this folder; tests hold the fast ones to them."""

from __future__ import annotations

import torch
from torch import Tensor


def splat_rows_reference(
    values: Tensor,  # [F, C, H, W]
    disparity: Tensor,  # [F, 1, H, W] px
    *,
    sign: int = -1,
) -> tuple[Tensor, Tensor]:  # [F, C, H, W], [F, 1, H, W]
    """Softmax splatting (Niklaus and Liu 2020, arXiv 2003.05534) along rows, with `scatter_add_`.

    Each source pixel lands between two columns around x + sign · d, with bilinear weights times exp(d); what
    falls outside lands in two spare columns. The reference of the exponent is fixed at d = 0, so that a
    clip's parts equal the whole; beyond ±80 px it saturates.

    Returns:
        The weighted mean of what lands on each pixel (0 where nothing does), and the coverage: the sum of the
        bilinear weights alone.
    """
    frames, channels, height, width = values.shape
    target = torch.arange(width, device=values.device) + sign * disparity
    left = target.floor()
    fraction = target - left
    weight = disparity.clamp(-80, 80).exp()
    payload = torch.cat([values * weight, weight, torch.ones_like(weight)], dim=1)
    sums = payload.new_zeros(frames, channels + 2, height, width + 2)
    for column, share in ((left, 1 - fraction), (left + 1, fraction)):
        index = column.long().clamp(-1, width) + 1
        sums = sums.scatter_add(3, index.expand_as(payload), payload * share)
    sums = sums[..., 1:-1]
    return sums[:, :channels] / sums[:, channels : channels + 1].clamp(min=1e-37), sums[:, channels + 1 :]
