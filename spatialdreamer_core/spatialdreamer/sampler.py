"""Sample the right view: SVD with reference attention, from the rendered view, its holes and the left view.

The model sees, per frame, the noisy latents (4 channels with SVD's autoencoder), those of the rendered view
(unscaled, as SVD's conditioning is) and the hole mask, each hole's latent whole; the noise level's time; the
time ids with the deviation strength (Eq. 4 of SpatialDreamer); and RefinerNet's features of the left view in
each spatial attention (section 3.3). A model that was not trained to fill holes is helped instead, see
`untrained`. Known pixels of the result are the rendered view's own, at its own size; beside it there is the
diffused picture everywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import cache, lru_cache, partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ..checks import InputError, check_finite, check_video
from ..svd import time_id_count, trained_frames
from ..svd.known_latents import ONCE
from ..svd.noise import FrameNoise
from ..svd.sampling import OnStep, diffuse_in_turn, diffuse_together
from ..svd.schedule import karras_sigmas
from ..svd.windows import Plan, Region, spans_in_turn
from .denoiser import Denoisers
from .deviation import added_time_ids
from .inputs import LATENT_NOISE, EncodedFrame, encode_clip
from .network import TIME_IDS, SpatialDreamer
from .reference import Reference
from .sampler_config import SamplerConfig
from .untrained import BLACK_HOLES, FirstPictures, are_black, find_known, make_resampling
from .views import SampledViews, decode_into

_LOGGER = logging.getLogger(__name__)


def sample(
    model: SpatialDreamer,
    reference: Reference,
    warped: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    config: SamplerConfig = SamplerConfig(),  # noqa: B008 (frozen)
    *,
    first_frame: int = 0,
    known: dict[int, EncodedFrame] | None = None,
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
            blanked ones (`SpatialDreamerConfig.blank_holes`): an untrained one, which continues the first
            frame of a window, must find them filled already, by `fast_fill` say.
        hole: Hole mask; values above 0.5 are holes.
        config: How to sample.
        first_frame: Index of the first frame in its film, by which noise is drawn.
        known: Frames of `warped` that an earlier window has encoded, by index in the film; the others are
            added. All windows must be sampled by one model and configuration.
        on_step: Called after each step with the steps done, those in all and the clean estimate [F, C, h, w];
            may raise to interrupt.
        on_frame: Called with the frames done before and after the steps, as they pass the VAE; may raise.
        on_wait: Called now and then within a step, while RefinerNet or the VAE works; may raise.
        on_notice: Called with a sentence where the run differs from what was asked for, or cannot be good;
            the log has it, too.

    Returns:
        The view without holes. Outside of them, and of dilation and feather, it equals `warped` bit for bit.

    Raises:
        InputError: If shapes differ, values are not finite, an option is out of range, the device is too
            small or the model gives NaN.
    """
    callbacks = _Callbacks(on_step, on_frame, on_wait, on_notice)
    views = _sample(
        model,
        reference,
        warped,
        hole,
        config,
        callbacks,
        first_frame=first_frame,
        known=known,
        keep_whole=False,
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
    known: dict[int, EncodedFrame] | None = None,
) -> SampledViews:
    """Sample. Without `keep_whole`, `whole` is the filled view, which takes no memory of its own."""
    # 1. Check what came, and be done where nothing is to be filled.
    config.check()
    _check_clip(model, reference, warped, hole)
    if not bool((hole > 0.5).any()):
        return SampledViews(warped, warped)

    # 2. Encode the rendered view as the model sees it; where it is asked for, to measure and to start from.
    canvas, settings = reference.canvas, model.config
    if config.noise_augmentation is not None:
        settings = replace(settings, noise_augmentation=config.noise_augmentation)
    if config.motion_bucket is not None:
        settings = replace(settings, motion_bucket=config.motion_bucket)
    height, width = canvas.latent_size
    channels = model.svd.codec.channels
    noise = FrameNoise(config.seed, height=height, width=width, channels=channels, stream=LATENT_NOISE)
    plan = _make_plan(model, config)
    noise.draw_ahead(range(first_frame, first_frame + min(plan.window, len(warped))))
    # SVD's own UNet is shown one picture a window instead of each frame's, and knows no deviation.
    untrained, keeps = not model.fills_holes, config.keeps_known_latents(trained=model.fills_holes)
    if untrained and are_black(warped, hole):
        _tell(BLACK_HOLES, callbacks.on_notice)
    measures = not untrained and time_id_count(model.svd.unet) == TIME_IDS and config.deviation > 0
    encoded = encode_clip(
        model,
        reference.left,
        warped,
        hole,
        config=replace(settings, noise_augmentation=0.0) if untrained else settings,
        seed=config.seed,
        first_frame=first_frame,
        measured=measures,
        pictures=keeps or config.strength < 1,
        known=known,
        on_frame=callbacks.on_frame,
    )
    held, resampling = None, ONCE
    if keeps:
        assert encoded.picture is not None, "asked for"
        held = find_known(encoded.picture, hole, canvas)
        shape = (channels, height, width)
        resampling = make_resampling(
            config.passes, seed=config.seed, first_frame=first_frame, shape=shape, device=model.device
        )

    # 3. Stereo deviation strength (Eq. 4): that of the rendered view in each window, times the slider.
    @cache
    def time_ids(frames: range) -> Tensor:
        measured = encoded.deviation(frames) if measures else 0.0
        deviation = measured * config.deviation
        _LOGGER.debug(
            "stereo deviation strength of frames %d to %d: %.4f measured, %.4f asked for",
            *(frames.start, frames.stop - 1, measured, deviation),
        )
        return added_time_ids(settings, deviation, time_ids=time_id_count(model.svd.unet), fps=config.fps)

    # 4. Diffuse, window by window: Euler steps on Karras' noise levels.
    model.announce(
        model.svd.unet, frames=min(plan.window, len(warped)), latent_size=plan.sides(height, width)
    )
    trained_to_read = settings.reads_reference and not untrained
    reads, order = config.reads_reference(trained=trained_to_read), config.windows
    regions = plan.regions(len(warped), height, width)
    if reads and order == "together":
        order = _fitting_order(reference, regions, callbacks.on_notice)
    sigmas = karras_sigmas(config.steps, strength=config.strength)
    pictures = None
    if untrained:
        pictures = FirstPictures(
            model,
            canvas,
            warped,
            augmentation=settings.noise_augmentation,
            seed=config.seed,
            first_frame=first_frame,
            on_wait=callbacks.on_wait,
        )
    denoisers = Denoisers(
        model,
        reference,
        encoded,
        warped,
        hole,
        config,
        sigmas=sigmas.tolist(),
        time_ids=time_ids,
        reads=reads,
        pictures=pictures,
        on_wait=callbacks.on_wait,
    )

    @lru_cache(maxsize=1)  # for all tiles of a window
    def window_noise(frames: range) -> Tensor:
        drawn = noise.take((first_frame + frame for frame in frames), model.device)
        following = range(frames.stop, min(frames.stop + plan.window, len(warped)))
        noise.draw_ahead(first_frame + frame for frame in following)
        return drawn

    def noise_of(region: Region) -> Tensor:
        return region.cut_frame(window_noise(region.frames))

    diffuse = diffuse_together
    if order == "in_turn":
        diffuse = partial(diffuse_in_turn, on_window=None if pictures is None else pictures.finish)
    try:
        latents = diffuse(
            denoisers.open,
            noise_of,
            sigmas,
            shape=(len(warped), channels, height, width),
            plan=plan,
            start=encoded.picture if config.strength < 1 else None,
            known=held,
            resampling=resampling,
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
    config: SamplerConfig = SamplerConfig(),  # noqa: B008 (frozen)
) -> list[float]:
    """Measure the stereo deviation strength (Eq. 4) of each window that `sample` diffuses, before the slider.

    Args:
        model: The model.
        reference: The left view of the same frames.
        warped: The rendered view.
        hole: Its hole mask.
        config: Its `window` and `overlap` say how the clip is cut.

    Raises:
        InputError: As `sample`.
    """
    config.check()
    _check_clip(model, reference, warped, hole)
    settings = replace(model.config, noise_augmentation=0.0)
    encoded = encode_clip(model, reference.left, warped, hole, config=settings)
    plan = _make_plan(model, config)
    return [encoded.deviation(window) for window in spans_in_turn(len(warped), plan.window, plan.overlap)]


def _make_plan(model: SpatialDreamer, config: SamplerConfig) -> Plan:
    """Plan how much is diffused at a time: by default as many frames as the model was trained on."""
    window = config.window or trained_frames(model.svd.unet)
    overlap = min(config.overlap, window - 1)
    if overlap < config.overlap:
        _LOGGER.warning(
            "the model takes %d frames at a time: windows share %d of them, not %d",
            *(window, overlap, config.overlap),
        )
    factor = model.svd.codec.factor
    return Plan(window, overlap, config.tile // factor, factor)


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
    _tell(notice, on_notice)
    return "in_turn"


def _tell(notice: str, on_notice: Callable[[str], None] | None) -> None:
    """Tell where the run differs from what was asked for."""
    _LOGGER.warning(notice)
    if on_notice is not None:
        on_notice(notice)


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
