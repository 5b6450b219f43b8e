"""The options of SpatialDreamer's sampler with their ranges.

They stand outside the packages that sample, so that importing them needs neither diffusers nor transformers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .checks import InputError, check_choice, check_range, check_types
from .dvg import MAX_DILATION, MAX_FEATHER

MAX_STEPS = 200
MAX_DEVIATION = 3.0
MIN_STRENGTH = 0.05  # one of 20 steps
MAX_GUIDANCE = 10.0
MAX_SEED = 2**64 - 1
MAX_WINDOW = 128  # frames
MIN_TILE = 256  # px
MAX_TILE = 4096
WINDOW_ORDERS = ("together", "in_turn")
FAST_STEPS = 8
MIN_SIDE = 64  # px, the longer side at which a clip is diffused
MAX_SIDE = 4096
DEFAULT_MAX_SIDE = 1024  # of what SVD was trained on


@dataclass(frozen=True)
class SamplerConfig:
    """How a clip is sampled."""

    steps: int = 25  # Euler steps, 1 to 200; 8 is the fast preset
    seed: int = 0  # of all noise
    deviation: float = 1.0  # stereo deviation strength, times the rendered view's own; 0 to 3
    guidance_min: float = 1.0  # of a window's first frame; 1: no guidance, and no second pass
    guidance_max: float = 1.0  # of its last frame; linear between the two, as in SVD
    strength: float = 1.0  # share of the steps done, 0.05 to 1; below 1 it starts from the noised warp
    reinject: bool = False  # put known pixels into each clean estimate; two VAE passes a step
    read_reference: bool = True  # off for a UNet that was trained without RefinerNet, as StereoCrafter's
    noise_augmentation: float | None = None  # sigma of the noise on the view, 0 to 1; None: as trained
    window: int = 14  # frames diffused at a time
    overlap: int = 4  # frames shared with the window before
    windows: Literal["together", "in_turn"] = "together"  # how windows meet, see `svd.sampling`
    tile: int = 0  # px, side of the tiles that are diffused at a time; 0: whole pictures
    dilate: int = 0  # px that the holes are grown by in the result
    feather: int = 4  # px over which the sampled picture is blended into the known one; 0: hard edge

    def check(self) -> None:
        """Check every option.

        Raises:
            InputError: For the first one that is out of range.
        """
        check_types(self)
        check_range("steps", self.steps, 1, MAX_STEPS)
        check_range("seed", self.seed, 0, MAX_SEED)
        check_range("deviation", self.deviation, 0, MAX_DEVIATION)
        check_range("guidance_min", self.guidance_min, 0, MAX_GUIDANCE)
        check_range("guidance_max", self.guidance_max, 0, MAX_GUIDANCE)
        check_range("strength", self.strength, MIN_STRENGTH, 1)
        if self.noise_augmentation is not None:
            check_range("noise_augmentation", self.noise_augmentation, 0, 1)
        check_range("window", self.window, 1, MAX_WINDOW, "frames")
        check_choice("windows", self.windows, WINDOW_ORDERS)
        check_range("dilate", self.dilate, 0, MAX_DILATION, "px")
        check_range("feather", self.feather, 0, MAX_FEATHER, "px")
        if not 0 <= self.overlap < self.window:
            raise InputError(
                f"overlap must be between 0 and window - 1 ({self.window - 1} frames), got {self.overlap}; "
                "lower it or widen the window"
            )
        if self.tile:
            check_range("tile", self.tile, MIN_TILE, MAX_TILE, "px; 0 for whole pictures")
        if self.tile % 64:
            raise InputError(
                f"tile must be a multiple of 64 px, got {self.tile}; try {self.tile // 64 * 64}, or 0 for "
                "whole pictures"
            )
