"""Stereo deviation strength (SpatialDreamer, section 3.4.2): how far the two views of a clip are apart.

Eq. 4, s(z) = |z_0 - z_ref|, is a map of the two views' latents. Eq. 5 compares such maps element by element;
as a condition it is one number a clip, its mean, which reaches every residual block as a time id of SVD's
UNet. Both use scaled latents. The paper does not say how the map becomes one number, and takes it over all
positions; here only known ones count, so that the rule is the same in training and in inference, where
nothing is known of a hole.

A number reaches every place alike, and tells nothing of where the views differ, nor how. So a network may get
the map as well (our own addition): signed, and of what is asked for the part that the rendered view does not
have yet (`missing_deviation`). It is 0 with the slider at 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import InputError
from ..contracts import check_call
from .config import SpatialDreamerConfig

STEREO_LOSS_WEIGHT = 0.001  # λ of Eq. 7, as published


def deviation_strength(
    latents: Tensor,  # [F, C, h, w] scaled
    reference_latents: Tensor,  # [F, C, h, w] scaled
    *,
    known: Tensor,  # [F, 1, h, w], above 0.5: known
) -> Tensor:  # [] float32
    """Measure a clip's stereo deviation strength: the mean of Eq. 4 over known positions.

    Args:
        latents: The target view's; at inference those of the rendered view.
        reference_latents: The left view's.
        known: 1 where the rendered view is known, 0 in holes (1 - hole mask at the latents' size).

    Returns:
        The mean over channels and known positions, about 0 to 2; 0 where nothing is known. Differentiable.

    Raises:
        InputError: If the tensors do not fit each other (`contracts.TABLE`).
    """
    check_call("deviation_strength", latents=latents, reference_latents=reference_latents, known=known)
    inside = (known > 0.5).expand_as(latents)
    difference = (latents.float() - reference_latents.float()).abs()
    total = torch.where(inside, difference, torch.zeros_like(difference)).sum()
    return total / inside.sum().clamp(min=1)


def missing_deviation(
    latents: Tensor,  # [F, C, h, w] scaled
    reference_latents: Tensor,  # [F, C, h, w] scaled
    *,
    known: Tensor,  # [F, 1, h, w], above 0.5: known
    factor: float | Tensor,  # a number, or []
) -> Tensor:  # [F, C, h, w] float32
    """Return by how much the deviation map that is asked for is more than the rendered view's own.

    (k - 1) · (z - z_ref) where known, 0 in holes: added to z it would give, to first order, the view that is
    k times as far from z_ref. Negative parts ask for less.

    Args:
        latents: z, the rendered view's.
        reference_latents: z_ref, the left view's.
        known: 1 where the rendered view is known, 0 in holes.
        factor: k, 0 or more: the sampler's slider; in training how many times as far as the rendered view
            the true one lies from the left one.

    Returns:
        The map; 0 everywhere if the factor is 1. Differentiable.

    Raises:
        InputError: If the tensors do not fit each other (`contracts.TABLE`), or the factor is negative or not
            finite.
    """
    check_call("missing_deviation", latents=latents, reference_latents=reference_latents, known=known)
    share = torch.as_tensor(factor, dtype=torch.float32)
    if not bool(((share >= 0) & share.isfinite()).all()):
        raise InputError(f"`factor` must be 0 or more, got {share.tolist()}; 1 asks for the view as it is")
    difference = latents.float() - reference_latents.float()
    return torch.where(known > 0.5, (share.to(difference.device) - 1) * difference, 0.0)


def added_time_ids(
    config: SpatialDreamerConfig,
    deviation: float | Tensor,  # a number, or [B]: one a clip
    *,
    time_ids: int = 4,
    fps: float | Tensor | None = None,  # a number, or [B]
    noise_augmentation: float | Tensor | None = None,  # a number, or [B]
) -> Tensor:  # [B, time_ids] float32; B is 1 for numbers
    """Return what SVD's UNet takes as `added_time_ids`: fps - 1, motion, noise augmentation, deviation.

    Args:
        config: Its `fps`, `motion_bucket`, `noise_augmentation` and `deviation_scale` are used.
        deviation: Stereo deviation strength, 0 or more.
        time_ids: How many the UNet takes; one that takes 3, as StereoCrafter's, knows no deviation.
        fps: Frames/s instead of the config's, whole or not.
        noise_augmentation: Sigma of the noise on the condition instead of the config's.

    Raises:
        InputError: If the UNet takes neither 3 nor 4, or a deviation is negative or not finite.
    """
    if time_ids not in (3, 4):
        raise InputError(
            f"SVD's UNet must take 3 time ids, or 4 with the stereo deviation strength, got {time_ids}; "
            "load the UNet of an SVD checkpoint"
        )
    strength = torch.as_tensor(deviation, dtype=torch.float32).reshape(-1)
    if not bool(((strength >= 0) & strength.isfinite()).all()):
        raise InputError(
            f"stereo deviation strength must be 0 or more, got {strength.tolist()}; "
            "check the latents it was measured from"
        )
    rate = torch.as_tensor(config.fps if fps is None else fps).to(strength) - 1
    noise = config.noise_augmentation if noise_augmentation is None else noise_augmentation
    motion, noise = (torch.as_tensor(value).to(strength) for value in (config.motion_bucket, noise))
    ids = (rate.reshape(-1), motion.reshape(-1), noise.reshape(-1), strength * config.deviation_scale)
    return torch.stack(torch.broadcast_tensors(*ids), dim=1)[:, :time_ids]


def stereo_aware_loss(
    estimate: Tensor,  # [F, C, h, w] scaled
    latents: Tensor,  # [F, C, h, w] scaled
    reference_latents: Tensor,  # [F, C, h, w] scaled
) -> Tensor:  # [] float32
    """Compare the deviations of the estimated and the true target view, Eq. 5, element by element.

    mean((|z_0 - z_ref| - |ẑ_0 - z_ref|)²): a mean, where the paper prints a sum, as in the denoising loss
    that it is added to with `STEREO_LOSS_WEIGHT`. The paper's Eq. 6 prints z_0 where z_t is meant.

    Args:
        estimate: ẑ_0, the denoiser's bounded estimate of the clean latents.
        latents: z_0, the target view's clean latents.
        reference_latents: z_ref, the left view's.

    Raises:
        InputError: If the tensors do not fit each other (`contracts.TABLE`).
    """
    check_call("stereo_aware_loss", estimate=estimate, latents=latents, reference_latents=reference_latents)
    reference = reference_latents.float()
    wanted = (latents.float() - reference).abs()
    got = (estimate.float() - reference).abs()
    return (wanted - got).square().mean()
