"""The noise on M2SVid's views, by frame and place: the same in every window and every region.

It is drawn by squares of a fixed grid, so that a region draws what covers it and not a whole frame.
"""

from __future__ import annotations

from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from ..svd.noise import FrameNoise

NOISE_AUGMENTATION = 0.02  # standard deviation, of pictures in [-1, 1]; also told to the UNet
_SQUARE = 128  # px, each side; smaller ones cost more to begin than to draw
_VIEWS = 2
_ROWS = 1 << 16  # of squares, more than any picture has


class ViewNoise(NamedTuple):
    """Which noise lies on the views: a frame's own, of which a region has the part at its place."""

    seed: int = 0
    strength: float = NOISE_AUGMENTATION  # standard deviation, of pictures in [-1, 1]; 0: none
    first_frame: int = 0  # index of the window's first frame in its film
    corner: tuple[int, int] = (0, 0)  # px, the window's top and left in the whole frame


class NoisyView:
    """Puts the frames of one view of a window under their noise.

    Args:
        view: Number of the view, 0 or 1; each has noise of its own.
        noise: Which noise it is.
        size: Height and width of the window, px.
    """

    def __init__(self, view: int, noise: ViewNoise, size: tuple[int, int]) -> None:
        self._first_frame, self._strength = noise.first_frame, noise.strength / 2  # of pictures in [0, 1]
        ends = [(start, start + side) for start, side in zip(noise.corner, size, strict=True)]
        rows, columns = (range(start // _SQUARE, -(-stop // _SQUARE)) for start, stop in ends)
        self._rows, self._columns = (
            slice(start - squares.start * _SQUARE, stop - squares.start * _SQUARE)
            for (start, stop), squares in zip(ends, (rows, columns), strict=True)
        )
        self._squares = [
            [
                FrameNoise(
                    noise.seed,
                    height=_SQUARE,
                    width=_SQUARE,
                    channels=3,
                    stream=view + _VIEWS * (row + _ROWS * column),
                )
                for column in columns
            ]
            for row in rows
        ]

    def draw_ahead(self, frames: range) -> None:
        """Begin to draw the noise of some frames of the window."""
        if self._strength:
            for square in chain.from_iterable(self._squares):
                square.draw_ahead(self._indices(frames))

    def add(
        self,
        pictures: Tensor,  # [len(frames), 3, H, W] in [0, 1]
        frames: range,
    ) -> Tensor:  # [len(frames), 3, H, W] float32
        """Put some frames of the window under their noise."""
        pictures = pictures.float()
        if not (frames and self._strength):
            return pictures
        self.draw_ahead(frames)
        taken = [
            torch.cat([square.take(self._indices(frames), torch.device("cpu")) for square in row], dim=3)
            for row in self._squares
        ]
        drawn = torch.cat(taken, dim=2)[..., self._rows, self._columns]
        return pictures + self._strength * drawn.to(pictures.device)

    def _indices(self, frames: range) -> range:
        """Return the indices of frames of the window in their film."""
        return range(self._first_frame + frames.start, self._first_frame + frames.stop)
