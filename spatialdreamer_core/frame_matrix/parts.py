"""The regions of a window as the model sees them: cut out, encoded, each with conditions of its own.

A row is denoised as a video that begins with the source view's frame, which SVD takes for a camera that moves
sideways; one that is read backwards begins with what has been found of the last view. A column begins with
the view's first frame: a finished one, or with one view alone what fast fill makes of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..svd.hole_regions import fade_in
from ..svd.picture_condition import FPS, MOTION_BUCKET, PictureCondition, encode_pictures, picture_time_ids
from ..svd.schedule import frame_noise
from ..svd.windows import Region
from .config import FrameMatrixConfig
from .diffuse import PICTURE_NOISE, Sequence
from .model import FrameMatrixModel
from .window import Callbacks, Window


@dataclass(frozen=True)
class Part:
    """A region of a window, which the model sees by itself."""

    region: Region  # in latents
    window: Window  # what is known of it
    weights: Tensor  # [h, w], which sum to 1 over all parts at one place
    open_cells: Tensor  # [V, F] bool, those with latents that are not known
    begins: _Beginnings

    def has_holes(self, sequence: Sequence) -> bool:
        """Tell whether anything of a sequence is to be found here."""
        cells = self.open_cells
        return bool((cells[sequence.index] if sequence.way == "columns" else cells[:, sequence.index]).any())

    def add(
        self,
        canvas: Tensor,  # [N, C, h, w]
        cells: Tensor,  # [N, C, h', w'] of the region
    ) -> None:
        """Add cells to those of the canvas, by their weights."""
        self.region.cut_frame(canvas).add_(cells.to(canvas) * self.weights)


def open_parts(
    model: FrameMatrixModel,
    window: Window,
    regions: list[Region],
    weight: Tensor,  # [V, F, 1, h, w]
    config: FrameMatrixConfig,
    callbacks: Callbacks,
) -> list[Part]:
    """Cut the regions out of a window, and encode what their rows and columns begin with.

    Args:
        model: The model.
        window: The window.
        regions: Of the window, px.
        weight: How far its latents are known.
        config: The options, settled.
        callbacks: Called while the VAE works.
    """
    factor, (height, width) = model.svd.codec.factor, weight.shape[-2:]
    scaled = [in_latents(region, factor) for region in regions]
    weights = [fade_in(region, height, width, ramp=config.margin // 2 // factor) for region in scaled]
    total = torch.zeros(height, width)
    for region, own in zip(scaled, weights, strict=True):
        region.cut_frame(total).add_(own)
    parts = []
    for region, cells, own in zip(regions, scaled, weights, strict=True):
        part = window.cut(region)
        parts.append(
            Part(
                cells,
                part,
                own / cells.cut_frame(total),
                (cells.cut_frame(weight) < 1).flatten(2).any(2),
                _Beginnings(model, part, _condition_noise(window, region, config), config, callbacks),
            )
        )
    return parts


def _condition_noise(window: Window, region: Region, config: FrameMatrixConfig) -> Tensor:  # [F, 3, H', W']
    """Draw the noise on the pictures of a region: that of the whole canvas, cut out."""
    frames, (height, width) = window.pictures.shape[1], window.pictures.shape[-2:]
    film = range(window.first_frame, window.first_frame + frames)
    draw = partial(frame_noise, config.seed, height=height, width=width, channels=3, stream=PICTURE_NOISE)
    return torch.cat([region.cut_frame(draw([frame])) for frame in film])


class _Beginnings:
    """What the rows and columns of a part begin with."""

    def __init__(
        self,
        model: FrameMatrixModel,
        window: Window,
        noise: Tensor,  # [F, 3, H, W]
        config: FrameMatrixConfig,
        callbacks: Callbacks,
    ) -> None:
        views = len(window.pictures)
        self._scaling = model.svd.codec.scaling
        encode = partial(encode_pictures, model.svd, on_frame=callbacks.on_frame)
        firsts, source = window.pictures[:, 0].float(), window.pictures[0].float()
        self._columns = encode(firsts, noise=noise[:1].expand(views, -1, -1, -1))
        self._rows = [] if views == 1 else encode(source, noise=noise)
        fps = FPS if config.fps is None else config.fps
        motion = MOTION_BUCKET if config.motion_bucket is None else config.motion_bucket
        self._over_time = picture_time_ids(fps=fps, motion_bucket=motion)
        self._over_views = picture_time_ids(fps=fps, motion_bucket=window.view_motion)

    def of(self, sequence: Sequence, first: Tensor) -> tuple[PictureCondition, Tensor]:
        """Return condition and time ids of a sequence whose first cell's estimate is given."""
        if sequence.way == "columns":
            return self._columns[sequence.index], self._over_time
        begin = self._rows[sequence.index]
        if sequence.way == "rows_back":
            begin = PictureCondition(first / self._scaling, begin.embedding)
        return begin, self._over_views


def encode_parts(
    model: FrameMatrixModel,
    parts: list[Part],
    weight: Tensor,  # [V, F, 1, h, w]
    callbacks: Callbacks,
) -> Tensor:  # [V, F, C, h, w] scaled
    """Encode the cells of all parts, view by view; outside of them latents are 0.

    Args:
        model: The model.
        parts: From `open_parts`.
        weight: How far the latents of the window are known.
        callbacks: Called while the VAE works.
    """
    codec = model.svd.codec
    latents = weight.new_zeros(*weight.shape[:2], codec.channels, *weight.shape[-2:])
    for part in parts:
        for pictures, cells in zip(part.window.pictures, latents, strict=True):
            encoded = codec.encode(pictures.float(), on_frame=callbacks.on_frame)
            part.add(cells, codec.scaling * encoded)
    return latents


def in_latents(region: Region, factor: int) -> Region:
    """Return a region, px, in latents of so many px each side."""
    rows, columns = (
        range(side.start // factor, side.stop // factor) for side in (region.rows, region.columns)
    )
    return Region(region.frames, rows, columns)
