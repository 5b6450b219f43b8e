"""The settings of a dataset."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ...dvg import CONVERGENCE, DIVERGENCE
from ...fill.pair import WAY_BACK
from ...options import OptionConflict, check_options, option, options_of
from ...pipeline import ConvertConfig

_CONVERSION = options_of(ConvertConfig)
_PLACES = ("workers", "device")  # where the work is done: the data are the same


@dataclass(frozen=True)
class DatasetConfig:
    """How videos become training clips; the defaults follow the paper where it says something."""

    frames: int = option(
        8,
        1,
        64,
        "frames",
        help="Length of a clip. 8 is the paper's; the first stage of training takes single frames of them.",
    )
    stride: int = option(
        1,
        1,
        64,
        "frames",
        help="Frames of the video from one frame of a clip to the next: above 1 for slow films and "
        "high frame rates.",
    )
    clips_per_scene: int = option(
        4,
        1,
        1_000_000,
        "clips",
        help="Most clips of a scene, spread over it evenly and without overlap: variety comes from scenes.",
    )
    size: int = option(
        1024,
        16,
        4096,
        "px",
        help="Longer side of the clips; smaller videos keep their size.",
    )
    divergence_low: float = DIVERGENCE.as_field(
        default=1.0,
        name="",
        other_name="",
        help="Weakest 3D effect: each clip draws its divergence between the two.",
    )
    divergence_high: float = DIVERGENCE.as_field(
        default=4.0,
        name="",
        other_name="",
        help="Strongest 3D effect: each clip draws its divergence between the two.",
    )
    convergence: float = CONVERGENCE.as_field()
    way_back_low: float = WAY_BACK.as_field(
        name="",
        high=1.0,
        help="Below 1, each clip that is trained on gets another view that lies short of x1: x2 rendered "
        "back by a share of its disparity that is drawn between this and 1. It teaches what the stereo "
        "deviation strength means.",
    )
    way_back_high: float = WAY_BACK.as_field(
        name="",
        low=1.0,
        help="Above 1, each clip that is trained on gets another view that lies beyond x1, by a share drawn "
        "between 1 and this.",
    )
    refine_masks: bool = option(
        True,
        advanced=True,
        help="Masks get what neighbouring frames could not see either, by their flow (Eq. 2 of "
        "SpatialDreamer). Off to see what that is worth.",
    )
    seed: int = option(
        0,
        0,
        2**31 - 1,
        help="Another number draws other sides, divergences and held-out scenes. A clip's own name goes into "
        "what is drawn for it, so that it is the same in any order of work.",
    )
    held_out: float = option(
        0.1,
        0.0,
        0.9,
        metavar="SHARE",
        help="Share of the scenes that are kept for validation, always whole ones; at least one of two or "
        "more. 0: none.",
    )
    least_brightness: float = option(
        0.06,
        0.0,
        1.0,
        advanced=True,
        help="Mean brightness below which a clip is left out as too dark.",
    )
    least_motion: float = option(
        0.05,
        0.0,
        100.0,
        "% of width",
        advanced=True,
        help="Motion from frame to frame, of the fastest tenth of the picture, below which a clip is left "
        "out as static.",
    )
    least_sharpness: float = option(
        0.25,
        0.0,
        1.0,
        advanced=True,
        help="Sharpness of the steepest edges below which a clip is left out as blurred: 1 is a step, .4 a "
        "blur by 1 px of frames 640 px wide, .2 by 2 px.",
    )
    least_flow_confidence: float = option(
        0.5,
        0.0,
        1.0,
        advanced=True,
        help="Mean confidence of the optical flow below which it counts as failed and the clip is left out.",
    )
    depth: str = _CONVERSION["depth"].as_field()
    depth_stability: float = _CONVERSION["depth_stability"].as_field()
    flow: str = _CONVERSION["flow"].as_field()
    black_bars: str = _CONVERSION["black_bars"].as_field(
        help="auto: black bars are cut off. off: all of the frame is taken as picture."
    )
    deinterlace: str = _CONVERSION["deinterlace"].as_field()
    projection: str = _CONVERSION["projection"].as_field()
    device: str = _CONVERSION["device"].as_field(help="Where models run: auto, cpu, cuda or cuda:N.")
    workers: int = option(
        0,
        0,
        60,
        "processes",
        help="How many scenes are worked on at the same time, each in a process of its own. 0: one for each "
        "core, at most 8; on a GPU one.",
    )

    def check(self) -> None:
        """Check every setting.

        Raises:
            InputError: For the first one that breaks its rule.
        """
        check_options(self)
        if self.divergence_low > self.divergence_high:
            raise OptionConflict(
                f"divergence_low must not be above divergence_high ({self.divergence_high:g}), got "
                f"{self.divergence_low:g}",
                *("divergence_low", "divergence_high"),
            )

    @property
    def span(self) -> int:
        """Frames of the video from the first to the last one of a clip."""
        return (self.frames - 1) * self.stride + 1

    def content(self) -> dict[str, Any]:
        """Return the settings that the data depend on, as JSON holds them: 0 for a float is 0.0."""
        kinds = {name: described.kind for name, described in options_of(type(self)).items()}
        return {
            name: float(value) if kinds[name] is float else value
            for name, value in asdict(self).items()
            if name not in _PLACES
        }
