"""Sample the right view: SVD with reference attention, from the rendered view, its holes and the left view.

The model sees, per frame, 4 noisy latents, 4 latents of the rendered view (unscaled, as SVD's conditioning
is) and the hole mask, each hole's latent whole; the noise level's time; the time ids with the deviation
strength (Eq. 4 of SpatialDreamer); and RefinerNet's features of the left view in each spatial attention
(section 3.3). Known pixels of the result are the rendered view's own, at its own size.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ..checks import InputError, check_finite, check_video
from ..fill import composite
from ..sampler_config import SamplerConfig
from ..svd import FACTOR, SCALING, decode_latents, encode_frames, pool_mask, time_id_count
from ..svd.noise import frame_noise
from ..svd.regions import Region
from ..svd.sampling import Denoise, OnStep, Plan, diffuse_in_turn, diffuse_together
from ..svd.schedule import clean_estimate, karras_sigmas, noise_time, scale_input
from .config import SpatialDreamerConfig
from .deviation import added_time_ids, deviation_strength
from .network import SpatialDreamer
from .reference import Reference

_LOGGER = logging.getLogger(__name__)

_CHUNK = 8  # frames on their way to and from the VAE
_DECODED_BLOCK = 96  # frames that are held decoded, beside those of context, which the VAE's decoder mixes in
_DECODED_CONTEXT = 6
_LATENT_NOISE, _PICTURE_NOISE, _MASK_NOISE = 0, 1, 2  # independent streams of one seed


@torch.inference_mode()
def sample(
    model: SpatialDreamer,
    reference: Reference,
    warped: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    config: SamplerConfig = SamplerConfig(),  # noqa: B008 (frozen)
    *,
    on_step: OnStep | None = None,
    on_frame: Callable[[int], None] | None = None,
    on_wait: Callable[[], None] | None = None,
) -> Tensor:  # [F, 3, H, W] in [0, 1]
    """Fill the holes of a rendered view by diffusion.

    Args:
        model: The model.
        reference: The left view of the same frames, see `encode_reference`.
        warped: The rendered view. What it shows inside the holes counts unless the model was trained with
            blanked ones (`SpatialDreamerConfig.blank_holes`): an untrained one should find them filled
            already, by `fast_fill` say.
        hole: Hole mask; values above 0.5 are holes.
        config: How to sample.
        on_step: Called after each step with the steps done, those in all and the clean estimate [F, 4, h, w];
            may raise to interrupt.
        on_frame: Called with the frames done before and after the steps, as they pass the VAE; may raise.
        on_wait: Called now and then within a step, while RefinerNet or the VAE works; may raise.

    Returns:
        The view without holes. Outside of them, and of dilation and feather, it equals `warped` bit for bit.

    Raises:
        InputError: If shapes differ, values are not finite, an option is out of range, the device is too
            small or the model gives NaN.
    """
    # 1. Check what came, and be done where nothing is to be filled.
    config.check()
    _check_clip(model, reference, warped, hole)
    if not bool((hole > 0.5).any()):
        return warped

    # 2. Encode the rendered view: once clean, to measure and to start from, once as the model is conditioned.
    canvas, settings = reference.canvas, model.config
    if config.noise_augmentation is not None:
        settings = replace(settings, noise_augmentation=config.noise_augmentation)
    view, condition, mask = _encode_view(model, reference, warped, hole, settings, config.seed, on_frame)

    # 3. Stereo deviation strength (Eq. 4): that of the rendered view, times the slider.
    measured = _measure(reference, view, mask)
    deviation = measured * config.deviation
    _LOGGER.info("stereo deviation strength: %.4f measured, %.4f asked for", measured, deviation)
    time_ids = added_time_ids(settings, deviation, time_ids=time_id_count(model.svd.unet))

    # 4. Diffuse, window by window: Euler steps on Karras' noise levels.
    height, width = canvas.latent_size
    mask = mask + settings.noise_augmentation * frame_noise(
        config.seed, range(len(mask)), height=height, width=width, channels=1, stream=_MASK_NOISE
    )

    loaded: Region | None = None
    check = None if on_wait is None else lambda done: on_wait()

    def open_region(region: Region) -> Denoise:
        nonlocal loaded
        if config.read_reference and region != loaded:
            model.bank.clear()  # so that two windows' features are never held at once
            loaded = None
            model.bank.load(reference.features(region, on_frame=check))
            loaded = region
        reinject = (
            partial(_reinject, model, reference, region, warped, hole, check) if config.reinject else None
        )
        return _denoiser(model, reference, region, condition, mask, time_ids, config, reinject)

    def noise_of(region: Region) -> Tensor:
        noise = frame_noise(config.seed, region.frames, height=height, width=width, stream=_LATENT_NOISE)
        return region.cut_frame(noise).to(model.device)

    plan = Plan(config.window, config.overlap, config.tile // FACTOR)
    model.announce(
        model.svd.unet, frames=min(plan.window, len(warped)), latent_size=plan.sides(height, width)
    )
    diffuse = diffuse_in_turn if config.windows == "in_turn" else diffuse_together
    try:
        latents = diffuse(
            open_region,
            noise_of,
            karras_sigmas(config.steps, strength=config.strength),
            shape=(len(warped), 4, height, width),
            plan=plan,
            start=view if config.strength < 1 else None,
            on_step=on_step,
        )
    finally:
        model.bank.clear()

    # 5. Decode, and paste the holes alone into the rendered view, at its own size.
    return _decode_into(model, reference, latents, warped, hole, config, on_frame)


@torch.inference_mode()
def measure_deviation(
    model: SpatialDreamer,
    reference: Reference,
    warped: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], 1 = hole
) -> float:
    """Return the stereo deviation strength of a rendered view (Eq. 4), which `sample` scales."""
    _check_clip(model, reference, warped, hole)
    view, _, mask = _encode_view(model, reference, warped, hole, model.config, 0, None)
    return _measure(reference, view, mask)


def _measure(reference: Reference, view: Tensor, mask: Tensor) -> float:
    """Measure the deviation strength where the picture is known, beside holes and padding."""
    view, left, mask = map(reference.canvas.cut_padding, (view, reference.latents, mask))
    return float(deviation_strength(view, left, known=mask < 0.5))


def _encode_view(
    model: SpatialDreamer,
    reference: Reference,
    warped: Tensor,
    hole: Tensor,
    settings: SpatialDreamerConfig,
    seed: int,
    on_frame: Callable[[int], None] | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the view's latents, scaled, those of the conditioning, unscaled, and the pooled hole mask."""
    canvas = reference.canvas
    height, width = canvas.latent_size
    model.announce(model.svd.vae, frames=len(warped), latent_size=canvas.latent_size)
    view = torch.empty(len(warped), 4, height, width)
    condition, mask = torch.empty_like(view), torch.empty(len(warped), 1, height, width)
    for first in range(0, len(warped), _CHUNK):
        chunk = slice(first, first + _CHUNK)
        pictures, holes = canvas.fit(warped[chunk]), canvas.fit_mask(hole[chunk])
        view[chunk] = SCALING * encode_frames(model.svd.vae, pictures)
        mask[chunk] = pool_mask(holes)
        if settings.blank_holes:
            pictures = torch.where(holes > 0.5, 0.5, pictures)
        augmentation = frame_noise(
            seed,
            range(first, first + len(pictures)),
            height=height * FACTOR,
            width=width * FACTOR,
            channels=3,
            stream=_PICTURE_NOISE,
        )
        # The augmentation is that of pictures in [-1, 1].
        pictures = pictures + augmentation.to(pictures) * (settings.noise_augmentation / 2)
        condition[chunk] = encode_frames(model.svd.vae, pictures)
        if on_frame is not None:
            on_frame(min(first + _CHUNK, len(warped)))
    return view, condition, mask


def _denoiser(
    model: SpatialDreamer,
    reference: Reference,
    region: Region,
    condition: Tensor,
    mask: Tensor,
    time_ids: Tensor,
    config: SamplerConfig,
    reinject: Callable[[Tensor], Tensor] | None,
) -> Denoise:
    """Make the denoiser of a region: the UNet with that region's conditioning and reference features."""
    unet = model.svd.unet
    vae = None if reinject is None else model.svd.vae
    model.announce(unet, vae, frames=len(region.frames), latent_size=region.picture_size)
    device = model.device
    fixed = torch.cat([region.cut(condition), region.cut(mask)], dim=1).to(device)
    embedding = reference.embeddings[region.frames.start].to(device, unet.dtype)[None]
    ids = time_ids.to(device)
    guidance = torch.linspace(config.guidance_min, config.guidance_max, len(region.frames), device=device)

    def predict(noisy: Tensor, sigma: float, fixed: Tensor, embedding: Tensor) -> Tensor:
        sample = torch.cat([scale_input(noisy, sigma), fixed], dim=1).to(unet.dtype)
        time = torch.tensor(noise_time(sigma), device=device)
        output = unet(sample[None], time, embedding, ids, return_dict=False)[0][0]
        return clean_estimate(output.float(), noisy, sigma)

    def denoise(noisy: Tensor, sigma: float) -> Tensor:
        clean = predict(noisy, sigma, fixed, embedding)
        if bool((guidance != 1).any()):
            blank = torch.cat([torch.zeros_like(fixed[:, :4]), fixed[:, 4:]], dim=1)
            with model.bank.disabled():
                free = predict(noisy, sigma, blank, torch.zeros_like(embedding))
            clean = torch.lerp(free, clean, guidance[:, None, None, None])
        return clean if reinject is None else reinject(clean)

    return denoise


def _reinject(
    model: SpatialDreamer,
    reference: Reference,
    region: Region,
    warped: Tensor,
    hole: Tensor,
    check: Callable[[int], None] | None,
    clean: Tensor,
) -> Tensor:
    """Put the known pixels of a region into its clean estimate."""
    frames, pixels = slice(region.frames.start, region.frames.stop), region.scaled(FACTOR)
    known = pixels.cut_frame(reference.canvas.fit(warped[frames]))
    holes = pixels.cut_frame(reference.canvas.fit_mask(hole[frames]))
    decoded = decode_latents(model.svd.vae, clean, on_frame=check)
    picture = torch.where(holes > 0.5, decoded.to(known), known)
    return (SCALING * encode_frames(model.svd.vae, picture, on_frame=check)).to(clean)


def _decode_into(
    model: SpatialDreamer,
    reference: Reference,
    latents: Tensor,
    warped: Tensor,
    hole: Tensor,
    config: SamplerConfig,
    on_frame: Callable[[int], None] | None,
) -> Tensor:
    """Decode latents and take them inside the holes of the rendered view."""
    result = torch.empty_like(warped)
    model.announce(model.svd.vae, frames=len(warped), latent_size=reference.canvas.latent_size)
    for first in range(0, len(warped), _DECODED_BLOCK):
        last = min(first + _DECODED_BLOCK, len(warped))
        begin = max(0, first - _DECODED_CONTEXT)
        report = None if on_frame is None else partial(_report, on_frame, begin, last)
        block = decode_latents(model.svd.vae, latents[begin : last + _DECODED_CONTEXT], on_frame=report)
        for start in range(first, last, _CHUNK):
            chunk = slice(start, min(start + _CHUNK, last))
            filled = reference.canvas.restore(block[chunk.start - begin : chunk.stop - begin]).to(warped)
            result[chunk] = composite(
                warped[chunk], filled, hole[chunk], dilate=config.dilate, feather=config.feather
            )
    return result


def _report(on_frame: Callable[[int], None], begin: int, last: int, done: int) -> None:
    """Report the frames decoded of a block, whose context comes before and after it."""
    on_frame(min(begin + done, last))


def _check_clip(model: SpatialDreamer, reference: Reference, warped: Tensor, hole: Tensor) -> None:
    """Check that frames, mask, reference and model belong together.

    Raises:
        InputError: If they do not.
    """
    check_video("warped", warped, channels=3)
    check_video("hole", hole, channels=1, like=warped, like_name="warped")
    check_finite("warped", warped, "repair the frames")
    check_finite("hole", hole, "repair the mask")
    if reference.model is not model:
        raise InputError(
            "`reference` must come from the model that samples, but it was encoded by another one; "
            "encode the left view again"
        )
    size = (reference.canvas.height, reference.canvas.width)
    if (len(reference), *size) != (len(warped), *warped.shape[-2:]):
        raise InputError(
            f"`warped` must have the frames and size of the left view ({len(reference)} frames of "
            f"{size[1]}x{size[0]}), got {len(warped)} of {warped.shape[-1]}x{warped.shape[-2]}; "
            "encode the left view that the warp was made from"
        )
