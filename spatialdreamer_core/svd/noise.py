"""Noise by absolute frame index: windows share it, and every device and thread count gets the same."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor


def frame_noise(
    seed: int,
    frames: Iterable[int],
    *,
    height: int,
    width: int,
    channels: int = 4,
    stream: int = 0,
) -> Tensor:  # [F, C, h, w] float32 on the CPU
    """Draw normal noise for some frames of a clip.

    Args:
        seed: Seed of the run, 0 or larger.
        frames: Absolute indices of the frames; a frame's noise depends on nothing but its index.
        height: Of the noise.
        width: Of the noise.
        channels: Of the noise.
        stream: Number of an independent noise of the same seed, such as for the conditioning.
    """
    noise = []
    for frame in frames:
        # torch's generator uses 32 bits of a seed, so numpy mixes the three numbers into as many.
        mixed = int(np.random.SeedSequence((seed, stream, frame)).generate_state(1)[0])
        generator = torch.Generator().manual_seed(mixed)
        noise.append(torch.randn(channels, height, width, generator=generator))
    return torch.stack(noise)
