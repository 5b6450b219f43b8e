"""Pictures to the sampler's latents and back: encoded, noised, blanked; decoded, composited.

The rendered view is encoded clean, to measure it and to start from, and as the model is conditioned: blanked
in the holes and under noise, as it was trained. A picture that is the same both times, or that the window
before has encoded, is encoded once, and one that nothing asks for never.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..fill import composite
from ..memory import free_memory
from ..svd import pool_mask
from ..svd.noise import FrameNoise
from .config import SpatialDreamerConfig
from .network import SpatialDreamer
from .reference import Reference
from .sampler_config import SamplerConfig

LATENT_NOISE, _PICTURE_NOISE = 0, 1  # independent streams of one seed
_CHUNK = 8  # frames on their way to the VAE
_DECODED_WINDOW = 96  # frames that are held decoded
_DECODED_CONTEXT = 6  # frames decoded with them on each side, which the VAE's decoder mixes in
_FRAMES_SHARE = 0.1  # of a device's free memory that pictures may take


class SampledViews(NamedTuple):
    """What a run gives: the filled view, and the picture that its filling is taken from."""

    filled: Tensor  # [F, 3, H, W] in [0, 1]
    whole: Tensor  # [F, 3, H, W] in [0, 1], diffused everywhere


class EncodedFrame(NamedTuple):
    """A frame's latents, both unscaled; None where nothing asks for them."""

    clean: Tensor | None  # [C, h, w]
    condition: Tensor | None  # [C, h, w]


class EncodedView(NamedTuple):
    """The rendered view of a clip as the sampler takes it; None where nothing asked for it."""

    clean: Tensor | None  # [F, C, h, w] scaled
    condition: Tensor | None  # [F, C, h, w] unscaled
    mask: Tensor  # [F, 1, h, w] pooled


def encode_warped(
    model: SpatialDreamer,
    reference: Reference,
    warped: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W]
    settings: SpatialDreamerConfig,
    *,
    seed: int = 0,
    first_frame: int = 0,
    clean: bool = True,
    conditioned: bool = True,
    known: dict[int, EncodedFrame] | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> EncodedView:
    """Encode a rendered view; the latents come on the CPU.

    Args:
        model: The model.
        reference: The left view of the same frames.
        warped: The rendered view.
        hole: Its hole mask.
        settings: `noise_augmentation` and `blank_holes` are used.
        seed: Seed of the augmentation.
        first_frame: Index of the first frame in its film.
        clean: Whether clean latents are asked for.
        conditioned: Whether those of the conditioning are.
        known: Frames that are encoded already, by index in the film; the others are added.
        on_frame: Called with the frames done; may raise to interrupt.
    """
    canvas, count = reference.canvas, len(warped)
    known = {} if known is None else known
    model.announce(model.svd.vae, frames=count, latent_size=canvas.latent_size)
    new = [frame for frame in range(count) if first_frame + frame not in known]
    chunks = [new[first : first + _CHUNK] for first in range(0, len(new), _CHUNK)]
    codec = model.svd.codec
    height, width = (side * codec.factor for side in canvas.latent_size)
    noise = FrameNoise(seed, height=height, width=width, channels=3, stream=_PICTURE_NOISE)
    noised = conditioned and settings.noise_augmentation > 0
    device = codec.device
    for chunk, following in zip(chunks, [*chunks[1:], []], strict=True):
        pictures = canvas.fit(warped[chunk]).to(device)
        holes = canvas.fit_mask(hole[chunk]).to(device)
        drawn = None
        if noised:
            drawn = noise.take((first_frame + frame for frame in chunk), device)
            noise.draw_ahead(first_frame + frame for frame in following)
        frames = _encode_pictures(model, pictures, holes, settings, drawn, clean, conditioned)
        known.update(zip((first_frame + frame for frame in chunk), frames, strict=True))
        if on_frame is not None:
            on_frame(chunk[-1] + 1)
    encoded = [known[first_frame + frame] for frame in range(count)]
    latents = [frame.clean for frame in encoded if frame.clean is not None]
    conditions = [frame.condition for frame in encoded if frame.condition is not None]
    masks = [pool_mask(canvas.fit_mask(part), codec.factor).cpu() for part in hole.split(_CHUNK)]
    return EncodedView(
        codec.scaling * torch.stack(latents) if clean else None,
        torch.stack(conditions) if conditioned else None,
        torch.cat(masks).float(),
    )


def _encode_pictures(
    model: SpatialDreamer,
    pictures: Tensor,  # [F, 3, h, w] on the canvas
    holes: Tensor,  # [F, 1, h, w]
    settings: SpatialDreamerConfig,
    noise: Tensor | None,  # [F, 3, h, w]
    clean: bool,
    conditioned: bool,
) -> list[EncodedFrame]:
    """Encode some frames, each picture once."""
    encode = model.svd.codec.encode
    latents = condition = encode(pictures) if clean else None
    if conditioned:
        shown = torch.where(holes > 0.5, 0.5, pictures) if settings.blank_holes else pictures
        if noise is not None:  # that of pictures in [-1, 1]
            shown = shown + noise.to(shown) * (settings.noise_augmentation / 2)
        if latents is None or noise is not None:
            condition = encode(shown)
        elif settings.blank_holes:
            changed = (holes.flatten(1).amax(1) > 0.5).nonzero().flatten().tolist()
            if changed:
                condition = latents.clone()
                condition[changed] = encode(shown[changed])
    return [
        EncodedFrame(*(None if part is None else part[frame] for part in (latents, condition)))
        for frame in range(len(pictures))
    ]


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
