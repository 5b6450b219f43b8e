"""Sampling with known regions: what a picture shows stays, only its holes are diffused.

After each denoising the clean estimate gets its known latents back (`KnownLatents.put_back`), and with them
the noise that they are under: the line that an Euler step goes along passes through them. Such a step alone
lets the filling follow the known latents only as far as one look at them does, so a level may be *resampled*
(RePaint, arXiv 2201.09865): noise is added until the sample is back at the level, and it is denoised again.

RePaint and S2VG (arXiv 2508.08048) put known latents back under fresh noise instead. By exact denoisers that
comes 4 % nearer to the true mean without resampling and no more than 1 % nearer with it, at one cost
(benchmarks/frame_matrix.py); but where a latent is known in part, noise mixed with other noise is less than
the level has, and what is known in the estimate comes back as it was.

A latent mixes the pixels of its square and, by the encoder's reach, of its neighbours. It counts as known if
at least `LEAST_COVERAGE` of its own pixels are, and the less the nearer it is to a hole. What the hole has
put into it goes by *boundary re-injection* (S2VG): the estimate is decoded, the known pixels are pasted into
it at full resolution, and what the encoder makes of that takes the known latents' place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import InputError, check_range, check_video
from .model import LATENT_FACTOR
from .schedule import euler_step
from .windows import Region

if TYPE_CHECKING:
    from .codec import Codec

LEAST_COVERAGE = 0.7  # of a latent's pixels that must be known, as in the code of SVG, S2VG's forerunner
_LEAST_RESAMPLED = 0.05  # sigma; by exact denoisers, repeats below change the third digit of the error
_SEAM = 2  # latents, how far from a hole known ones count less
_SEAM_SPREAD = 1.1  # latents, the Gaussian by which they do

Estimate = Callable[[Tensor, float, int], Tensor]  # (noisy, sigma, how many came before it) -> clean estimate


class Resampling(NamedTuple):
    """How often each noise level is denoised."""

    passes: int  # at least 1; those below `_LEAST_RESAMPLED` have one
    noise: Callable[[Region, int], Tensor]  # of a region [F, C, h, w], for the n-th time back up, from 1 on

    def count(self, sigma: float) -> int:
        """Return how often a level is denoised."""
        return self.passes if sigma >= _LEAST_RESAMPLED else 1


def _no_noise(region: Region, count: int) -> Tensor:
    raise AssertionError("nothing goes back up")


ONCE = Resampling(1, _no_noise)


class KnownLatents(NamedTuple):
    """Latents that are known, and how far each is."""

    latents: Tensor  # [..., C, h, w] scaled
    weight: Tensor  # [..., 1, h, w] in [0, 1], 1 = known

    def cut(self, region: Region) -> KnownLatents:
        """Return a region's part of a clip's known latents."""
        return KnownLatents(region.cut(self.latents), region.cut(self.weight))

    def to(self, like: Tensor) -> KnownLatents:
        """Return them on the device and in the precision of a tensor."""
        return KnownLatents(self.latents.to(like), self.weight.to(like))

    def put_back(
        self,
        clean: Tensor,  # [..., C, h, w] scaled
    ) -> Tensor:
        """Put the known latents into a clean estimate."""
        return torch.lerp(clean, self.latents, self.weight)


def weigh_known(
    hole: Tensor,  # [F, 1, H, W], 1 = hole; sides are multiples of `factor`
    factor: int = LATENT_FACTOR,
) -> Tensor:  # [F, 1, H / factor, W / factor] float32 in [0, 1], 1 = known
    """Tell how far each latent is known: 0 below `LEAST_COVERAGE` of its pixels, less than 1 beside holes.

    The weight falls on the known side of the seam alone, so that no hole's latent is held.

    Args:
        hole: Hole mask; values above 0.5 are holes.
        factor: Pixels of a latent, each side.

    Raises:
        InputError: If the mask is no video of one channel, or its sides are no multiples of `factor`.
    """
    check_video("hole", hole, channels=1)
    check_range("factor", factor, 1, 1 << 16, "px", whole=True)
    if hole.shape[-2] % factor or hole.shape[-1] % factor:
        raise InputError(
            f"`hole` must have sides that are multiples of {factor} px, got {hole.shape[-1]}x"
            f"{hole.shape[-2]}; pad it by pad_to_multiple"
        )
    known = (1 - F.avg_pool2d((hole > 0.5).float(), factor) >= LEAST_COVERAGE).float()
    offsets = torch.arange(-_SEAM, _SEAM + 1, device=hole.device)
    kernel = torch.exp(-(offsets**2) / (2 * _SEAM_SPREAD**2))
    kernel = kernel / kernel.sum()
    blurred = F.pad(known, (_SEAM,) * 4, mode="replicate")
    blurred = F.conv2d(F.conv2d(blurred, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    # Where no hole is near, the weights' sum may miss 1 by a rounding error.
    whole = -F.max_pool2d(-known, 2 * _SEAM + 1, stride=1, padding=_SEAM)
    return torch.where(whole > 0, 1.0, known * blurred)


def reinject(
    codec: Codec,
    clean: Tensor,  # [F, C, h, w] scaled
    pictures: Tensor,  # [F, 3, H, W] in [0, 1], at the canvas' size
    hole: Tensor,  # [F, 1, H, W], 1 = hole, where the pictures are
    *,
    on_frame: Callable[[int], None] | None = None,
) -> Tensor:  # [F, C, h, w] float32 on the CPU, scaled
    """Decode an estimate, paste known pixels into it at their full resolution, and encode that.

    Args:
        codec: Of the latents.
        clean: The clean estimate.
        pictures: What is known; what it shows inside the holes does not matter.
        hole: Where it is not; values above 0.5 are holes.
        on_frame: Called with the frames done by decoder and encoder; may raise to interrupt.
    """
    decoded = codec.decode(clean, device=pictures.device, on_frame=on_frame).to(pictures)
    picture = torch.where(hole > 0.5, decoded, pictures)
    return codec.scaling * codec.encode(picture, on_frame=on_frame)


def add_noise(
    noisy: Tensor,
    sigma: float,
    target: float,
    noise: Tensor,
) -> Tensor:
    """Bring a sample from its noise level up to a higher one, by noise that it has not had yet."""
    return noisy + math.sqrt(target**2 - sigma**2) * noise.to(noisy)


def run_levels(
    estimate: Estimate,
    noisy: Tensor,
    sigmas: Sequence[float],  # falling to 0
    *,
    passes: Callable[[float], int],
    noise: Callable[[int], Tensor],
) -> Tensor:
    """Take a sample from the first noise level to the last; some levels may be denoised several times.

    Args:
        estimate: Returns the clean estimate, with what is known in it.
        noisy: The sample at the first level.
        sigmas: Noise levels.
        passes: Returns how often a level is denoised, at least once.
        noise: Returns the noise, of the sample's shape, by which it goes back for the n-th time, from 1 on.

    Returns:
        The sample at the last level.
    """
    done = again = 0
    for sigma, next_sigma in pairwise(sigmas):
        count = passes(sigma)
        assert count >= 1, count
        for n in range(count):
            clean = estimate(noisy, sigma, done)
            done += 1
            noisy = euler_step(noisy, clean, sigma, next_sigma)
            if n + 1 < count:
                again += 1
                noisy = add_noise(noisy, next_sigma, sigma, noise(again))
    return noisy
