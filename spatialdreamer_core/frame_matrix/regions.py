"""The regions of a window that are denoised, those with holes in any view, from pictures to pictures.

All regions take each step together and are averaged where they overlap (as `svd.sampling.diffuse_together`
does), so no two of them fill the same hole in two ways. By exact denoisers the error of whole pictures grows
by no more than 3 % where two regions share a hole; by up to 8 % where they are denoised one after the other
and blended, and 15 % where the second one is held to the first (benchmarks/frame_matrix_cuts.py).
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import product

import torch
from torch import Tensor

from ..svd.hole_regions import RegionCost, cut_regions, fade_in, find_regions
from ..svd.known_latents import KnownLatents, reinject, weigh_known
from ..svd.picture_condition import PictureDenoiser
from ..svd.windows import Plan, Region
from .config import FrameMatrixConfig
from .diffuse import Sequence, diffuse_matrix, matrix_noise
from .model import FrameMatrixModel
from .parts import encode_parts, in_latents, open_parts
from .window import Callbacks, Window, schedule

_LEAST_CONTEXT = 6  # frames decoded before those that are needed, which the VAE's decoder mixes in


def choose_regions(
    model: FrameMatrixModel, window: Window, config: FrameMatrixConfig, plan: Plan
) -> list[Region]:
    """Choose the regions, px of the canvas, that are denoised; none without holes.

    Args:
        model: The model.
        window: The window.
        config: The options.
        plan: How much fits into memory at a time; its window has no meaning here.
    """
    svd = model.svd
    frames, _, height, width = window.hole.shape[1:]
    hole = window.hole.any(0)
    if not bool(hole.any()):
        return []
    step = svd.size_multiple
    regions = [Region(range(frames), range(height), range(width))]
    if config.regions == "auto":
        regions = find_regions(
            hole.float(),
            cost=RegionCost.of_unet(svd.unet.config, device=model.device),
            margin=-(-config.margin // step) * step,
            step=step,
            factor=svd.codec.factor,
        )
    return cut_regions(regions, tile=plan.tile * svd.codec.factor // step * step, step=step)


def fill_regions(
    model: FrameMatrixModel,
    window: Window,
    regions: list[Region],
    config: FrameMatrixConfig,
    callbacks: Callbacks,
    *,
    new: int,
    keep_views: bool,
) -> Tensor:  # [new, 3, H, W] in [0, 1], float32
    """Fill a window: its regions together, then decoded one by one.

    Args:
        model: The model.
        window: The window, whose pictures take what is found in the views in between.
        regions: From `choose_regions`.
        config: The options, settled.
        callbacks: Called on the way.
        new: How many of its frames are new, the last ones.
        keep_views: Whether all frames of the views in between are wanted, not those alone that are carried.

    Returns:
        The new frames of the last view.
    """
    size = (window.pictures.shape[-2], window.pictures.shape[-1])
    right = window.pictures[-1, -new:].float()
    if not regions:
        return right
    latents = _denoise(model, window, regions, config, callbacks)
    kept = new if keep_views else min(config.overlap, new)
    for region in regions:
        fade = fade_in(region, *size, ramp=config.margin // 2)
        cells = in_latents(region, model.svd.codec.factor).cut_frame(latents)
        pictures = region.cut_frame(window.pictures)
        _decode(model, cells, pictures, region.cut_frame(right), fade, callbacks, kept=kept)
    return right


def _denoise(
    model: FrameMatrixModel,
    window: Window,
    regions: list[Region],
    config: FrameMatrixConfig,
    callbacks: Callbacks,
) -> Tensor:  # [V, F, C, h, w] scaled, on the CPU
    """Denoise the regions of a window together."""
    svd = model.svd
    views, frames = window.pictures.shape[:2]
    sides = zip(*(in_latents(region, svd.codec.factor).picture_size for region in regions), strict=True)
    height, width = map(max, sides)
    # 1. Encode the cells, and what rows and columns begin with.
    model.announce(svd.vae, svd.image_encoder, frames=frames, latent_size=(height, width))
    weight = torch.stack([weigh_known(hole.float(), svd.codec.factor) for hole in window.hole])
    parts = open_parts(model, window, regions, weight, config, callbacks)
    known = KnownLatents(encode_parts(model, parts, weight, callbacks), weight)
    # 2. Denoise.
    denoiser = PictureDenoiser(svd.unet, guidance_min=config.guidance_min, guidance_max=config.guidance_max)
    busy = (svd.unet, svd.vae) if config.reinjections else (svd.unet,)
    model.announce(*busy, frames=max(views, frames), latent_size=(height, width))

    def denoise(sequence: Sequence, noisy: Tensor, sigma: float, first: Tensor) -> Tensor:
        clean = torch.zeros_like(noisy)
        for part in parts:
            if part.has_holes(sequence):
                callbacks.on_frame(0)
                condition, time_ids = part.begins.of(sequence, part.region.cut_frame(first))
                found = denoiser(part.region.cut_frame(noisy), sigma, condition, time_ids)
                part.add(clean, found)
        return clean

    def reinject_views(clean: Tensor, which: Collection[int]) -> KnownLatents:
        latents = known.latents.clone()
        for part, view in product(parts, which):
            holed = part.window.hole[view].flatten(1).any(1)  # [F]
            if not bool(holed.any()):
                continue
            pictures, hole = part.window.pictures[view].float(), part.window.hole[view].float()
            cells = part.region.cut_frame(clean[view])
            anew = reinject(svd.codec, cells, pictures, hole, on_frame=callbacks.on_frame)
            change = anew - part.region.cut_frame(known.latents[view])
            part.add(latents[view], change * holed[:, None, None, None])
        return KnownLatents(latents, weight)

    sigmas, passes = schedule(config)
    film = range(window.first_frame, window.first_frame + frames)
    shape = (svd.codec.channels, *weight.shape[-2:])
    return diffuse_matrix(
        denoise,
        lambda draw: matrix_noise(config.seed, film, views=views, shape=shape, draw=draw),
        sigmas,
        known=known,
        passes=passes,
        reinject=reinject_views,
        reinject_at=reinjection_levels(sigmas, config.reinjections or 0),
        on_step=callbacks.progress.step,
    )


def _decode(
    model: FrameMatrixModel,
    latents: Tensor,  # [V, F, C, h, w]
    pictures: Tensor,  # [V, F, 3, H, W]
    right: Tensor,  # [n, 3, H, W], the last frames
    fade: Tensor,  # [H, W] in (0, 1], how much of what is decoded they take
    callbacks: Callbacks,
    *,
    kept: int,
) -> None:
    """Put decoded cells into the pictures: of the last view all new ones, of the others the last `kept`."""
    codec, device = model.svd.codec, torch.device("cpu")
    views, frames = latents.shape[:2]
    model.announce(model.svd.vae, frames=frames, latent_size=(latents.shape[-2], latents.shape[-1]))
    for view in range(views):
        if view == 0 and views > 1:
            continue
        count = len(right) if view == views - 1 else kept
        begin = max(0, frames - count - _LEAST_CONTEXT)
        decoded = codec.decode(latents[view, begin:], device=device, on_frame=callbacks.on_frame)[-count:]
        if view == views - 1:
            right.lerp_(decoded, fade)
        last_frames = pictures[view, frames - count :]
        last_frames.copy_(torch.lerp(last_frames.float(), decoded, fade))


def reinjection_levels(sigmas: list[float], count: int) -> list[float]:
    """Choose the noise levels of re-injection, evenly spread.

    The first, at which the estimate shows nothing yet, is left out, and so is the last.

    Args:
        sigmas: Noise levels, falling to 0.
        count: How many are wanted.
    """
    inner = sigmas[1:-2]
    count = min(count, len(inner))
    return [inner[round((n + 0.5) * len(inner) / count - 0.5)] for n in range(count)]
