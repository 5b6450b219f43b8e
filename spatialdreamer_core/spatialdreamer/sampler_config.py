"""The options of SpatialDreamer's sampler with their ranges; importing them loads no diffusion library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..checks import InputError, check_choice, check_range, check_types
from ..dvg import MAX_DILATION, MAX_FEATHER
from ..svd.schedule import MAX_STEPS
from ..svd.windows import MAX_WINDOW

MAX_DEVIATION = 3.0
MIN_STRENGTH = 0.05  # one of 20 steps
MAX_GUIDANCE = 10.0
MAX_SEED = 2**64 - 1
MIN_TILE = 256  # px
MAX_TILE = 4096
WINDOW_ORDERS = ("together", "in_turn")
READING = ("auto", "on", "off")
MIN_FPS = 1.0  # frames/s
MAX_FPS = 240.0
MAX_MOTION = 255
FAST_STEPS = 8
DEFAULT_MAX_SIDE = 1024  # px, the longer side of what SVD was trained on


@dataclass(frozen=True)
class SamplerConfig:
    """How a clip is sampled."""

    steps: int = 25  # Euler steps, 1 to 200; 8 is the fast preset
    seed: int = 0  # of all noise
    deviation: float = 1.0  # stereo deviation strength, times the rendered view's own; 0 to 3
    guidance_min: float = 1.0  # of a window's first frame; 1: no guidance, and no second pass
    guidance_max: float = 1.0  # of its last frame; linear between the two, as in SVD
    strength: float = 1.0  # noise that it starts from, 0.05 to 1, see `karras_sigmas`; 1: nothing but noise
    reinject: bool = False  # put known pixels into each clean estimate; two VAE passes a step
    read_reference: Literal["auto", "on", "off"] | bool = "auto"  # auto: as `SpatialDreamerConfig` says
    noise_augmentation: float | None = None  # sigma of the noise on the view, 0 to 1; None: as trained
    window: int = 0  # frames diffused at a time; 0: as many as the model was trained on
    overlap: int = 4  # frames shared with the window before
    windows: Literal["together", "in_turn"] = "together"  # how windows meet, see `svd.sampling`
    tile: int = 0  # px, side of the tiles that are diffused at a time; 0: whole pictures
    dilate: int = 0  # px that the holes are grown by in the result
    feather: int = 4  # px over which the sampled picture is blended into the known one; 0: hard edge
    fps: float | None = None  # frames/s that the model is told, 1 to 240; None: as trained
    motion_bucket: int | None = None  # how much motion it is told, 0 to 255; None: as trained

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
        if not isinstance(self.read_reference, bool):
            check_choice("read_reference", self.read_reference, READING)
        if self.fps is not None:
            check_range("fps", self.fps, MIN_FPS, MAX_FPS, "frames/s")
        if self.motion_bucket is not None:
            check_range("motion_bucket", self.motion_bucket, 0, MAX_MOTION)
        check_range("window", self.window, 0, MAX_WINDOW, "frames; 0: as many as the model knows")
        check_choice("windows", self.windows, WINDOW_ORDERS)
        check_range("dilate", self.dilate, 0, MAX_DILATION, "px")
        check_range("feather", self.feather, 0, MAX_FEATHER, "px")
        check_range("overlap", self.overlap, 0, MAX_WINDOW - 1, "frames")
        if self.window and self.overlap >= self.window:
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

    def reads_reference(self, *, trained: bool) -> bool:
        """Return whether the model looks at the left view.

        Args:
            trained: Whether it was trained to (`SpatialDreamerConfig.reads_reference`).
        """
        return trained if self.read_reference == "auto" else self.read_reference in (True, "on")
