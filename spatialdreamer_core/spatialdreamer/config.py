"""The settings that belong to a SpatialDreamer network, saved beside its weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..checks import InputError, check_choice, check_range, check_types

STAGES = ("untrained", "stage1", "stage2")
SVD_CLEAN_TIMESTEP = math.log(0.002) / 4  # SVD's noise time ln(sigma) / 4 at its least sigma: a clean frame
SD_CLEAN_TIMESTEP = 0.0  # Stable Diffusion's first of 1000 timesteps: a clean image


@dataclass(frozen=True)
class SpatialDreamerConfig:
    """How a network was built and trained; the defaults are those of an untrained one made from SVD."""

    stage: Literal["untrained", "stage1", "stage2"] = "untrained"  # of training; stage 2 adds TIL
    til_neighbours: int = 8  # frames that TIL mixes into each one, half before and half after; N_r of Eq. 3
    til_weight: float = 0.6  # share of a frame's attention to itself, 0 to 1; λ of Eq. 3
    deviation_scale: float = 1000.0  # of the time id: its sinusoids have periods of 2π to 2π · 10⁴
    refiner_timestep: float = SVD_CLEAN_TIMESTEP  # RefinerNet's; means "no noise" where its weights come from
    blank_holes: bool = False  # whether the rendered view's holes are set to mid-grey before it is encoded
    noise_augmentation: float = 0.02  # sigma of the noise on conditioning frames, 0 to 1; SVD's
    fps: int = 7  # frames/s that SVD is told, 1 to 60, passed on as fps - 1
    motion_bucket: int = 127  # how much motion SVD is told, 0 (none) to 255
    reads_reference: bool = True  # off for a UNet that was trained without RefinerNet, as StereoCrafter's

    def check(self) -> None:
        """Check every setting.

        Raises:
            InputError: For the first one that breaks its rule.
        """
        check_types(self)
        check_choice("stage", self.stage, STAGES)
        check_range("til_neighbours", self.til_neighbours, 2, 64, "frames")
        if self.til_neighbours % 2:
            raise InputError(
                f"til_neighbours must be even, half of them before a frame and half after it, "
                f"got {self.til_neighbours}"
            )
        check_range("til_weight", self.til_weight, 0.0, 1.0)
        check_range("deviation_scale", self.deviation_scale, 0.0, 1e6)
        check_range("refiner_timestep", self.refiner_timestep, SVD_CLEAN_TIMESTEP, 1000.0)
        check_range("noise_augmentation", self.noise_augmentation, 0.0, 1.0)
        check_range("fps", self.fps, 1, 60, "frames/s")
        check_range("motion_bucket", self.motion_bucket, 0, 255)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as what JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> SpatialDreamerConfig:
        """Make settings from what `to_dict` returned; what is missing has its default.

        Raises:
            InputError: If a setting is unknown or breaks its rule.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(settings) - set(known))
        if unknown:
            raise InputError(
                f"settings of SpatialDreamer must be of {', '.join(known)}, got {', '.join(unknown)}; "
                "the file may be of a newer version: update this package"
            )
        config = cls(**settings)
        config.check()
        return config
