"""The geometry that M2SVid was trained on: a right view whose disparities are all 0 or larger.

Convergence takes a shift off all disparities, and a left view is the mirror image of a right one. So views
are mirrored where the left eye's is rendered, and put on a canvas that is wider by the shift, the left view
that much further to the right. Nothing of them is lost; where one has nothing, its last column is repeated.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import check_range
from ..dvg.eyes import Eye, eye_sign
from ..svd.canvas import Canvas


def check_shift(shift: float, width: int) -> None:
    """Check what convergence has taken off the disparities of a view of a width, px.

    Raises:
        InputError: If it is negative or as large as the width.
    """
    check_range("shift", shift, 0, width - 1, "px")


@dataclass(frozen=True)
class Geometry:
    """How the views of a window lie on the model's canvas."""

    canvas: Canvas  # of the widened pictures
    shifts: tuple[int, ...]  # px, of each frame
    mirrored: bool

    @classmethod
    def of_window(
        cls,
        height: int,
        width: int,
        *,
        shifts: list[float],
        eye: Eye,
        max_side: int,
        multiple: int,
        factor: int,
    ) -> Geometry:
        """Make the geometry of a window.

        Args:
            height: Of the views, px.
            width: Of the views, px.
            shifts: What convergence has taken off the disparities of each frame, px, see `check_shift`; whole
                pixels of it are undone.
            eye: The rendered eye.
            max_side: Larger views are scaled down to this longer side, px.
            multiple: Of the canvas' sides, px.
            factor: Pixels of a latent, each side.
        """
        whole = tuple(round(shift) for shift in shifts)
        scale = min(1.0, max_side / max(height, width))
        wide = width + max(whole)
        fitted_height, fitted_width = (max(1, round(side * scale)) for side in (height, wide))
        canvas = Canvas(height, wide, fitted_height, fitted_width, multiple, factor)
        return cls(canvas, whole, mirrored=eye_sign(eye) > 0)

    def fit_left(self, left: Tensor) -> Tensor:  # [F, 3, H, W] -> [F, 3, h, w]
        """Put the left view on the canvas, each frame shifted."""
        return self.canvas.fit(self._widen(left, self.shifts))

    def fit_warped(self, warped: Tensor) -> Tensor:  # [F, 3, H, W] -> [F, 3, h, w]
        """Put the rendered view on the canvas."""
        return self.canvas.fit(self._widen(warped, (0,) * len(warped)))

    def fit_hole(self, hole: Tensor) -> Tensor:  # [F, 1, H, W] -> [F, 1, h, w] of 0 and 1
        """Put its hole mask on the canvas; beside the rendered view nothing is a hole."""
        wide = self._mirror(hole).new_zeros(*hole.shape[:-1], self.canvas.width)
        wide[..., : hole.shape[-1]] = self._mirror(hole)
        return self.canvas.fit_mask(wide)

    def restore(self, picture: Tensor, *, width: int) -> Tensor:  # [F, 3, h, w] -> [F, 3, H, W]
        """Take a picture of the rendered view, of that width, off the canvas."""
        return self._mirror(self.canvas.restore(picture)[..., :width])

    @property
    def is_scaled(self) -> bool:
        """Whether views are smaller on the canvas than they are."""
        return (self.canvas.fitted_height, self.canvas.fitted_width) != (
            self.canvas.height,
            self.canvas.width,
        )

    def _mirror(self, frames: Tensor) -> Tensor:
        """Mirror frames, if it is the left eye's view that is rendered."""
        return frames.flip(-1) if self.mirrored else frames

    def _widen(self, frames: Tensor, offsets: tuple[int, ...]) -> Tensor:  # [F, C, H, W] -> [F, C, H, wide]
        """Mirror frames if need be and put each at its offset; beside it its first and last column go on."""
        frames, width = self._mirror(frames), frames.shape[-1]
        columns = torch.arange(self.canvas.width, device=frames.device)
        placed = [
            frame[..., (columns - offset).clamp(0, width - 1)]
            for frame, offset in zip(frames, offsets, strict=True)
        ]
        return torch.stack(placed)
