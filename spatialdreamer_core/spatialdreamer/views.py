"""Pictures to the sampler's latents and back: encoded, noised, blanked; decoded, composited."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..fill import composite
from ..svd import LATENT_FACTOR, SCALING, decode_latents, encode_frames, pool_mask
from ..svd.schedule import frame_noise
from .config import SpatialDreamerConfig
from .network import SpatialDreamer
from .reference import Reference
from .sampler_config import SamplerConfig

LATENT_NOISE, _PICTURE_NOISE = 0, 1  # independent streams of one seed
_CHUNK = 8  # frames on their way to and from the VAE
_DECODED_WINDOW = 96  # frames that are held decoded
_DECODED_CONTEXT = 6  # frames decoded with them on each side, which the VAE's decoder mixes in


class SampledViews(NamedTuple):
    """What a run gives: the filled view, and the picture that its filling is taken from."""

    filled: Tensor  # [F, 3, H, W] in [0, 1]
    whole: Tensor  # [F, 3, H, W] in [0, 1], diffused everywhere


def encode_warped(
    model: SpatialDreamer,
    reference: Reference,
    warped: Tensor,
    hole: Tensor,
    settings: SpatialDreamerConfig,
    seed: int,
    first_frame: int,
    on_frame: Callable[[int], None] | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return latents of the rendered view (scaled), of the conditioning (unscaled), and the pooled mask."""
    canvas = reference.canvas
    height, width = canvas.latent_size
    model.announce(model.svd.vae, frames=len(warped), latent_size=canvas.latent_size)
    latents = torch.empty(len(warped), 4, height, width)
    condition, mask = torch.empty_like(latents), torch.empty(len(warped), 1, height, width)
    for first in range(0, len(warped), _CHUNK):
        chunk = slice(first, first + _CHUNK)
        pictures, holes = canvas.fit(warped[chunk]), canvas.fit_mask(hole[chunk])
        latents[chunk] = SCALING * encode_frames(model.svd.vae, pictures)
        mask[chunk] = pool_mask(holes)
        if settings.blank_holes:
            pictures = torch.where(holes > 0.5, 0.5, pictures)
        augmentation = frame_noise(
            seed,
            range(first_frame + first, first_frame + first + len(pictures)),
            height=height * LATENT_FACTOR,
            width=width * LATENT_FACTOR,
            channels=3,
            stream=_PICTURE_NOISE,
        )
        # The augmentation is that of pictures in [-1, 1].
        pictures = pictures + augmentation.to(pictures) * (settings.noise_augmentation / 2)
        condition[chunk] = encode_frames(model.svd.vae, pictures)
        if on_frame is not None:
            on_frame(min(first + _CHUNK, len(warped)))
    return latents, condition, mask


def decode_into(
    views: SampledViews,
    model: SpatialDreamer,
    reference: Reference,
    latents: Tensor,
    warped: Tensor,
    hole: Tensor,
    config: SamplerConfig,
    on_frame: Callable[[int], None] | None,
) -> None:
    """Decode latents into the whole view, and take them inside the holes of the rendered one."""
    model.announce(model.svd.vae, frames=len(warped), latent_size=reference.canvas.latent_size)
    for first in range(0, len(warped), _DECODED_WINDOW):
        last = min(first + _DECODED_WINDOW, len(warped))
        begin = max(0, first - _DECODED_CONTEXT)
        report = None if on_frame is None else partial(_report, on_frame, begin, last)
        decoded = decode_latents(model.svd.vae, latents[begin : last + _DECODED_CONTEXT], on_frame=report)
        for start in range(first, last, _CHUNK):
            chunk = slice(start, min(start + _CHUNK, last))
            picture = reference.canvas.restore(decoded[chunk.start - begin : chunk.stop - begin]).to(warped)
            views.whole[chunk] = picture
            views.filled[chunk] = composite(
                warped[chunk], picture, hole[chunk], dilate=config.dilate, feather=config.feather
            )


def _report(on_frame: Callable[[int], None], begin: int, last: int, done: int) -> None:
    """Report the frames decoded of a window, whose context comes before and after it."""
    on_frame(min(begin + done, last))
