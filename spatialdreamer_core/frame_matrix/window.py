"""One window of a matrix, from pictures to pictures: encoded, denoised by rows and columns, decoded.

A row is denoised as a video that begins with the source view's frame, which SVD takes for a camera that moves
sideways; one that is read backwards begins with what has been found of the last view. A column begins with
the view's first frame: a finished one, or with one view alone what fast fill makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..svd.known_latents import KnownLatents, reinject, weigh_known
from ..svd.picture_condition import (
    FPS,
    MOTION_BUCKET,
    PictureCondition,
    PictureDenoiser,
    encode_pictures,
    picture_time_ids,
)
from ..svd.schedule import frame_noise, karras_sigmas
from ..svd.windows import Region
from .config import FrameMatrixConfig
from .diffuse import PICTURE_NOISE, Passes, Sequence, diffuse_matrix, matrix_noise
from .model import FrameMatrixModel
from .progress import Progress


@dataclass(frozen=True)
class Callbacks:
    """What is called while a window is filled; each may raise to interrupt."""

    progress: Progress  # after each row and column
    on_wait: Callable[[], None] | None = None  # while the VAE works

    def on_frame(self, done: int) -> None:
        """Take a call of the VAE."""
        if self.on_wait is not None:
            self.on_wait()


@dataclass(frozen=True)
class Window:
    """A window of views, on the canvas.

    Attributes:
        pictures: All views, filled for a start; the first is the source unless there is one alone.
        hole: Their holes; finished frames have none.
        first_frame: Index of the first frame in the film.
        view_motion: Motion bucket of rows.
    """

    pictures: Tensor  # [V, F, 3, H, W] float16 in [0, 1]
    hole: Tensor  # [V, F, 1, H, W] bool
    first_frame: int
    view_motion: int

    def cut_frames(self, frames: range) -> Window:
        """Return some of the frames."""
        pictures, hole = (part[:, frames.start : frames.stop] for part in (self.pictures, self.hole))
        return Window(pictures, hole, self.first_frame + frames.start, self.view_motion)

    def after(
        self,
        finished: Tensor | None,  # [V, n, 3, H, W]
    ) -> Window:
        """Return the window with finished frames before its own."""
        if finished is None:
            return self
        count = finished.shape[1]
        blank = torch.zeros_like(self.hole[:, :1]).expand(-1, count, -1, -1, -1)
        pictures = torch.cat([finished, self.pictures], dim=1)
        hole = torch.cat([blank, self.hole], dim=1)
        return Window(pictures, hole, self.first_frame - count, self.view_motion)

    def cut(self, region: Region) -> Window:
        """Return a region, px, of the window."""
        pictures, hole = (region.cut_frame(part) for part in (self.pictures, self.hole))
        return Window(pictures, hole, self.first_frame, self.view_motion)


def denoise_window(
    model: FrameMatrixModel,
    window: Window,
    config: FrameMatrixConfig,
    callbacks: Callbacks,
    *,
    noise: Callable[[int], Tensor],  # [V, F, C, h, w] of a draw
) -> Tensor:  # [V, F, C, h, w] scaled, on the CPU
    """Denoise a window, or a region of one.

    Args:
        model: The model.
        window: What is known of it.
        config: The options, settled.
        callbacks: Called on the way.
        noise: Draws noise, see `matrix_noise`.
    """
    svd, size = model.svd, (window.pictures.shape[-2], window.pictures.shape[-1])
    views, frames = window.pictures.shape[:2]
    # 1. Encode the cells, and what rows and columns begin with.
    model.announce(svd.vae, svd.image_encoder, frames=frames, size=size)
    known = _encode(model, window, callbacks)
    begins = _Beginnings(model, window, config, callbacks)
    # 2. Denoise.
    denoiser = PictureDenoiser(svd.unet, guidance_min=config.guidance_min, guidance_max=config.guidance_max)
    busy = (svd.unet, svd.vae) if config.reinjections else (svd.unet,)
    model.announce(*busy, frames=max(views, frames), size=size)

    def denoise(sequence: Sequence, noisy: Tensor, sigma: float, first: Tensor) -> Tensor:
        condition, time_ids = begins.of(sequence, first)
        return denoiser(noisy, sigma, condition, time_ids)

    def reinject_views(clean: Tensor, which: Collection[int]) -> KnownLatents:
        latents = known.latents.clone()
        for view in which:
            if bool(window.hole[view].any()):
                pictures, hole = window.pictures[view].float(), window.hole[view].float()
                anew = reinject(svd.codec, clean[view], pictures, hole, on_frame=callbacks.on_frame)
                holed = window.hole[view].flatten(1).any(1)
                latents[view, holed] = anew[holed]
        return KnownLatents(latents, known.weight)

    sigmas, passes = schedule(config)
    return diffuse_matrix(
        denoise,
        noise,
        sigmas,
        known=known,
        passes=passes,
        reinject=reinject_views,
        reinject_at=_spread(sigmas[:-1], config.reinjections or 0),
        on_step=callbacks.progress.step,
    )


def schedule(config: FrameMatrixConfig) -> tuple[list[float], Passes]:
    """Return the noise levels of settled options, falling to 0, and the passes at each."""
    assert config.steps is not None, "settled"
    assert config.passes is not None
    passes = Passes(
        config.passes,
        config.passes,
        config.last_view_from,
        both_ways=config.rows == "both_ways",
        order=config.order,
    )
    return karras_sigmas(config.steps).tolist(), passes


class _Beginnings:
    """What the rows and columns of a window begin with."""

    def __init__(
        self, model: FrameMatrixModel, window: Window, config: FrameMatrixConfig, callbacks: Callbacks
    ) -> None:
        views, frames = window.pictures.shape[:2]
        self._scaling = model.svd.codec.scaling
        height, width = window.pictures.shape[-2:]
        film = range(window.first_frame, window.first_frame + frames)
        noise = frame_noise(config.seed, film, height=height, width=width, channels=3, stream=PICTURE_NOISE)
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


def _encode(model: FrameMatrixModel, window: Window, callbacks: Callbacks) -> KnownLatents:
    """Encode the cells of a window, view by view."""
    codec, latents, weights = model.svd.codec, [], []
    for pictures, hole in zip(window.pictures, window.hole, strict=True):
        latents.append(codec.scaling * codec.encode(pictures.float(), on_frame=callbacks.on_frame))
        weights.append(weigh_known(hole.float(), codec.factor))
    return KnownLatents(torch.stack(latents), torch.stack(weights))


def region_noise(
    model: FrameMatrixModel, window: Window, region: Region, *, seed: int
) -> Callable[[int], Tensor]:
    """Return what draws the noise of a region of a window: that of the whole canvas, cut out."""
    codec = model.svd.codec
    views, frames = window.pictures.shape[:2]
    height, width = (side // codec.factor for side in window.pictures.shape[-2:])
    rows, columns = (
        slice(side.start // codec.factor, side.stop // codec.factor) for side in (region.rows, region.columns)
    )
    film = range(window.first_frame, window.first_frame + frames)
    shape = (codec.channels, height, width)

    def draw(count: int) -> Tensor:
        return matrix_noise(seed, film, views=views, shape=shape, draw=count)[..., rows, columns]

    return draw


def _spread(levels: list[float], count: int) -> list[float]:
    """Choose levels, evenly spread; neither the first, which shows nothing yet, nor the last is needed."""
    inner = levels[1:-1]
    count = min(count, len(inner))
    return [inner[round((n + 0.5) * len(inner) / count - 0.5)] for n in range(count)]
