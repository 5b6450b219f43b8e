"""The settings that belong to a SpatialDreamer network, saved beside its weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..checks import InputError
from ..options import check_options, option

SVD_CLEAN_TIMESTEP = math.log(0.002) / 4  # SVD's noise time ln(sigma) / 4 at its least sigma: a clean frame
SD_CLEAN_TIMESTEP = 0.0  # Stable Diffusion's first of 1000 timesteps: a clean image


@dataclass(frozen=True)
class SpatialDreamerConfig:
    """How a network was built and trained; the defaults are those of an untrained one made from SVD."""

    stage: Literal["untrained", "stage1", "stage2"] = option(
        "untrained", help="Stage of training that it has finished; stage 2 adds TIL."
    )
    til_neighbours: int = option(
        8,
        1,
        64,
        "frames",
        help="Frames that TIL mixes into each one: the nearest others of its clip; N_r of Eq. 3.",
    )
    til_weight: float = option(0.6, 0.0, 1.0, help="Share of a frame's attention to itself; λ of Eq. 3.")
    deviation_scale: float = option(
        1000.0, 0.0, 1e6, help="Scale of the time id, whose sinusoids have periods of 2π to 2π · 10⁴."
    )
    refiner_timestep: float = option(
        SVD_CLEAN_TIMESTEP,
        SVD_CLEAN_TIMESTEP,
        1000.0,
        help="RefinerNet's timestep; it means no noise where its weights come from.",
    )
    blank_holes: bool = option(
        False,
        help="Whether the rendered view's holes are set to mid-grey before it is encoded, as in training.",
    )
    noise_augmentation: float = option(
        0.02, 0.0, 1.0, help="Sigma of the noise on conditioning frames; the default is SVD's."
    )
    fps: int = option(7, 1, 60, "frames/s", help="Frame rate that SVD is told, passed on as fps - 1.")
    motion_bucket: int = option(127, 0, 255, help="How much motion SVD is told; 0 is none.")
    reads_reference: bool = option(
        True, help="Off for a UNet that was trained without RefinerNet, as StereoCrafter's."
    )
    deviation_map: bool = option(
        False,
        help="Whether the UNet sees the stereo deviation strength as a map, too, in channels of its own.",
    )

    def check(self) -> None:
        """Check every setting.

        Raises:
            InputError: For the first one that breaks its rule.
        """
        check_options(self)

    def at_stage(self, stage: Literal["stage1", "stage2"]) -> SpatialDreamerConfig:
        """Return the settings of a network in a stage of training: those with blanked holes."""
        return dataclasses.replace(self, stage=stage, blank_holes=True)

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
