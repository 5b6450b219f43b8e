"""The frame matrix as a function of a clip and as a filler of films, window by window in constant memory.

A filler is given the disparity that is seen in the rendered view; the views in between are warped from the
source, whose own disparity is found from it (`views.source_disparity`). Without disparity there is one view,
which is filled over time alone.

Where a device's memory does not suffice, less is filled at a time: half of the window, then tiles. Noise
depends on frame, view and place alone, so that changes no more of the result than the cut itself does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..checks import check_finite, check_video
from ..dvg.eyes import Eye, eye_sign
from ..fill import RenderedFrame
from ..memory import telling_of_memory
from .config import FrameMatrixConfig
from .model import FrameMatrixModel
from .outpaint import OutpaintedScene
from .progress import OnCells, Progress
from .scene import MatrixViews, next_count
from .views import Rendered, source_disparity

_LOGGER = logging.getLogger(__name__)
_NO_DISPARITY = (
    "the frame matrix needs disparity for its views, and has none: the right view alone is filled, over time"
)


def fill_matrix(
    model: FrameMatrixModel,
    left: Tensor,  # [F, 3, H, W] in [0, 1]
    warped: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    disparity: Tensor | None,  # [F, 1, H, W] px
    config: FrameMatrixConfig = FrameMatrixConfig(),  # noqa: B008 (frozen)
    *,
    eye: Eye = "right",
    keep_views: bool = False,
    on_step: OnCells | None = None,
    on_frame: Callable[[int], None] | None = None,
    on_wait: Callable[[], None] | None = None,
) -> MatrixViews:
    """Fill the holes of a clip, which is one scene.

    Args:
        model: The model.
        left: The source view.
        warped: The rendered view.
        hole: Its hole mask; values above 0.5 are holes.
        disparity: The disparity of the source view that rendered it; None leaves the rendered view alone.
        config: The options.
        eye: The rendered eye.
        keep_views: Whether all views are returned; then `last_view_from` should be 0.
        on_step: Called after each row and column with the steps done and in all of the clip, and the clean
            estimate of the cells at work [V, F, C, h, w]; may raise to interrupt.
        on_frame: Called with the number of finished frames; may raise.
        on_wait: Called before the UNet works on a region, and while the VAE works; may raise.

    Returns:
        The view without holes. Outside of them, and of dilation and feather, it equals `warped` bit for bit.

    Raises:
        InputError: If shapes differ, values are not finite, an option is out of range, memory does not
            suffice or the model gives NaN.
    """
    config = config.settled()
    eye_sign(eye)
    check_video("warped", warped, channels=3)
    for name, part, channels in (("left", left, 3), ("hole", hole, 1), ("disparity", disparity, 1)):
        if part is not None:
            check_video(name, part, channels=channels, like=warped, like_name="warped")
            check_finite(name, part, "repair it, or check what made it")
    check_finite("warped", warped, "repair the frames")
    if disparity is None:
        _LOGGER.warning(_NO_DISPARITY)
    size = (warped.shape[-2], warped.shape[-1])
    scene = OutpaintedScene(model, config, eye=eye, size=size, on_wait=on_wait, keep_views=keep_views)
    clip, done = Rendered(left, warped, hole, disparity), 0
    first = next_count(len(clip), scene.room, ended=True)
    steps = scene.count_steps(first, has_disparity=disparity is not None)
    progress = Progress.of_clip(on_step, round(steps * len(clip) / first))
    filled, whole, views = torch.empty_like(warped), torch.empty_like(warped), None
    with telling_of_memory():
        while done < len(clip):
            last = done + next_count(len(clip) - done, scene.room, ended=True)
            stretch = progress.part(done / len(clip), last / len(clip))
            found = scene.fill(clip.cut(done, last), first_frame=done, progress=stretch)
            own = slice(done, done + len(found.filled))
            filled[own], whole[own] = found.filled, found.whole
            if found.views is not None:
                if views is None:
                    views = warped.new_empty(len(found.views), *warped.shape)
                views[:, own] = found.views
            done = own.stop
            progress.part(0, done / len(clip)).finish()
            if on_frame is not None:
                on_frame(done)
    return MatrixViews(filled, whole, views)


@dataclass(frozen=True)
class FrameMatrixFiller:
    """Fills holes by the frame matrix.

    Attributes:
        model: The model.
        config: The options.
        on_step: Called after each row and column with the steps done and in all of the window at work, see
            `fill_matrix`; may raise to interrupt.
        on_wait: Called before the UNet works on a region, and while the VAE works; may raise to interrupt.

    Raises:
        InputError: If an option is out of range.
    """

    model: FrameMatrixModel
    config: FrameMatrixConfig = field(default_factory=FrameMatrixConfig)
    on_step: OnCells | None = None
    on_wait: Callable[[], None] | None = None

    refines_holes = True
    takes_bytes = False

    def __post_init__(self) -> None:
        """Check the options."""
        self.config.check()

    @property
    def reach(self) -> int:
        """How far from holes pixels change, px: as far as holes are grown and feathered."""
        return self.config.dilate + self.config.feather

    def open(self, *, eye: Eye, size: tuple[int, int]) -> FrameMatrixStream:
        """Begin a film, or an eye of it."""
        return FrameMatrixStream(self, eye=eye, size=size)


class FrameMatrixStream:
    """Fills the frames of one view, scene by scene.

    Args:
        filler: Model and options.
        eye: The rendered eye.
        size: Height and width of the frames.
    """

    def __init__(self, filler: FrameMatrixFiller, *, eye: Eye, size: tuple[int, int]) -> None:
        self._filler, self._eye, self._size = filler, eye, size
        self._frames: list[RenderedFrame] = []
        self._finished: list[Tensor] = []  # [3, H, W] each, not handed over yet
        self._done = 0  # frames of the film that are finished
        self._told = False  # that there is no disparity
        config = filler.config.settled()
        self._scene = OutpaintedScene(filler.model, config, eye=eye, size=size, on_wait=filler.on_wait)

    def push(self, frame: RenderedFrame) -> list[Tensor]:  # of [3, H, W] in [0, 1]
        """Take a scene's next frame; return the window that is finished by it, if there is one.

        Raises:
            InputError: As `fill_matrix`.
        """
        self._frames.append(frame)
        self._fill(ended=False)
        return self._hand_over()

    def finish(self) -> list[Tensor]:  # of [3, H, W] in [0, 1]
        """Return the scene's other frames; the next frame begins a new scene.

        Raises:
            InputError: As `fill_matrix`.
        """
        self._fill(ended=True)
        self._scene.end()
        return self._hand_over()

    def _hand_over(self) -> list[Tensor]:
        """Return the finished frames, which are kept where a window after them is interrupted."""
        finished, self._finished = self._finished, []
        return finished

    @telling_of_memory()
    def _fill(self, *, ended: bool) -> None:
        """Fill windows of the frames that wait, as long as there are enough."""
        while count := next_count(len(self._frames), self._scene.room, ended=ended):
            waiting = self._frames[:count]
            left, warped, hole = (
                torch.stack([getattr(frame, name) for frame in waiting])
                for name in ("left", "warped", "hole")
            )
            frames = Rendered(left, warped, hole, self._disparity(waiting, hole))
            total = self._scene.count_steps(count, has_disparity=frames.disparity is not None)
            progress = Progress.of_clip(self._filler.on_step, total)
            filled = self._scene.fill(frames, first_frame=self._done, progress=progress).filled
            progress.part(0, len(filled) / count).finish()
            self._finished += filled
            self._done += len(filled)
            self._frames = self._frames[len(filled) :]

    def _disparity(self, waiting: list[RenderedFrame], hole: Tensor) -> Tensor | None:
        """Return the source's disparity, None if a frame has none."""
        seen = [frame.disparity for frame in waiting if frame.disparity is not None]
        if len(seen) == len(waiting):
            return source_disparity(torch.stack(seen), hole, eye=self._eye)
        if not self._told:
            _LOGGER.warning(_NO_DISPARITY)
            self._told = True
        return None
