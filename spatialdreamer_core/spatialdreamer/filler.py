"""SpatialDreamer as a filler: films of any length, window by window inside each scene, in constant memory.

A window is diffused as soon as its frames are there. The last finished frames are carried into the next
window as pictures without holes, so that it continues what they show: the first `overlap` of it, or more
where a scene ends before the window is full, since SVD knows windows of one length. A picture is encoded
once, so a finished frame again only if it had holes: outside of them it is the rendered view, which the
diffused latents do not show. Noise is drawn by a frame's index in the film. The model sees a window's frames
alone: TIL's neighbours are the nearest of them, and the deviation strength is measured on them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..dvg.eyes import Eye
from ..fill import CheckedStream, FastFill, Filler, RenderedFrame
from ..memory import telling_of_memory
from ..svd import trained_frames
from ..svd.sampling import OnStep
from ..svd.windows import next_span
from .inputs import EncodedFrame
from .network import SpatialDreamer
from .reference import Reference, encode_reference
from .sampler import sample
from .sampler_config import DEFAULT_MAX_SIDE, SamplerConfig


@dataclass(frozen=True)
class SpatialDreamerFiller:
    """Fills holes by `sample`.

    Attributes:
        model: The model.
        config: How to sample. `windows` has no meaning: a stream diffuses them in turn.
        max_side: Longer side at which frames are diffused, px, see `encode_reference`.
        first: What fills the holes before the model sees them, which an untrained one needs; None leaves them
            as they are: a trained one sees grey there in any case (`SpatialDreamerConfig.blank_holes`).
        on_step: Called after each step, see `sample`; may raise to interrupt.
        on_wait: Called now and then within a step; may raise to interrupt.

    Raises:
        InputError: If an option is out of range.
    """

    model: SpatialDreamer
    config: SamplerConfig = field(default_factory=SamplerConfig)
    max_side: int = DEFAULT_MAX_SIDE
    first: Filler | None = field(default_factory=FastFill)
    on_step: OnStep | None = None
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

    def open(self, *, eye: Eye, size: tuple[int, int]) -> SpatialDreamerStream:
        """Begin a film, or an eye of it."""
        first = None if self.first is None else CheckedStream(self.first, eye=eye, size=size)
        return SpatialDreamerStream(self, first)


@dataclass
class _Frame:
    """A frame on its way."""

    left: Tensor  # [3, H, W]
    warped: Tensor  # [3, H, W], the rendered view, perhaps filled before, or the finished frame
    hole: Tensor  # [1, H, W]


class SpatialDreamerStream:
    """Fills the frames of one view, scene by scene.

    Args:
        filler: Model and options.
        first: The stream that fills frames before, or None.
    """

    def __init__(self, filler: SpatialDreamerFiller, first: CheckedStream | None) -> None:
        self._filler = filler
        self._first = first
        self._size = filler.config.window or trained_frames(filler.model.svd.unet)  # of a window, frames
        self._overlap = min(filler.config.overlap, self._size - 1)
        self._rendered: deque[RenderedFrame] = deque()  # frames that wait for the first filling
        self._new: list[_Frame] = []  # frames that wait for their window
        self._finished: deque[_Frame] = deque(maxlen=max(1, self._size - 1))  # the scene's last ones
        self._done = 0  # frames of the scene that are finished
        self._scene_start = 0  # the scene's first frame in the film
        self._reference: Reference | None = None  # of the window before, if it was diffused
        self._encoded: dict[int, EncodedFrame] = {}  # of the last frames, by index in the film

    def push(self, frame: RenderedFrame) -> list[Tensor]:  # of [3, H, W] in [0, 1]
        """Take a scene's next frame; return the window that is finished by it, if there is one.

        Raises:
            InputError: As `sample`.
        """
        if self._first is None:
            return self._take([_Frame(frame.left, frame.warped, frame.hole)])
        filled = self._first.push(frame)
        self._rendered.append(frame)
        return self._take(self._join(filled))

    def finish(self) -> list[Tensor]:  # of [3, H, W] in [0, 1]
        """Return the scene's other frames; the next frame begins a new scene.

        Raises:
            InputError: As `sample`.
        """
        results = [] if self._first is None else self._take(self._join(self._first.finish()))
        if self._new:
            results += self._diffuse()
        self._finished.clear()
        self._scene_start += self._done
        self._done = 0
        self._reference = None
        self._encoded.clear()
        return results

    def _join(self, filled: list[Tensor]) -> list[_Frame]:
        """Join frames that have been filled before to what they were rendered with."""
        frames = []
        for warped in filled:
            rendered = self._rendered.popleft()
            frames.append(_Frame(rendered.left, warped, rendered.hole))
        return frames

    def _take(self, frames: list[_Frame]) -> list[Tensor]:
        """Add frames to the window, and diffuse it whenever it is full."""
        results = []
        for frame in frames:
            self._new.append(frame)
            shared = self._overlap if self._done else 0
            if shared + len(self._new) == self._size:
                results += self._diffuse()
        return results

    def _encode_left(self, left: Tensor, carried: int) -> Reference:
        """Encode the left view, but for the carried frames that the window before has encoded."""
        before = self._reference
        if before is None or carried > len(before):
            return encode_reference(self._filler.model, left, max_side=self._filler.max_side)
        return before.next_window(left, shared=carried)

    @telling_of_memory()  # no window is smaller: what is half done is not tried again
    def _diffuse(self) -> list[Tensor]:
        """Diffuse the new frames after the last finished ones; return them finished."""
        filler = self._filler
        window = next_span(self._done, self._done + len(self._new), self._size, self._overlap)
        carried = self._done - window.start
        frames = [*list(self._finished)[len(self._finished) - carried :], *self._new]
        left, warped, hole = (
            torch.stack([getattr(frame, name) for frame in frames]) for name in ("left", "warped", "hole")
        )
        first = self._scene_start + window.start
        self._encoded = {index: frame for index, frame in self._encoded.items() if index >= first}
        holed = (hole > 0.5).flatten(1).any(1).tolist()
        if any(holed):
            reference = self._encode_left(left, carried)
            warped = sample(
                filler.model,
                reference,
                warped,
                hole,
                # One window, unless memory runs out and it is cut in turn: those parts overlap, too.
                replace(filler.config, window=len(frames), overlap=min(self._overlap, len(frames) - 1)),
                first_frame=first,
                known=self._encoded,
                on_step=filler.on_step,
                on_wait=filler.on_wait,
            )
            reference.drop_features()
        self._reference = reference if any(holed) else None
        for index, changed in enumerate(holed, first):
            if changed:
                self._encoded.pop(index, None)  # what was rendered has been filled
        result = warped[carried:]
        for frame, finished in zip(self._new, result, strict=True):
            self._finished.append(_Frame(frame.left, finished, torch.zeros_like(frame.hole)))
        self._new = []
        self._done = window.stop
        return list(result)
