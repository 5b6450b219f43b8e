"""Sample the right view: SVD with reference attention, from the rendered view, its holes and the left view.

The model sees, per frame, 4 noisy latents, 4 latents of the rendered view (unscaled, as SVD's conditioning
is) and the hole mask, each hole's latent whole; the noise level's time; the time ids with the deviation
strength (Eq. 4 of SpatialDreamer); and RefinerNet's features of the left view in each spatial attention
(section 3.3). Known pixels of the result are the rendered view's own, at its own size; beside it there is the
diffused picture everywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ..checks import InputError, check_finite, check_video
from ..svd import (
    LATENT_FACTOR,
    SCALING,
    decode_latents,
    encode_frames,
    time_id_count,
    trained_frames,
)
from ..svd.sampling import Denoise, OnStep, diffuse_in_turn, diffuse_together
from ..svd.schedule import clean_estimate, frame_noise, karras_sigmas, noise_time, scale_input
from ..svd.windows import Plan, Region
from .deviation import added_time_ids, deviation_strength
from .network import SpatialDreamer
from .reference import Reference
from .sampler_config import SamplerConfig
from .views import LATENT_NOISE, SampledViews, decode_into, encode_warped

_LOGGER = logging.getLogger(__name__)


def sample(
    model: SpatialDreamer,
    reference: Reference,
    warped: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    config: SamplerConfig = SamplerConfig(),  # noqa: B008 (frozen)
    *,
    first_frame: int = 0,
    on_step: OnStep | None = None,
    on_frame: Callable[[int], None] | None = None,
    on_wait: Callable[[], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
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
        first_frame: Index of the first frame in its film, by which noise is drawn.
        on_step: Called after each step with the steps done, those in all and the clean estimate [F, 4, h, w];
            may raise to interrupt.
        on_frame: Called with the frames done before and after the steps, as they pass the VAE; may raise.
        on_wait: Called now and then within a step, while RefinerNet or the VAE works; may raise.
        on_notice: Called with a sentence where the run differs from what was asked for; the log has it, too.

    Returns:
        The view without holes. Outside of them, and of dilation and feather, it equals `warped` bit for bit.

    Raises:
        InputError: If shapes differ, values are not finite, an option is out of range, the device is too
            small or the model gives NaN.
    """
    callbacks = _Callbacks(on_step, on_frame, on_wait, on_notice)
    views = _sample(
        model, reference, warped, hole, config, callbacks, first_frame=first_frame, keep_whole=False
    )
    return views.filled


def sample_views(
    model: SpatialDreamer,
    reference: Reference,
    warped: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    config: SamplerConfig = SamplerConfig(),  # noqa: B008 (frozen)
    *,
    on_step: OnStep | None = None,
    on_frame: Callable[[int], None] | None = None,
    on_wait: Callable[[], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> SampledViews:
    """Fill the holes of a rendered view by diffusion, and return the whole diffused view, too.

    Arguments as of `sample`. Where nothing is to be filled nothing is diffused: both views are `warped`.
    """
    callbacks = _Callbacks(on_step, on_frame, on_wait, on_notice)
    return _sample(model, reference, warped, hole, config, callbacks, keep_whole=True)


class _Callbacks(NamedTuple):
    """Those of `sample`."""

    on_step: OnStep | None
    on_frame: Callable[[int], None] | None
    on_wait: Callable[[], None] | None
    on_notice: Callable[[str], None] | None


@torch.inference_mode()
def _sample(
    model: SpatialDreamer,
    reference: Reference,
    warped: Tensor,
    hole: Tensor,
    config: SamplerConfig,
    callbacks: _Callbacks,
    *,
    keep_whole: bool,
    first_frame: int = 0,
) -> SampledViews:
    """Sample. Without `keep_whole`, `whole` is the filled view, which takes no memory of its own."""
    # 1. Check what came, and be done where nothing is to be filled.
    config.check()
    _check_clip(model, reference, warped, hole)
    if not bool((hole > 0.5).any()):
        return SampledViews(warped, warped)

    # 2. Encode the rendered view: once clean, to measure and to start from, once as the model is conditioned.
    canvas, settings = reference.canvas, model.config
    if config.noise_augmentation is not None:
        settings = replace(settings, noise_augmentation=config.noise_augmentation)
    if config.motion_bucket is not None:
        settings = replace(settings, motion_bucket=config.motion_bucket)
    warped_latents, condition, mask = encode_warped(
        model, reference, warped, hole, settings, config.seed, first_frame, callbacks.on_frame
    )

    # 3. Stereo deviation strength (Eq. 4): that of the rendered view in each window, times the slider.
    ids_of: dict[range, Tensor] = {}

    def time_ids(frames: range) -> Tensor:
        if frames not in ids_of:
            measured = _measure(reference, warped_latents, mask, frames)
            deviation = measured * config.deviation
            _LOGGER.debug(
                "stereo deviation strength of frames %d to %d: %.4f measured, %.4f asked for",
                *(frames.start, frames.stop - 1, measured, deviation),
            )
            count = time_id_count(model.svd.unet)
            ids_of[frames] = added_time_ids(settings, deviation, time_ids=count, fps=config.fps)
        return ids_of[frames]

    # 4. Diffuse, window by window: Euler steps on Karras' noise levels.
    height, width = canvas.latent_size
    plan = _make_plan(model, config)
    reads = config.reads_reference(trained=settings.reads_reference)
    order = config.windows
    if reads and order == "together":
        order = _fitting_order(reference, plan.regions(len(warped), height, width), callbacks.on_notice)

    loaded: Region | None = None
    on_wait = callbacks.on_wait
    check = None if on_wait is None else lambda done: on_wait()

    def open_region(region: Region) -> Denoise:
        nonlocal loaded
        if reads and region != loaded:
            model.bank.clear()  # so that two windows' features are never held at once
            loaded = None
            model.bank.load(reference.features(region, on_frame=check))
            loaded = region
        reinject = (
            partial(_reinject, model, reference, region, warped, hole, check) if config.reinject else None
        )
        ids = time_ids(region.frames)
        return _denoiser(model, reference, region, condition, mask, ids, config, reinject)

    def noise_of(region: Region) -> Tensor:
        frames = (first_frame + frame for frame in region.frames)
        noise = frame_noise(config.seed, frames, height=height, width=width, stream=LATENT_NOISE)
        return region.cut_frame(noise).to(model.device)

    model.announce(
        model.svd.unet, frames=min(plan.window, len(warped)), latent_size=plan.sides(height, width)
    )
    diffuse = diffuse_in_turn if order == "in_turn" else diffuse_together
    try:
        latents = diffuse(
            open_region,
            noise_of,
            karras_sigmas(config.steps, strength=config.strength),
            shape=(len(warped), 4, height, width),
            plan=plan,
            start=warped_latents if config.strength < 1 else None,
            on_step=callbacks.on_step,
        )
    finally:
        model.bank.clear()
        reference.end_run()

    # 5. Decode, and paste the holes alone into the rendered view, at its own size.
    filled = torch.empty_like(warped)
    views = SampledViews(filled, torch.empty_like(warped) if keep_whole else filled)
    decode_into(views, model, reference, latents, warped, hole, config, callbacks.on_frame)
    return views


@torch.inference_mode()
def measure_deviation(
    model: SpatialDreamer,
    reference: Reference,
    warped: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], 1 = hole
) -> float:
    """Return the stereo deviation strength (Eq. 4) of a rendered view as one window; `sample` scales it."""
    _check_clip(model, reference, warped, hole)
    warped_latents, _, mask = encode_warped(model, reference, warped, hole, model.config, 0, 0, None)
    return _measure(reference, warped_latents, mask, range(len(warped)))


def _measure(reference: Reference, warped_latents: Tensor, mask: Tensor, frames: range) -> float:
    """Measure the deviation strength of a window where the picture is known, beside holes and padding."""
    window = slice(frames.start, frames.stop)
    warped, left, mask = (
        reference.canvas.cut_padding(clip[window]) for clip in (warped_latents, reference.latents, mask)
    )
    return float(deviation_strength(warped, left, known=mask < 0.5))


def _make_plan(model: SpatialDreamer, config: SamplerConfig) -> Plan:
    """Plan how much is diffused at a time: by default as many frames as the model was trained on."""
    window = config.window or trained_frames(model.svd.unet)
    overlap = min(config.overlap, window - 1)
    if overlap < config.overlap:
        _LOGGER.warning(
            "the model takes %d frames at a time: windows share %d of them, not %d",
            *(window, overlap, config.overlap),
        )
    return Plan(window, overlap, config.tile // LATENT_FACTOR)


def _fitting_order(
    reference: Reference, regions: list[Region], on_notice: Callable[[str], None] | None
) -> Literal["together", "in_turn"]:
    """Choose in turn where memory has no room for the features of all regions, each of which a step needs."""
    if len(regions) == 1 or reference.make_room(regions):
        return "together"
    notice = (
        f"windows run in_turn, not together: RefinerNet's features of all {len(regions)} take about "
        f"{reference.memory(regions) / 2**30:.1f} GB, and main memory has not twice as much free; lower "
        "`max_side` or shorten the clip to run them together"
    )
    _LOGGER.warning(notice)
    if on_notice is not None:
        on_notice(notice)
    return "in_turn"


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
    frames, pixels = slice(region.frames.start, region.frames.stop), region.scaled(LATENT_FACTOR)
    known = pixels.cut_frame(reference.canvas.fit(warped[frames]))
    holes = pixels.cut_frame(reference.canvas.fit_mask(hole[frames]))
    decoded = decode_latents(model.svd.vae, clean, on_frame=check)
    picture = torch.where(holes > 0.5, decoded.to(known), known)
    return (SCALING * encode_frames(model.svd.vae, picture, on_frame=check)).to(clean)


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
