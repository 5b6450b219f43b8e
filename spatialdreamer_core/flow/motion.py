"""Flow together with where it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Motion:
    """Flow of a frame towards a neighbour."""

    flow: Tensor  # [1, 2, H, W] px
    confidence: Tensor  # [1, 1, H, W] in [0, 1], see `flow_confidence`
