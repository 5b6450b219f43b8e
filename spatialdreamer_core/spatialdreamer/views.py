"""Diffused latents to pictures: decoded, put back at the clip's own size, composited."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..fill import composite
from ..memory import free_memory
from .network import SpatialDreamer
from .reference import Reference
from .sampler_config import SamplerConfig

_DECODED_WINDOW = 96  # frames that are held decoded
_DECODED_CONTEXT = 6  # frames decoded with them on each side, which the VAE's decoder mixes in
_FRAMES_SHARE = 0.1  # of a device's free memory that pictures may take


class SampledViews(NamedTuple):
    """What a run gives: the filled view, and the picture that its filling is taken from."""

    filled: Tensor  # [F, 3, H, W] in [0, 1]
    whole: Tensor  # [F, 3, H, W] in [0, 1], diffused everywhere


def device_of_frames(device: torch.device, frames: int, height: int, width: int) -> torch.device:
    """Return where so many pictures are worked on: on a model's CUDA device if they fit there, or the CPU."""
    fit = device.type == "cuda" and frames * 3 * height * width * 4 <= free_memory(device) * _FRAMES_SHARE
    return device if fit else torch.device("cpu")


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
    """Decode latents into the whole view, and take them inside the holes of the rendered one.

    Frames are resized and composited where they were decoded, or where the rendered view is if that is a GPU.
    """
    canvas, codec = reference.canvas, model.svd.codec
    model.announce(model.svd.vae, frames=len(warped), latent_size=canvas.latent_size)
    height, width = (side * codec.factor for side in canvas.latent_size)
    for first in range(0, len(warped), _DECODED_WINDOW):
        last = min(first + _DECODED_WINDOW, len(warped))
        begin, end = max(0, first - _DECODED_CONTEXT), min(last + _DECODED_CONTEXT, len(latents))
        device = device_of_frames(codec.device, end - begin, height, width)
        report = None if on_frame is None else partial(_report, on_frame, begin, last)
        decoded = codec.decode(latents[begin:end], device=device, on_frame=report)
        if device.type == "cpu":
            device = warped.device
        for frame in range(first, last):  # one at a time: at its own size a clip may be far larger
            own = slice(frame, frame + 1)
            picture = canvas.restore(decoded[frame - begin][None].to(device)).to(warped.dtype)
            views.filled[own] = composite(
                *(warped[own].to(device), picture, hole[own].to(device)),
                dilate=config.dilate,
                feather=config.feather,
            )
            if views.whole is not views.filled:
                views.whole[own] = picture


def _report(on_frame: Callable[[int], None], begin: int, last: int, done: int) -> None:
    """Report the frames decoded of a window, whose context comes before and after it."""
    on_frame(min(begin + done, last))
