"""Readable twin of TIL; tests hold the fast one to it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .til import SiteInteraction


def mix_frames_reference(
    projections: SiteInteraction,
    features: Tensor,  # [F, N, C]
    *,
    neighbours: int,
    weight: float,
) -> Tensor:  # [F, N, C]
    """Mix the frames of a clip as Eq. 3 is written, one pair after the other.

    Args:
        projections: Those of the features' site.
        features: What RefinerNet wrote there.
        neighbours: N_r, even.
        weight: λ.
    """
    query, key, value = projections.project(features)
    last = features.shape[0] - 1
    offsets = [*range(-neighbours // 2, 0), *range(1, neighbours // 2 + 1)]
    mixed = []
    for r in range(last + 1):
        total = weight * F.scaled_dot_product_attention(query[r], key[r], value[r])
        for offset in offsets:
            i = min(max(r + offset, 0), last)
            attention = F.scaled_dot_product_attention(query[r], key[i], value[i])
            total = total + (1 - weight) / neighbours * attention
        mixed.append(total)
    return projections.output(torch.stack(mixed))
