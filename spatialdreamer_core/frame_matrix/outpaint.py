"""Outpaint, then inpaint: what the picture's edges cut off is continued first, then warped in.

The other eye sees past an edge of the source wherever the disparity there moves pixels inwards: a ragged
band, as wide as what lies at the edge is near, with parts of objects that the source cuts off. S2VG widens
the source's video before it is warped. Here the source is panned by the width of a whole band: the same
matrix fills it, of views with one disparity everywhere, whose holes are straight bands at the edge. SVD knows
such a row as a camera that moves sideways, which begins with a whole picture; on a wider canvas it would
begin with one whose band is made up, and SVD goes on as its first picture is. What is found lies beside the
source, and is warped in with the disparity of the frame's edge (`views.py`).

Bands are kept until the windows that need them are finished, and go on from window to window as views do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..dvg.eyes import Eye, eye_sign
from .config import FrameMatrixConfig
from .model import FrameMatrixModel
from .progress import Progress
from .scene import MatrixScene, MatrixViews, next_count
from .views import Rendered

_WIDTHS = 32  # a picture's width has so many units of a band's
_LEAST = 1.0  # px that enter, below which there is nothing to see of them


@dataclass
class _Side:
    """One edge of the source, and what has been found beyond it."""

    scene: MatrixScene  # of the source panned to show it
    pan: Eye  # the eye whose view moves the picture away from the edge
    width: int = 0  # px of the band
    bands: dict[int, Tensor] = field(default_factory=dict)  # [3, H, width] by frame of the film

    def end(self) -> None:
        """Begin a new scene."""
        self.scene.end()
        self.bands.clear()


class OutpaintedScene:
    """Fills a scene as `MatrixScene` does, and continues it beyond its edges where the options say so.

    Args:
        model: The model.
        config: The options, settled.
        eye: The rendered eye.
        size: Height and width of the frames.
        on_wait: Called before the UNet works on a region, and while the VAE works; may raise to interrupt.
        keep_views: Whether all views are returned.
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
        self._scene = MatrixScene(model, config, eye=eye, size=size, on_wait=on_wait, keep_views=keep_views)
        self._sign, self._margin = eye_sign(eye), config.margin
        self._sides: list[_Side] = []  # the left one and the right one
        if config.outpaint == "on":
            band = replace(config, planes=0, dilate=0, feather=0)
            pans: tuple[Eye, Eye] = ("left", "right")
            self._sides = [
                _Side(MatrixScene(model, band, eye=pan, size=size, on_wait=on_wait), pan) for pan in pans
            ]

    @property
    def room(self) -> int:
        """How many new frames the next window takes."""
        return self._scene.room

    def end(self) -> None:
        """Begin a new scene."""
        self._scene.end()
        for side in self._sides:
            side.end()

    def count_steps(self, frames: int, *, has_disparity: bool) -> int:
        """Count the rows and columns of the next window, without those beyond its edges."""
        return self._scene.count_steps(frames, has_disparity=has_disparity)

    def fill(self, frames: Rendered, *, first_frame: int, progress: Progress) -> MatrixViews:
        """Fill the scene's next frames, see `MatrixScene.fill`.

        Args:
            frames: The frames, no more than there is room for.
            first_frame: Index of the first of them in its film.
            progress: The stretch of all of them.
        """
        needed = [self._needed(frames, side) for side in self._sides]
        if not any(needed):
            for side in self._sides:
                side.end()
            return self._scene.fill(frames, first_frame=first_frame, progress=progress)
        height, width = frames.left.shape[-2:]
        # Shares of a whole picture's work.
        work = [(self._margin + count) / width if count else 0.0 for count in needed]
        *stretches, own = progress.divide([*work, 1.0])
        beside = []
        for side, count, stretch in zip(self._sides, needed, stretches, strict=True):
            if count == 0:
                side.end()
                beside.append(frames.left.new_empty(len(frames), 3, height, 0))
            else:
                beside.append(self._continue(frames, side, count, first_frame, stretch))
        left, right = beside
        result = self._scene.fill(
            replace(frames, beside=(left, right)), first_frame=first_frame, progress=own
        )
        done = first_frame + len(result.filled)
        for side in self._sides:
            side.scene.plan = self._scene.plan
            side.bands = {frame: band for frame, band in side.bands.items() if frame >= done}
        return result

    def _needed(self, frames: Rendered, side: _Side) -> int:
        """Return how much of what lies beyond an edge enters the rendered view, px; 0: nothing."""
        if frames.disparity is None:
            return 0
        inwards = self._sign if side.pan == "left" else -self._sign
        edge = slice(0, 1) if side.pan == "left" else slice(-1, None)
        entering = float((inwards * frames.disparity[..., edge]).max())
        if entering < _LEAST:
            return 0
        count = math.ceil(entering)
        hole = frames.hole[..., :count] if side.pan == "left" else frames.hole[..., -count:]
        return count if bool((hole > 0.5).any()) else 0

    def _continue(
        self, frames: Rendered, side: _Side, needed: int, first_frame: int, progress: Progress
    ) -> Tensor:  # [F, 3, H, width] in [0, 1]
        """Return the bands beyond an edge, which are found anew where they are too narrow."""
        width = frames.left.shape[-1]
        unit = max(1, width // _WIDTHS)
        if needed > side.width:
            side.end()
            side.width = min(math.ceil(needed / unit) * unit, width // 2)
        missing = [n for n in range(len(frames)) if first_frame + n not in side.bands]
        done, stop = missing[0] if missing else len(frames), len(frames)
        begun = done
        while done < stop:
            count = next_count(stop - done, side.scene.room, ended=True)
            stretch = progress.part((done - begun) / (stop - begun), (done + count - begun) / (stop - begun))
            part = _pan(frames.cut(done, done + count), side)
            found = side.scene.fill(part, first_frame=first_frame + done, progress=stretch).filled
            bands = found[..., : side.width] if side.pan == "left" else found[..., -side.width :]
            side.bands |= {first_frame + done + n: band.clone() for n, band in enumerate(bands)}
            done += len(found)
            for scene in (self._scene, *(other.scene for other in self._sides)):
                scene.plan = side.scene.plan  # what one has found too much is too much for all
        return torch.stack([side.bands[first_frame + n] for n in range(len(frames))])


def _pan(frames: Rendered, side: _Side) -> Rendered:
    """Return the source as a view that is panned by the width of a band: the band is a hole."""
    source, width = frames.left, side.width
    warped, hole = torch.zeros_like(source), torch.zeros_like(source[:, :1])
    if side.pan == "left":
        warped[..., width:], hole[..., :width] = source[..., :-width], 1
    else:
        warped[..., :-width], hole[..., -width:] = source[..., width:], 1
    return Rendered(source, warped, hole, torch.full_like(hole, float(width)))
