"""Frames of any number through M2SVid, window by window inside each scene, in constant memory.

A window begins with finished frames of the one before, which the model is told are finished (mask -1), and
goes on from them. What it makes of these is dropped: blended into what they were, it makes more of a seam
than it hides, since a model that is shown a picture of its own does not give the same one again. A scene's
last window is moved back to its full length. A window without holes is not run: its frames are the rendered
ones.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..checks import check_finite
from ..dvg.eyes import Eye
from ..dvg.mask_edges import soften_hole
from ..fill import RenderedFrame
from ..fill.composite import take_filled
from ..memory import run_within_memory
from ..svd.windows import Plan, next_span
from .config import RefinerConfig
from .geometry import Geometry, check_shift
from .model import M2SVid
from .regions import CanvasWindow, Portion, refine_window

_LOGGER = logging.getLogger(__name__)
_DETAIL_FADE = 8  # px around holes over which a view's own detail begins
_NEGATIVE = -1.0  # px; disparities are not exact

OnNotice = Callable[[str], None]


class RefinedFrame(NamedTuple):
    """A finished frame."""

    filled: Tensor  # [3, H, W] in [0, 1], as `RefinerConfig.keep_known` asks for it
    whole: Tensor  # [3, H, W] in [0, 1], the model's picture; where it was not run the rendered view


@dataclass(frozen=True)
class _Frame:
    """A frame on its way."""

    left: Tensor  # [3, H, W] in [0, 1]
    warped: Tensor  # [3, H, W] in [0, 1]
    hole: Tensor  # [1, H, W], 1 = hole
    shift: float  # px
    lowest: Tensor | None  # px, the least of the known disparities
    finished: Tensor | None = None  # [3, H, W] in [0, 1], once it is

    @property
    def shown(self) -> Tensor:  # [3, H, W] in [0, 1]
        """What the model is shown: the finished frame, or the rendered one."""
        return self.warped if self.finished is None else self.finished

    @property
    def open_hole(self) -> Tensor:  # [1, H, W], 1 = hole
        """The holes of what the model is shown."""
        return self.hole if self.finished is None else torch.zeros_like(self.hole)


class RefineStream:
    """Refines the frames of one view, scene by scene.

    Args:
        model: The model.
        config: How to refine, checked.
        eye: The rendered eye.
        on_wait: Called now and then while a window is refined; may raise to interrupt.
        on_notice: Called with a sentence where the geometry is not what the model knows; the log has it, too.
    """

    def __init__(
        self,
        model: M2SVid,
        config: RefinerConfig,
        *,
        eye: Eye,
        on_wait: Callable[[], None] | None = None,
        on_notice: OnNotice | None = None,
    ) -> None:
        self._model, self._config, self._eye = model, config, eye
        self._on_wait, self._on_notice = on_wait, on_notice
        factor = model.svd.codec.factor
        plan = Plan(config.window, config.overlap, config.tile // factor, factor)
        self._portion = Portion(plan, batched=config.keep_known and config.regions == "auto")
        self._new: list[_Frame] = []  # frames that wait for their window
        self._finished: deque[_Frame] = deque(maxlen=max(1, config.window - 1))  # the scene's last ones
        self._done = 0  # frames of the scene that are finished
        self._scene_start = 0  # the scene's first frame in the film
        self._run = 0.0  # frames that were run, in whole ones
        self._has_warned = False

    @property
    def share(self) -> float:
        """The share of the finished frames' area that the model has run on."""
        return self._run / max(1, self._scene_start + self._done)

    def push(self, frame: RenderedFrame) -> list[RefinedFrame]:
        """Take a scene's next frame; return those that are finished by it.

        Raises:
            InputError: If values are not finite, the shift is out of range, the device is too small or the
                model gives NaN.
        """
        check_shift(frame.shift, frame.warped.shape[-1])
        lowest = None
        if frame.disparity is not None and not self._has_warned:
            lowest = torch.where(frame.hole > 0.5, 0.0, frame.disparity).amin()
        self._new.append(_Frame(frame.left, frame.warped, frame.hole, float(frame.shift), lowest))
        shared = self._config.overlap if self._done else 0
        return self._refine() if shared + len(self._new) == self._config.window else []

    def finish(self) -> list[RefinedFrame]:
        """Return the scene's other frames; the next frame begins a new scene.

        Raises:
            InputError: As `push`.
        """
        results = self._refine()
        self._finished.clear()
        self._scene_start += self._done
        self._done = 0
        return results

    @torch.inference_mode()
    def _refine(self) -> list[RefinedFrame]:
        """Refine the new frames, in one window or, where memory is short, several."""
        self._warn_of_negative_disparity()
        results = []
        while self._new:
            results += self._refine_next()
        return results

    def _refine_next(self) -> list[RefinedFrame]:
        """Refine one window and return its new frames."""
        if bool(torch.stack([(frame.hole > 0.5).any() for frame in self._new]).any()):
            (refined, share), self._portion = self._run_within_memory()
            self._run += share * len(refined)
        else:
            refined = [RefinedFrame(frame.warped, frame.warped) for frame in self._new]
        for frame, done in zip(self._new, refined, strict=False):
            self._finished.append(replace(frame, finished=done.filled))
        del self._new[: len(refined)]
        self._done += len(refined)
        return refined

    def _run_within_memory(self) -> tuple[tuple[list[RefinedFrame], float], Portion]:
        """Refine the next window, or as much of it as memory has room for; see `_run_window`."""
        length = len(self._new) + len(self._finished)
        size = self._place(self._new).canvas.latent_size
        return run_within_memory(
            self._run_window,
            self._portion,
            smaller=lambda portion: portion.smaller(length, *size),
            task="M2SVid",
            explain=lambda portion: (
                f"the device must have memory for {portion}, but it ran out; free memory, or lower `max_side`"
            ),
        )

    def _run_window(self, portion: Portion) -> tuple[list[RefinedFrame], float]:
        """Refine the window that comes next; return its new frames and the share that was run."""
        plan = portion.plan
        window = next_span(self._done, self._done + len(self._new), plan.window, plan.overlap)
        carried = self._done - window.start
        frames = [*list(self._finished)[len(self._finished) - carried :], *self._new][: len(window)]
        geometry = self._place(frames)
        left, shown, hole = (
            torch.stack([getattr(frame, name) for frame in frames]).float()
            for name in ("left", "shown", "open_hole")
        )
        for name, values in (("left", left), ("warped", shown), ("hole", hole)):
            check_finite(name, values, "repair the frames")
        canvas = CanvasWindow(
            geometry.fit_left(left),
            geometry.fit_warped(shown),
            geometry.fit_hole(hole),
            finished=carried,
            first_frame=self._scene_start + window.start,
        )
        picture, share = refine_window(self._model, canvas, self._config, portion, on_wait=self._on_wait)
        refined = [
            self._take_off(frame, geometry, picture[index : index + 1], canvas.warped[index : index + 1])
            for index, frame in enumerate(frames)
            if index >= carried
        ]
        return refined, share

    def _place(self, frames: list[_Frame]) -> Geometry:
        """Make the geometry of a window."""
        height, width = frames[0].warped.shape[-2:]
        return Geometry.of_window(
            height,
            width,
            shifts=[frame.shift for frame in frames],
            eye=self._eye,
            max_side=self._config.max_side,
            multiple=self._model.svd.size_multiple,
            factor=self._model.svd.codec.factor,
        )

    def _take_off(
        self,
        frame: _Frame,
        geometry: Geometry,
        picture: Tensor,  # [1, 3, h, w], the model's
        shown: Tensor,  # [1, 3, h, w], what it was made from
    ) -> RefinedFrame:
        """Bring a frame to its own size and composite it, if asked for."""
        warped, hole, width = frame.warped[None], frame.hole[None], frame.warped.shape[-1]
        whole = geometry.restore(picture, width=width)
        if geometry.is_scaled:
            detail = frame.shown[None].float() - geometry.restore(shown, width=width)
            known = 1 - soften_hole((hole > 0.5).float(), feather=_DETAIL_FADE)
            whole = torch.addcmul(whole, detail, known).clamp_(0, 1)
        whole = whole.to(warped.dtype)
        if not self._config.keep_known:
            return RefinedFrame(whole[0], whole[0])
        size = {"dilate": self._config.dilate, "feather": self._config.feather}
        return RefinedFrame(take_filled(warped, whole, hole, **size)[0], whole[0])

    def _warn_of_negative_disparity(self) -> None:
        """Say once what it costs that a frame has disparities which M2SVid has never seen."""
        lowest = [frame.lowest + frame.shift for frame in self._new if frame.lowest is not None]
        if self._has_warned or not lowest:
            return
        least = float(torch.stack(lowest).amin())
        if least < _NEGATIVE:
            self._has_warned = True
            notice = (
                f"disparities go down to {least:.1f} px beside the shift: M2SVid knows none below 0 and may "
                "fill such holes less well; give it the shift by which convergence has moved the view"
            )
            _LOGGER.warning(notice)
            if self._on_notice is not None:
                self._on_notice(notice)
