"""A scene filled window by window: its last finished frames are carried into the next window, in all views.

Where nothing is finished yet, the first frame is filled by itself, over the views alone: then each column
begins with a whole picture, as SVD is used to. By exact denoisers that is nearer to the truth than columns
that begin with nothing (benchmarks/frame_matrix.py). Between windows the views in between are kept as
pictures of `overlap` frames, at the size at which they are diffused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..dvg import dilate_hole
from ..dvg.eyes import Eye
from ..fill import composite
from ..memory import require_memory, run_within_memory
from ..svd import trained_area, trained_frames
from ..svd.canvas import Canvas
from ..svd.windows import Plan
from .config import FrameMatrixConfig
from .diffuse import count_steps
from .model import FrameMatrixModel
from .progress import Progress
from .regions import choose_regions, fill_regions
from .views import Rendered, render_views, view_motion_bucket
from .window import Callbacks, Window, schedule


class MatrixViews(NamedTuple):
    """What a window or clip gives."""

    filled: Tensor  # [F, 3, H, W] in [0, 1], the rendered view without holes
    whole: Tensor  # [F, 3, H, W] in [0, 1], the same diffused everywhere
    views: Tensor | None  # [V, F, 3, H, W] in [0, 1], from the source view to `filled`; None if not asked for


class MatrixScene:
    """Fills a scene.

    Args:
        model: The model.
        config: The options, settled.
        eye: The rendered eye.
        size: Height and width of the frames.
        on_wait: Called before the UNet works on a region, and while the VAE works; may raise to interrupt.
        keep_views: Whether all views are returned.

    Attributes:
        plan: How much is filled at a time: less once the device's memory has run out.
    """

    def __init__(
        self,
        model: FrameMatrixModel,
        config: FrameMatrixConfig,
        *,
        eye: Eye,
        size: tuple[int, int],
        on_wait: Callable[[], None] | None = None,
        keep_views: bool = False,
    ) -> None:
        self._model, self._config, self._eye = model, config, eye
        self._on_wait, self._keep_views = on_wait, keep_views
        svd = model.svd
        self._canvas = Canvas.fit_to(
            *size,
            max_side=config.max_side,
            area=trained_area(svd.unet, factor=svd.codec.factor),
            multiple=svd.size_multiple,
            factor=svd.codec.factor,
        )
        # More frames than are carried on.
        window = max(config.window or trained_frames(svd.unet), config.overlap + 1)
        self.plan = Plan(window, config.overlap, factor=svd.codec.factor)
        self._carried: Tensor | None = None  # [V, n, 3, h, w] float16, the last finished frames

    @property
    def room(self) -> int:
        """How many new frames the next window takes."""
        return self.plan.window - min(_count(self._carried), self.plan.overlap)

    def end(self) -> None:
        """Begin a new scene."""
        self._carried = None

    def count_steps(self, frames: int, *, has_disparity: bool) -> int:
        """Count the rows and columns of the next window with so many new frames, as whole pictures."""
        views = self._views(has_disparity)
        return sum(steps for _, steps in self._spans(views, frames, self._carried))

    @torch.inference_mode()
    def fill(self, frames: Rendered, *, first_frame: int, progress: Progress) -> MatrixViews:
        """Fill the scene's next frames, as many as the device's memory takes, at least one.

        What is interrupted changes nothing: it may be called again.

        Args:
            frames: The frames, no more than there is room for.
            first_frame: Index of the first of them in its film.
            progress: The stretch of all of them.

        Raises:
            InputError: If memory does not suffice for the least work, or the model gives NaN.
        """
        views = self._views(frames.disparity is not None)
        carried = self._carried
        if carried is not None and len(carried) != views:
            carried = None
        if not (self._keep_views or bool((frames.hole > 0.5).any())):
            self._carried = None  # a later hole has nothing to go on with
            return MatrixViews(frames.warped, frames.warped, None)

        def run(plan: Plan) -> tuple[MatrixViews, Tensor | None]:
            begin = None if carried is None else carried[:, -plan.overlap :]
            count, room = len(frames), plan.window - _count(begin)
            if count > room:
                count = next_count(count, room, ended=True)
            stretch = progress.part(0, count / len(frames))
            return self._fill(frames.cut(0, count), begin, first_frame, plan, stretch)

        (result, self._carried), self.plan = run_within_memory(
            run,
            self.plan,
            smaller=lambda plan: self._smaller(plan, _count(carried) + len(frames), views),
            task="the frame matrix",
            explain=lambda plan: (
                f"the device must have memory for {views} views, {plan}, but it ran out; free memory, or "
                "lower `max_side` or `views`"
            ),
        )
        return result

    def _smaller(self, plan: Plan, frames: int, views: int) -> Plan | None:
        """Return a plan that takes less memory, or None: rows take as much as columns of as many frames."""
        frames = min(plan.window, frames)
        return plan.smaller(frames if frames > views else 1, *self._canvas.latent_size)

    def _views(self, has_disparity: bool) -> int:
        """Return how many views there are: one where no other has a say in it."""
        views = self._config.views
        assert views is not None, "settled"
        alone = self._config.order == "columns" and not self._keep_views
        return views if has_disparity and not alone else 1

    def _spans(self, views: int, frames: int, carried: Tensor | None) -> list[tuple[range, int]]:
        """Divide new frames into those that are filled together, with the steps of whole pictures."""
        finished, spans = _count(carried), [range(frames)]
        if carried is None and views > 1 and frames > 1 and self._config.order != "columns":
            spans = [range(1), range(1, frames)]
        sigmas, passes = schedule(self._config)
        counts = []
        for span in spans:
            known = finished + span.start
            size = {"views": views, "frames": known + len(span), "finished": known}
            counts.append(count_steps(sigmas, passes, **size))
        return list(zip(spans, counts, strict=True))

    def _fill(
        self, frames: Rendered, carried: Tensor | None, first_frame: int, plan: Plan, progress: Progress
    ) -> tuple[MatrixViews, Tensor | None]:
        """Fill a window; return what the next one begins with, too."""
        window = self._render(frames, first_frame, _count(carried))
        spans, steps = zip(*self._spans(len(window.pictures), len(frames), carried), strict=True)
        windows = [window.cut_frames(span) for span in spans]
        regions = [choose_regions(self._model, part, self._config, plan) for part in windows]
        work = [
            float(count * sum(len(region.rows) * len(region.columns) for region in chosen))
            for count, chosen in zip(steps, regions, strict=True)
        ]
        stretches = progress.divide(work) if any(work) else [progress] * len(work)
        parts = []
        for span, part, chosen, stretch in zip(spans, windows, regions, stretches, strict=True):
            part = part.after(carried)
            right = fill_regions(
                self._model,
                part,
                chosen,
                self._config,
                Callbacks(stretch, self._on_wait),
                new=len(span),
                keep_views=self._keep_views,
            )
            new = frames.cut(span.start, span.stop)
            filled, whole = self._composite(new, right)
            carried = self._carry(part, filled, plan.overlap)
            parts.append(MatrixViews(filled, whole, self._all_views(new, part, filled)))
        return _join(parts), carried

    def _composite(
        self,
        frames: Rendered,
        right: Tensor,  # [F, 3, h, w] on the canvas
    ) -> tuple[Tensor, Tensor]:  # [F, 3, H, W] in [0, 1] each
        """Bring the last view to its own size, where a clip may be far larger; return it composited, too."""
        filled = torch.empty_like(frames.warped)
        whole = torch.empty_like(frames.warped)
        for frame, picture in enumerate(right.split(1)):
            own = slice(frame, frame + 1)
            whole[own] = self._canvas.restore(picture).to(whole)
            filled[own] = composite(
                *(frames.warped[own], whole[own], frames.hole[own]),
                dilate=self._config.dilate,
                feather=self._config.feather,
            )
        return filled, whole

    def _render(self, frames: Rendered, first_frame: int, carried: int) -> Window:
        """Render all views on the canvas, frame by frame: at its own size a clip may be far larger."""
        views, planes = self._views(frames.disparity is not None), self._config.planes
        self._require_memory(views, len(frames) + carried)
        height, width = self._size
        pictures = torch.empty(views, len(frames), 3, height, width, dtype=torch.float16)
        holes = torch.empty(views, len(frames), 1, height, width, dtype=torch.bool)
        for frame in range(len(frames)):
            rendered = render_views(frames.cut(frame, frame + 1), views=views, eye=self._eye, planes=planes)
            for index, (view, hole) in enumerate(rendered):
                pictures[index, frame] = self._canvas.fit(view)[0]
                # What the result takes from the filling must not be held to what was warped.
                held = self._canvas.fit_mask(dilate_hole(hole, self._config.dilate))
                holes[index, frame] = held[0] > 0.5
        motion = self._config.view_motion_bucket
        if motion is None:
            motion = 0 if frames.disparity is None else view_motion_bucket(frames.disparity, views)
        return Window(pictures, holes, first_frame, motion)

    @property
    def _size(self) -> tuple[int, int]:
        """Height and width of the canvas, px."""
        height, width = self._canvas.latent_size
        return height * self._canvas.factor, width * self._canvas.factor

    def _require_memory(self, views: int, frames: int) -> None:
        """Check that main memory has room for the pictures of a window, twice while they are put together.

        Raises:
            InputError: If it has not.
        """
        height, width = self._size
        require_memory(
            2 * views * frames * height * width * (3 * torch.float16.itemsize + torch.bool.itemsize),
            what=f"the frame matrix of {views} views and {frames} frames of {width}x{height}",
            remedy="lower views, window or max_side",
        )

    def _carry(self, window: Window, filled: Tensor, overlap: int) -> Tensor:  # [V, n, 3, h, w] float16
        """Keep the last frames in all views; those of the last view as they are in the result."""
        count = min(overlap, window.pictures.shape[1])
        carried = window.pictures[:, -count:].clone()
        new = min(count, len(filled))
        carried[-1, -new:] = self._canvas.fit(filled[-new:]).cpu().half()
        return carried

    def _all_views(
        self, frames: Rendered, window: Window, filled: Tensor
    ) -> Tensor | None:  # [V, F, 3, H, W] in [0, 1]
        """Return all views, if they are asked for; what is known of each is warped anew, at its own size."""
        if not self._keep_views:
            return None
        config, diffused = self._config, window.pictures[:-1, -len(filled) :]
        views = filled.new_empty(len(window.pictures), *filled.shape)
        views[-1] = filled
        for frame in range(len(frames)):
            own = frames.cut(frame, frame + 1)
            rendered = render_views(own, views=len(views), eye=self._eye, planes=config.planes)
            for view, picture, (known, hole) in zip(views, diffused[:, frame], rendered, strict=False):
                whole = self._canvas.restore(picture[None].float()).to(known)
                view[frame] = composite(known, whole, hole, dilate=config.dilate, feather=config.feather)[0]
        return views


def next_count(waiting: int, room: int, *, ended: bool) -> int:
    """Return how many frames are filled next, of those that wait, 0 for none yet.

    SVD knows videos of one length, so the end of a scene is no short window: half a window of frames waits
    behind the one that is filled, and what is left in the end is cut into two if it is more than one window.

    Args:
        waiting: Frames that wait.
        room: New frames that a window takes.
        ended: Whether no more will come.
    """
    if waiting >= room + room // 2:
        return room
    if not ended:
        return 0
    return waiting if waiting <= room else -(-waiting // 2)


def _count(carried: Tensor | None) -> int:
    """Return how many finished frames a window begins with."""
    return 0 if carried is None else carried.shape[1]


def _join(parts: list[MatrixViews]) -> MatrixViews:
    """Join the results of frames that were filled in turn."""
    filled, whole = (torch.cat(pair) for pair in zip(*(part[:2] for part in parts), strict=True))
    views = [part.views for part in parts if part.views is not None]
    return MatrixViews(filled, whole, torch.cat(views, dim=1) if views else None)
