"""The parts of a window that are denoised, those with holes in any view, and the window with them filled."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..svd.hole_regions import RegionCost, cut_regions, fade_in, find_regions
from ..svd.windows import Plan, Region
from .config import FrameMatrixConfig
from .model import FrameMatrixModel
from .window import Callbacks, Window, denoise_window, region_noise

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
    """Fill a window region by region.

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
    areas = [float(len(region.rows) * len(region.columns)) for region in regions]
    stretches = callbacks.progress.divide(areas)
    for region, progress in zip(regions, stretches, strict=True):
        part, own = window.cut(region), replace(callbacks, progress=progress)
        noise = region_noise(model, window, region, seed=config.seed)
        latents = denoise_window(model, part, config, own, noise=noise)
        fade = fade_in(region, *size, ramp=config.margin // 2)
        kept = new if keep_views else min(config.overlap, new)
        _decode(model, latents, part.pictures, region.cut_frame(right), fade, own, kept=kept)
    return right


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
    model.announce(model.svd.vae, frames=frames, size=(pictures.shape[-2], pictures.shape[-1]))
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
