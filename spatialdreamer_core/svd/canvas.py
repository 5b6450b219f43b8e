"""The size at which a clip is diffused: scaled to what a model knows, padded to what its levels halve."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from ..checks import check_range
from .model import LATENT_FACTOR
from .padding import crop_to, pad_to_multiple

MIN_SIDE = 64  # px, the longer side at which a clip is diffused
MAX_SIDE = 4096


@dataclass(frozen=True)
class Canvas:
    """A clip's own size and the size of its picture on the padded canvas that is diffused."""

    height: int  # of the clip, px
    width: int
    fitted_height: int  # of the picture on the canvas, px
    fitted_width: int
    multiple: int = 64  # of the canvas' sides, px, see `SVDModel.size_multiple`
    factor: int = LATENT_FACTOR  # px of a latent, each side

    @classmethod
    def fit_to(
        cls,
        height: int,
        width: int,
        *,
        max_side: int,
        area: int = 0,
        multiple: int = 64,
        factor: int = LATENT_FACTOR,
    ) -> Canvas:
        """Make the canvas of a clip.

        Args:
            height: Of the clip, px.
            width: Of the clip, px.
            max_side: Larger pictures are scaled down to this longer side, px, 64 to 4096.
            area: Smaller pictures are enlarged to as many pixels, as far as `max_side` lets them; 0: never.
            multiple: Of the canvas' sides, px.
            factor: Pixels of a latent, each side.

        Raises:
            InputError: If `max_side` is out of range.
        """
        check_range("max_side", max_side, MIN_SIDE, MAX_SIDE, "px")
        scale = min(max(1.0, math.sqrt(area / (height * width))), max_side / max(height, width))
        fitted_height, fitted_width = (max(1, round(side * scale)) for side in (height, width))
        return cls(height, width, fitted_height, fitted_width, multiple, factor)

    @property
    def latent_size(self) -> tuple[int, int]:
        """Height and width of the canvas in latents."""
        height, width = (
            -(-side // self.multiple) * self.multiple for side in (self.fitted_height, self.fitted_width)
        )
        return height // self.factor, width // self.factor

    def fit(
        self,
        frames: Tensor,  # [F, C, height, width] in [0, 1]
    ) -> Tensor:  # [F, C, h, w] in [0, 1], multiples of `multiple`
        """Put frames on the canvas."""
        fitted = _resize(frames, self.fitted_height, self.fitted_width).clamp(0, 1)
        return pad_to_multiple(fitted, self.multiple)

    def cut_padding(
        self,
        latents: Tensor,  # [..., h, w], of the canvas
    ) -> Tensor:  # a view
        """Return the latents that show the picture, without those of the padding."""
        height, width = (-(-side // self.factor) for side in (self.fitted_height, self.fitted_width))
        return latents[..., :height, :width]

    def fit_mask(
        self,
        mask: Tensor,  # [F, 1, height, width]
    ) -> Tensor:  # [F, 1, h, w], multiples of `multiple`
        """Put a hole mask on the canvas: a pixel that covers any hole is a hole."""
        size = (self.fitted_height, self.fitted_width)
        return pad_to_multiple(F.adaptive_max_pool2d((mask > 0.5).to(mask.dtype), size), self.multiple)

    def restore(
        self,
        frames: Tensor,  # [F, C, h, w], multiples of `multiple`
    ) -> Tensor:  # [F, C, height, width]
        """Take frames off the canvas."""
        frames = crop_to(frames, height=self.fitted_height, width=self.fitted_width)
        return _resize(frames, self.height, self.width).clamp(0, 1)


def _resize(frames: Tensor, height: int, width: int) -> Tensor:
    """Resize frames, unless they have the size."""
    if frames.shape[-2:] == (height, width):
        return frames
    return F.interpolate(frames.float(), (height, width), mode="bicubic", antialias=True).to(frames.dtype)
