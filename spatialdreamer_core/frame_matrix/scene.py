"""A scene filled window by window: its last finished frames are carried into the next window, in all views.

Where nothing is finished yet, the first frame is filled by itself, over the views alone: then each column
begins with a whole picture, as SVD is used to. By exact denoisers that is nearer to the truth than columns
that begin with nothing (benchmarks/frame_matrix.py). Between windows the views in between are kept as
pictures of `overlap` frames, at the size at which they are diffused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..dvg.eyes import Eye
from ..fill import composite, fast_fill
from ..memory import require_memory
from ..svd import trained_area
from ..svd.canvas import Canvas
from ..svd.hole_regions import RegionCost, fade_in, find_regions
from ..svd.windows import Region
from .config import FrameMatrixConfig
from .model import FrameMatrixModel
from .views import render_view, view_motion_bucket, view_shares
from .window import Callbacks, Window, denoise_window, region_noise

_LEAST_CONTEXT = 6  # frames decoded before those that are carried, which the VAE's decoder mixes in


class MatrixViews(NamedTuple):
    """What a window or clip gives."""

    filled: Tensor  # [F, 3, H, W] in [0, 1], the rendered view without holes
    whole: Tensor  # [F, 3, H, W] in [0, 1], the same diffused everywhere
    views: Tensor | None  # [V, F, 3, H, W] in [0, 1], from the source view to `filled`; None if not asked for


@dataclass(frozen=True)
class Rendered:
    """Frames of a scene with their source, as they are to be filled."""

    left: Tensor  # [F, 3, H, W] in [0, 1]
    warped: Tensor  # [F, 3, H, W] in [0, 1]
    hole: Tensor  # [F, 1, H, W], 1 = hole
    disparity: Tensor | None  # [F, 1, H, W] px, of the source

    def __len__(self) -> int:
        return len(self.left)

    def cut(self, first: int, last: int) -> Rendered:
        """Return some of the frames."""
        disparity = None if self.disparity is None else self.disparity[first:last]
        return Rendered(self.left[first:last], self.warped[first:last], self.hole[first:last], disparity)


class MatrixScene:
    """Fills a scene.

    Args:
        model: The model.
        config: The options, settled.
        eye: The rendered eye.
        size: Height and width of the frames.
        callbacks: Called on the way.
        keep_views: Whether all views are returned.
    """

    def __init__(
        self,
        model: FrameMatrixModel,
        config: FrameMatrixConfig,
        *,
        eye: Eye,
        size: tuple[int, int],
        callbacks: Callbacks,
        keep_views: bool = False,
    ) -> None:
        self._model, self._config, self._eye = model, config, eye
        self._callbacks, self._keep_views = callbacks, keep_views
        svd = model.svd
        self._canvas = Canvas.fit_to(
            *size,
            max_side=config.max_side,
            area=trained_area(svd.unet, factor=svd.codec.factor),
            multiple=svd.size_multiple,
            factor=svd.codec.factor,
        )
        self._carried: Tensor | None = None  # [V, n, 3, h, w] float16, the last finished frames

    @property
    def carried(self) -> int:
        """How many finished frames the next window begins with."""
        return 0 if self._carried is None else self._carried.shape[1]

    @torch.inference_mode()
    def fill(self, frames: Rendered, *, first_frame: int) -> MatrixViews:
        """Fill the scene's next frames, as many as one window takes beside those that are carried.

        Args:
            frames: The frames.
            first_frame: Index of the first of them in its film.
        """
        views = self._views(frames)
        if self._carried is not None and len(self._carried) != views:
            self._carried = None
        if not (self._keep_views or bool((frames.hole > 0.5).any())):
            self._carried = None  # a later hole has nothing to go on with
            return MatrixViews(frames.warped, frames.warped, None)
        by_rows = views > 1 and self._config.order != "columns"
        if self._carried is None and by_rows and len(frames) > 1:
            parts = [self._fill(frames.cut(0, 1), first_frame)]
            parts.append(self._fill(frames.cut(1, len(frames)), first_frame + 1))
            filled, whole = (torch.cat(pair) for pair in zip(*(part[:2] for part in parts), strict=True))
            kept = [part.views for part in parts if part.views is not None]
            return MatrixViews(filled, whole, torch.cat(kept, dim=1) if kept else None)
        return self._fill(frames, first_frame)

    def _views(self, frames: Rendered) -> int:
        """Return how many views there are: one where no other has a say in it."""
        views = self._config.views
        assert views is not None, "settled"
        alone = self._config.order == "columns" and not self._keep_views
        return 1 if frames.disparity is None or alone else views

    def _fill(self, frames: Rendered, first_frame: int) -> MatrixViews:
        """Fill frames; those that are carried come before them in the window."""
        window, carried = self._render(frames, first_frame), self.carried
        if self._carried is not None:
            window.pictures = torch.cat([self._carried, window.pictures], dim=1)
            blank = torch.zeros_like(window.hole[:, :1]).expand(-1, carried, -1, -1, -1)
            window.hole = torch.cat([blank, window.hole], dim=1)
        right = window.pictures[-1, carried:].float()
        for region in self._regions(window):
            part = window.cut(region)
            noise = region_noise(self._model, window, region, seed=self._config.seed)
            latents = denoise_window(self._model, part, self._config, self._callbacks, noise=noise)
            size = window.pictures.shape[-2:]
            fade = fade_in(region, *size, ramp=self._config.margin // 2)
            self._decode(latents, part.pictures, region.cut_frame(right), fade)
        filled = torch.empty_like(frames.warped)
        whole = torch.empty_like(frames.warped)
        for frame, picture in enumerate(right.split(1)):  # at its own size a clip may be far larger
            own = slice(frame, frame + 1)
            whole[own] = self._canvas.restore(picture).to(whole)
            filled[own] = composite(
                *(frames.warped[own], whole[own], frames.hole[own]),
                dilate=self._config.dilate,
                feather=self._config.feather,
            )
        self._carry(window, filled)
        return MatrixViews(filled, whole, self._all_views(window, filled, carried))

    def _render(self, frames: Rendered, first_frame: int) -> Window:
        """Render all views of some frames and put them on the canvas."""
        views, eye = self._views(frames), self._eye
        self._require_memory(views, len(frames) + self.carried)
        pictures, holes = [], []
        for share in view_shares(views):
            if share == 0:
                view, hole = frames.left, torch.zeros_like(frames.hole)
            elif share == 1:
                view = fast_fill(frames.warped, frames.hole, disparity=frames.disparity, eye=eye)
                hole = frames.hole
            else:
                assert frames.disparity is not None
                planes = self._config.planes
                view, hole = render_view(frames.left, frames.disparity, share, eye=eye, planes=planes)
            pictures.append(self._canvas.fit(view).cpu().half())
            holes.append(self._canvas.fit_mask(hole).cpu() > 0.5)
        motion = self._config.view_motion_bucket
        if motion is None:
            motion = 0 if frames.disparity is None else view_motion_bucket(frames.disparity, views)
        return Window(torch.stack(pictures), torch.stack(holes), first_frame - self.carried, motion)

    def _require_memory(self, views: int, frames: int) -> None:
        """Check that main memory has room for the pictures of a window, twice while they are put together.

        Raises:
            InputError: If it has not.
        """
        height, width = (self._canvas.factor * side for side in self._canvas.latent_size)
        require_memory(
            2 * views * frames * height * width * (3 * torch.float16.itemsize + torch.bool.itemsize),
            what=f"the frame matrix of {views} views and {frames} frames of {width}x{height}",
            remedy="lower views, window or max_side",
        )

    def _regions(self, window: Window) -> list[Region]:
        """Choose the regions, px of the canvas, that are denoised: those with holes in any view."""
        svd = self._model.svd
        frames, _, height, width = window.hole.shape[1:]
        hole = window.hole.any(0)
        if self._config.regions == "whole" or not bool(hole.any()):
            return [Region(range(frames), range(height), range(width))] if bool(hole.any()) else []
        return find_regions(
            hole.float(),
            cost=RegionCost.of_unet(svd.unet.config, device=self._model.device),
            margin=-(-self._config.margin // svd.size_multiple) * svd.size_multiple,
            step=svd.size_multiple,
            factor=svd.codec.factor,
        )

    def _decode(
        self,
        latents: Tensor,  # [V, F, C, h, w]
        pictures: Tensor,  # [V, F, 3, H, W]
        right: Tensor,  # [n, 3, H, W], the last frames
        fade: Tensor,  # [H, W] in (0, 1], how much of what is decoded they take
    ) -> None:
        """Put decoded cells into the pictures: of the last view all, of the others those that are needed."""
        codec, device = self._model.svd.codec, torch.device("cpu")
        views, frames = latents.shape[:2]
        size = (pictures.shape[-2], pictures.shape[-1])
        self._model.announce(self._model.svd.vae, frames=frames, size=size)
        last = frames if self._keep_views else min(frames, self._config.overlap)
        for view in range(views):
            if view == 0 and views > 1:
                continue
            count = len(right) if view == views - 1 else min(last, len(right))
            begin = max(0, frames - count - _LEAST_CONTEXT)
            decoded = codec.decode(latents[view, begin:], device=device, on_frame=self._callbacks.on_frame)[
                -count:
            ]
            if view == views - 1:
                right.lerp_(decoded, fade)
            last_frames = pictures[view, frames - count :]
            last_frames.copy_(torch.lerp(last_frames.float(), decoded, fade))

    def _carry(self, window: Window, filled: Tensor) -> None:
        """Keep the last frames in all views; those of the last view as they are in the result."""
        count = min(self._config.overlap, window.pictures.shape[1])
        self._carried = window.pictures[:, -count:].clone()
        new = min(count, len(filled))
        self._carried[-1, -new:] = self._canvas.fit(filled[-new:]).cpu().half()

    def _all_views(self, window: Window, filled: Tensor, carried: int) -> Tensor | None:
        """Return all views at their own size, if they are asked for."""
        if not self._keep_views:
            return None
        views = [self._canvas.restore(view[carried:].float()).to(filled) for view in window.pictures[:-1]]
        return torch.stack([*views, filled])
