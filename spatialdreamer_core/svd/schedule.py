"""Noise levels, noise and Euler steps of EDM (Karras et al., arXiv 2206.00364), as SVD is sampled.

SVD predicts v of a sample z + σ·n with data of standard deviation 1. Its clean estimate is
ẑ0 = c_skip·x + c_out·UNet(c_in·x, ln σ / 4, …), with c_skip = 1/(σ²+1), c_out = -σ/√(σ²+1), c_in = 1/√(σ²+1).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from ..checks import check_range

MAX_STEPS = 200
SIGMA_MIN = 0.002  # as published in SVD's scheduler
SIGMA_MAX = 700.0
_RHO = 7.0  # of Karras' spacing
_COUNTED = 25  # steps of the run by whose levels a strength is named: SVD's own number


def karras_sigmas(steps: int, *, strength: float = 1.0) -> Tensor:  # [n+1] float64, falling, the last is 0
    """List the noise levels of a run: Eq. 5 of Karras et al. with ρ = 7, then 0.

    Args:
        steps: Steps of a whole run, 1 to 200.
        strength: Where the run starts, 0 to 1: at 1 from noise, below from a picture under noise whose level
            is the same for any number of steps: that at which a whole run of 25 has this share of its steps
            left (.4: 3.9).

    Returns:
        max(1, round(steps · strength)) levels and 0.

    Raises:
        InputError: If an argument is out of range.
    """
    check_range("steps", steps, 1, MAX_STEPS)
    check_range("strength", strength, 0, 1)
    start = min(1.0, (1 - strength) * _COUNTED / (_COUNTED - 1))
    left = torch.arange(max(1, round(steps * strength)), dtype=torch.float64).flip(0)
    ramp = 1 - left * ((1 - start) / left[0]) if len(left) > 1 else left + start
    low, high = SIGMA_MIN ** (1 / _RHO), SIGMA_MAX ** (1 / _RHO)
    sigmas = (high + ramp * (low - high)) ** _RHO
    return torch.cat([sigmas, sigmas.new_zeros(1)])


def noise_time(sigma: float | Tensor) -> Tensor:
    """Return the UNet's time of a noise level or of several, c_noise = ln σ / 4."""
    return torch.as_tensor(sigma).log() / 4


def scale_input(noisy: Tensor, sigma: float | Tensor) -> Tensor:
    """Scale a noisy sample to unit variance for the UNet, c_in·x."""
    return noisy / (sigma**2 + 1) ** 0.5


def clean_estimate(
    output: Tensor,  # the UNet's prediction of v
    noisy: Tensor,
    sigma: float | Tensor,
) -> Tensor:
    """Return the denoiser's clean estimate ẑ0 = c_skip·x + c_out·v."""
    return noisy / (sigma**2 + 1) - output * (sigma / (sigma**2 + 1) ** 0.5)


def euler_step(noisy: Tensor, clean: Tensor, sigma: float, next_sigma: float) -> Tensor:
    """Go from one noise level to the next along the line through the clean estimate."""
    return clean + (noisy - clean) * (next_sigma / sigma)


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
