"""One window on the model's canvas: whole, or around its holes alone, as much at a time as memory allows.

A region is cut out of the pictures, so that the autoencoder and the UNet work on it alone; its image
embeddings are those of the whole left view, and the noise on it is the part of a frame's at its place. The
UNet norms it by the statistics of the whole picture, which goes through it at half its size for that
(`svd.picture_statistics`). Regions of the same size go through the UNet together. Pasted back, they fade into
each other and into the rendered view within their margins, where nothing is taken from them: see
`find_regions`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ..dvg.mask_edges import grow_hole
from ..svd import embed_images
from ..svd.hole_regions import (
    RegionCost,
    cut_regions,
    fade_in,
    find_regions,
    group_regions,
    varying_sizes,
)
from ..svd.picture_statistics import PictureStatistics
from ..svd.windows import Plan, Region
from .colour import match_colours
from .config import RefinerConfig
from .inputs import encode_window
from .model import M2SVid
from .noise import ViewNoise
from .predict import predict

_RAMP = 32  # px over which a region fades


@dataclass(frozen=True)
class Portion:
    """How much is refined at a time."""

    plan: Plan  # windows and tiles
    batched: bool  # whether regions of the same size go through the UNet together

    def smaller(self, frames: int, height: int, width: int) -> Portion | None:
        """Return a portion that takes less memory, or None: one region at a time, then half of the plan."""
        if self.batched:
            return replace(self, batched=False)
        plan = self.plan.smaller(frames, height, width)
        return None if plan is None else replace(self, plan=plan)

    def __str__(self) -> str:
        """Describe the portion for the log."""
        return f"{self.plan}{', regions of a size together' if self.batched else ''}"


@dataclass(frozen=True)
class CanvasWindow:
    """A window of frames on the model's canvas."""

    left: Tensor  # [F, 3, h, w] in [0, 1]
    warped: Tensor  # [F, 3, h, w] in [0, 1], whose first frames may be finished views
    hole: Tensor  # [F, 1, h, w] of 0 and 1, no holes in finished views
    finished: int  # frames
    first_frame: int  # index of the first one in the film

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, px."""
        return self.hole.shape[-2], self.hole.shape[-1]

    def cut(self, region: Region) -> tuple[Tensor, Tensor, Tensor]:
        """Return a region's views of left view, rendered view and mask."""
        left, warped, hole = (region.cut_frame(frames) for frames in (self.left, self.warped, self.hole))
        return left, warped, hole


def refine_window(
    model: M2SVid,
    window: CanvasWindow,
    config: RefinerConfig,
    portion: Portion,
    *,
    on_wait: Callable[[], None] | None = None,
) -> tuple[Tensor, float]:  # [F, 3, h, w] in [0, 1], share
    """Refine a window.

    Args:
        model: The model.
        window: The window, which has holes.
        config: How to refine.
        portion: How much at a time; its plan's window has no meaning here.
        on_wait: Called now and then; may raise to interrupt.

    Returns:
        The model's picture, beyond its regions the rendered view; and the share of the frames that was run.
    """
    height, width = window.size
    regions = _choose_regions(model, window, config, portion)
    factor = model.svd.codec.factor
    model.announce(
        model.svd.image_encoder, frames=len(window.left), latent_size=(height // factor, width // factor)
    )
    embeddings = embed_images(model.svd.image_encoder, window.left)
    statistics = None
    if any(region.picture_size != window.size for region in regions):
        statistics = PictureStatistics(model.svd.unet, window.size)
        with statistics.take(regions):
            small = _shrink(window, _small_size(model, window, portion))
            _predict_batch(model, *small, embeddings, config, on_wait)
    collage = _Collage(window.warped)
    for group in group_regions(regions):
        for batch in [group] if portion.batched else [[region] for region in group]:
            with nullcontext() if statistics is None else statistics.give(batch):
                latents = _predict_batch(model, window, batch, embeddings, config, on_wait)
            for region, part in zip(batch, latents, strict=True):
                collage.paste(region, _decode(model, window, region, part, config, on_wait))
    area = sum(len(region.rows) * len(region.columns) for region in regions)
    return collage.finish(), min(1.0, area / (height * width))


def _choose_regions(
    model: M2SVid, window: CanvasWindow, config: RefinerConfig, portion: Portion
) -> list[Region]:
    """Return what is run of a window, in px of the canvas."""
    height, width = window.size
    step, factor = model.svd.size_multiple, model.svd.codec.factor
    regions = [Region(range(len(window.left)), range(height), range(width))]
    if config.keep_known and config.regions == "auto":
        cost = RegionCost.of_unet(
            model.svd.unet.config, full_attention=model.full_attention, device=model.device
        )
        # Nothing is taken from where a region fades.
        margin = max(config.margin, config.dilate + config.feather + _RAMP)
        regions = find_regions(
            window.hole,
            cost=cost,
            margin=-(-margin // step) * step,
            step=step,
            factor=factor,
            beside=_small_size(model, window, portion),
        )
    return cut_regions(regions, tile=portion.plan.tile * factor // step * step, step=step)


def _small_size(model: M2SVid, window: CanvasWindow, portion: Portion) -> tuple[int, int]:
    """Return about half of a window's height and width, px, or what a tile takes if that is less."""
    step, scale = model.svd.size_multiple, 0.5
    if portion.plan.tile:
        scale = min(scale, portion.plan.tile * model.svd.codec.factor / max(window.size))
    height, width = (max(step, round(scale * side / step) * step) for side in window.size)
    return height, width


def _shrink(window: CanvasWindow, size: tuple[int, int]) -> tuple[CanvasWindow, list[Region]]:
    """Return a window's pictures at a smaller size, and the region that is all of them."""
    left, warped = (F.interpolate(view, size, mode="area") for view in (window.left, window.warped))
    hole = F.interpolate(window.hole, size, mode="nearest-exact")
    whole = Region(range(len(left)), *(range(side) for side in size))
    return CanvasWindow(left, warped, hole, window.finished, window.first_frame), [whole]


def _predict_batch(
    model: M2SVid,
    window: CanvasWindow,
    regions: list[Region],
    embeddings: Tensor,
    config: RefinerConfig,
    on_wait: Callable[[], None] | None,
) -> Tensor:  # [B, F, C, h, w], scaled
    """Encode regions of the same size and predict their latents."""
    noise = ViewNoise(seed=config.seed, first_frame=window.first_frame)
    encoded = [
        encode_window(
            model,
            *window.cut(region),
            finished=window.finished,
            noise=noise._replace(corner=(region.rows.start, region.columns.start)),
            embeddings=embeddings,
            on_frame=_without_count(on_wait),
        )
        for region in regions
    ]
    left, warped, mask, tokens = (torch.stack(parts) for parts in zip(*encoded, strict=True))
    whole = regions[0].picture_size == window.size
    with nullcontext() if whole else varying_sizes():
        return predict(model, left, warped, mask, tokens, fps=config.fps, on_wait=on_wait)


def _decode(
    model: M2SVid,
    window: CanvasWindow,
    region: Region,
    latents: Tensor,  # [F, C, h, w], scaled
    config: RefinerConfig,
    on_wait: Callable[[], None] | None,
) -> Tensor:  # [F, 3, h, w] in [0, 1]
    """Decode a region to where the frames are, in their colours."""
    model.announce(model.svd.vae, frames=len(latents), latent_size=(latents.shape[-2], latents.shape[-1]))
    _, warped, hole = window.cut(region)
    picture = model.svd.codec.decode(latents, device=warped.device, on_frame=_without_count(on_wait))
    if not config.match_colours:
        return picture
    # The autoencoder mixes what is nearer to a hole than a latent is wide.
    return match_colours(picture, warped, 1 - grow_hole(hole, model.svd.codec.factor))


class _Collage:
    """Pictures of regions on top of the rendered view.

    Args:
        warped: The rendered view on the canvas, in [0, 1].
    """

    def __init__(self, warped: Tensor) -> None:
        self._warped = warped
        self._sum = torch.zeros_like(warped)
        self._weights = warped.new_zeros(warped.shape[-2:])

    def paste(self, region: Region, picture: Tensor) -> None:
        """Add a region's picture."""
        height, width = self._warped.shape[-2:]
        weights = fade_in(region, height, width, ramp=_RAMP).to(self._weights)
        region.cut_frame(self._sum).add_(picture * weights)
        region.cut_frame(self._weights).add_(weights)

    def finish(self) -> Tensor:  # [F, 3, h, w] in [0, 1]
        """Return the collage: pictures are averaged where they overlap, and fade where they end alone."""
        pictures = self._sum / self._weights.clamp_min(1)
        return torch.addcmul(pictures, self._warped, (1 - self._weights).clamp_min(0)).clamp_(0, 1)


def _without_count(on_wait: Callable[[], None] | None) -> Callable[[int], None] | None:
    """Let a callback without arguments be called with a number of frames."""
    return None if on_wait is None else lambda _count: on_wait()
