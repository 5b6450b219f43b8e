"""A loss on pictures: L1 and LPIPS between decoded crops around holes, beside the loss on latents.

A loss on latents is content with what is right on average, so the filling of a hole may be blurred. A crop of
each clip, placed on a hole, is decoded with its gradient and compared with the true latents' crop, decoded
likewise: what the autoencoder itself loses does not count.

Only clips under little noise take part, sigma ≤ 1, where there is more signal than noise. The clean estimate
is the mean of all pictures that the noise leaves possible. Under strong noise these differ, their mean is
rightly blurred, and a loss that asks it to look sharp teaches a wrong denoiser. A model that reaches the
picture in one step is another matter: its estimate is its sample at any sigma.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..checks import InputError, check_range
from ..metrics import PerceptualDistance

CROP = 128  # px, side of a crop
MAX_SIGMA = 1.0
_LEAST_LPIPS = 32  # px, below which LPIPS has no pixels left


def image_loss(
    estimate: Tensor,  # [B, F, C, h, w] scaled
    target: Tensor,  # [B, F, C, h, w] scaled
    mask: Tensor,  # [B, F, 1, h, w], 1 = hole
    sigma: Tensor,  # [B]
    *,
    decode: Callable[[Tensor], Tensor],
    draws: Tensor,  # [B] in [0, 1)
    crop: int,
    lpips: PerceptualDistance | None = None,
    max_sigma: float = MAX_SIGMA,
) -> Tensor:  # [B] float32
    """Compare pictures around one hole of each clip, in all of its frames.

    Args:
        estimate: ẑ0, the clean estimate.
        target: z0, the true latents.
        mask: The holes.
        sigma: Each clip's noise level.
        decode: Decodes latents [F, C, h, w] with their gradient, to frames in about [0, 1]
            (`Codec.decode_with_gradient`).
        draws: Which of a clip's hole positions its crop lies on: a random number each.
        crop: Side of a crop in latents; where a picture is smaller, all of it.
        lpips: What `metrics.load_lpips` gives, with its gradient; None: L1 alone.
        max_sigma: Clips under more noise give 0.

    Returns:
        L1 + LPIPS of each clip, both means over its frames; 0 without holes, or with too much noise.

    Raises:
        InputError: If `crop` is not a whole number above 0, or LPIPS cannot be measured on crops of that
            size.
    """
    check_range("crop", crop, 1, 4096, "latents", whole=True)
    losses = []
    for clip in range(len(estimate)):
        place = _place_crop(mask[clip], float(draws[clip]), crop) if sigma[clip] <= max_sigma else None
        if place is None:
            losses.append(estimate.new_zeros((), dtype=torch.float32))
            continue
        rows, columns = place
        result = decode(estimate[clip, :, :, rows, columns].float())
        with torch.no_grad():
            truth = decode(target[clip, :, :, rows, columns].float())
        loss = (result - truth).abs().mean()
        if lpips is not None:
            if min(result.shape[-2:]) < _LEAST_LPIPS:
                raise InputError(
                    f"crops must be at least {_LEAST_LPIPS} px for LPIPS, got "
                    f"{result.shape[-1]}x{result.shape[-2]}; train on larger frames, or without LPIPS"
                )
            loss = loss + lpips(result, truth).mean().to(loss)
        losses.append(loss)
    return torch.stack(losses)


def _place_crop(
    mask: Tensor,  # [F, 1, h, w]
    draw: float,
    crop: int,
) -> tuple[slice, slice] | None:
    """Return the rows and columns of a crop on a hole, within the frame; None if no frame has any."""
    positions = (mask[:, 0] > 0.5).any(0).nonzero()
    if not len(positions):
        return None
    centre = positions[min(int(draw * len(positions)), len(positions) - 1)].tolist()
    starts = [
        max(0, min(middle - crop // 2, side - crop))
        for middle, side in zip(centre, mask.shape[-2:], strict=True)
    ]
    rows, columns = (slice(start, start + crop) for start in starts)
    return rows, columns
