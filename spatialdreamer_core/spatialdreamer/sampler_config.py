"""The options of SpatialDreamer's sampler with their ranges; importing them loads no diffusion library."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..checks import InputError
from ..options import OptionConflict, check_options, option
from ..svd.schedule import MAX_STEPS
from ..svd.shared_options import (
    FPS,
    GUIDANCE_MAX,
    GUIDANCE_MIN,
    HOLE_FEATHER,
    HOLE_GROWTH,
    LONGER_SIDE,
    MOTION_BUCKET,
    UNIT,
)
from ..svd.windows import MAX_WINDOW

MAX_PASSES = 20
DEFAULT_MAX_SIDE = LONGER_SIDE.default  # px


@dataclass(frozen=True)
class SamplerConfig:
    """How a clip is sampled."""

    deviation: float = option(
        1.0,
        0.0,
        3.0,
        step=0.05,
        metavar="FACTOR",
        help="Stereo deviation strength (Eq. 4 of SpatialDreamer), as a multiple of what the warped view "
        "has in each window: above 1 the views differ more, below 1 less. Changes nothing in an untrained "
        "model.",
    )
    steps: int = option(25, 1, MAX_STEPS, metavar="COUNT", help="Sampling steps. 8 is the fast preset.")
    seed: int = option(0, 0, 2**64 - 1, help="Seed of the noise. The same seed gives the same result.")
    strength: float = option(
        1.0,
        0.05,  # one of 20 steps
        1.0,
        step=0.05,
        metavar="SHARE",
        help="How much noise it starts from, whatever the number of steps, of which this share is done. 1 "
        "starts from nothing but noise; below, from what the warped view shows in the holes, under noise: "
        "they must have been filled then. 0.4 suits a model without trained weights.",
    )
    guidance_min: float = GUIDANCE_MIN.as_field()
    guidance_max: float = GUIDANCE_MAX.as_field()
    reinject: bool = option(
        False,
        advanced=True,
        help="Puts the known pixels into the picture at each step, so that the filling fits them better. "
        "Two passes of the VAE more a step: slow.",
    )
    read_reference: Literal["auto", "on", "off"] | bool = option(
        "auto",
        also=(True, False),
        advanced=True,
        help="Whether the model looks at the left view. auto: if it was trained to.",
    )
    window: int = option(
        0,
        0,
        MAX_WINDOW,
        "frames; 0: as many as the model knows",
        advanced=True,
        help="Frames diffused at a time: SVD knows 14, SVD-XT 25. Fewer take less memory; when that runs "
        "out, they are halved.",
    )
    overlap: int = option(
        4,
        0,
        MAX_WINDOW - 1,
        "frames",
        advanced=True,
        help="Frames that a window shares with the one before, fewer than `window`. More hide the seams "
        "better and take longer.",
    )
    windows: Literal["together", "in_turn"] = option(
        "together",
        advanced=True,
        help="How windows meet. together: all of them go through each step and are averaged where they "
        "overlap; if memory is short of room for all their features, in_turn runs instead. in_turn: one "
        "after the other, each carrying on the frames that are finished.",
    )
    tile: int = option(
        0,
        256,
        4096,
        "px; 0 for whole pictures",
        also=(0,),
        step=UNIT,
        advanced=True,
        help="Side of the tiles that are diffused at a time, for less memory at large sizes.",
    )
    dilate: int = HOLE_GROWTH.as_field()
    feather: int = HOLE_FEATHER.as_field()
    noise_augmentation: float | None = option(
        None,
        0.0,
        1.0,
        step=0.01,
        none_as=-1,
        none_means="as it was trained, 0.02 with SVD, 0 with StereoCrafter's UNet",
        advanced=True,
        metavar="SIGMA",
        help="Noise on the warped view that the model is shown: more frees it from what it sees.",
    )
    fps: float | None = FPS.as_field(none_means="as it was trained, 7 with SVD")
    motion_bucket: int | None = MOTION_BUCKET.as_field(none_means="as it was trained, 127 with SVD")
    passes: int = option(
        5,
        1,
        MAX_PASSES,
        metavar="COUNT",
        help="How often each step is repeated where known latents are kept, so that the filling answers to "
        "what is around it. Each repeat takes as long as the step.",
    )
    known_latents: Literal["auto", "on", "off"] = option(
        "auto",
        advanced=True,
        help="Whether the latents of known pixels are put back at each step. auto: with a model that was not "
        "trained to fill holes.",
    )

    def check(self) -> None:
        """Check every option.

        Raises:
            InputError: For the first one that breaks its rule.
        """
        check_options(self)
        if self.window and self.overlap >= self.window:
            raise OptionConflict(
                f"overlap must be between 0 and window - 1 ({self.window - 1} frames), got {self.overlap}; "
                "lower it or widen the window",
                "overlap",
                "window",
            )
        if self.tile % UNIT:
            raise InputError(
                f"tile must be a multiple of {UNIT} px, got {self.tile}; try "
                f"{self.tile // UNIT * UNIT}, or 0 for whole pictures"
            )

    def reads_reference(self, *, trained: bool) -> bool:
        """Return whether the model looks at the left view.

        Args:
            trained: Whether it was trained to (`SpatialDreamerConfig.reads_reference`).
        """
        return trained if self.read_reference == "auto" else self.read_reference in (True, "on")

    def keeps_known_latents(self, *, trained: bool) -> bool:
        """Return whether known latents are put back at each step.

        Args:
            trained: Whether the model was trained to fill holes (`SpatialDreamer.fills_holes`).
        """
        return not trained if self.known_latents == "auto" else self.known_latents == "on"


@dataclass(frozen=True)
class FilmSamplerConfig(SamplerConfig):
    """How a film is sampled window by window, see `spatialdreamer.SpatialDreamerFiller`."""

    windows: Literal["together", "in_turn"] = field(default="together", init=False)  # there is one at a time
    max_side: int = LONGER_SIDE.as_field()
