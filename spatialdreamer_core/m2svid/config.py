"""The options of M2SVid's refiner with their ranges; importing them loads no diffusion library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..checks import InputError
from ..options import Option, OptionConflict, check_options, option
from ..svd.canvas import MAX_SIDE, MIN_SIDE
from ..svd.shared_options import FPS, HOLE_FEATHER, HOLE_GROWTH, MARGIN, UNIT

TRAINED_FRAMES = 25  # the longest window that M2SVid was trained on


@dataclass(frozen=True)
class RefinerConfig:
    """How a clip is refined."""

    keep_known: bool = option(
        False,
        help="Keeps the warped view as it is and fills nothing but its holes; the model then works around "
        "them alone, several times faster. Off, as M2SVid's authors have it: the whole view is the model's, "
        "which also repairs what warping damaged.",
    )
    regions: Literal["auto", "whole"] = option(
        "auto",
        advanced=True,
        help="What the model sees with `keep_known`. auto: parts of the picture around the holes, if that is "
        "less work. whole: always whole pictures. Without `keep_known` it always sees them.",
    )
    window: int = option(
        16,
        1,
        TRAINED_FRAMES,
        "frames",
        advanced=True,
        help="Frames refined at a time. Fewer take less memory; when that runs out, they are halved.",
    )
    overlap: int = option(
        3,
        0,
        TRAINED_FRAMES - 1,
        "frames",
        advanced=True,
        help="Finished frames that each window begins with, to go on from; fewer than `window`. More hide "
        "the seams better and take longer.",
    )
    max_side: int = option(
        1024,
        MIN_SIDE,
        MAX_SIDE,
        "px",
        step=UNIT,
        help="Longer side at which frames are refined: larger ones are scaled down for it, and keep their "
        "own detail outside of the holes. M2SVid was trained at 512x512 px.",
    )
    margin: int = MARGIN.as_field(default=64)
    tile: int = option(
        0,
        256,
        4096,
        "px; 0 for none",
        also=(0,),
        step=UNIT,
        advanced=True,
        help="Longest side of what is refined at a time, for less memory at large sizes.",
    )
    match_colours: bool = option(
        True,
        advanced=True,
        help="Corrects each frame's brightness, contrast and colour cast by the warped view's known pixels, "
        "so that they do not drift from window to window.",
    )
    dilate: int = HOLE_GROWTH.as_field(help=f"{HOLE_GROWTH.help} With `keep_known` alone.")
    feather: int = HOLE_FEATHER.as_field(help=f"{HOLE_FEATHER.help} With `keep_known` alone.")
    seed: int = option(
        0,
        0,
        2**64 - 1,
        advanced=True,
        help="Seed of the faint noise that M2SVid expects on what it sees. The same seed gives the same "
        "result.",
    )
    fps: float = FPS.as_field(
        default=24.0,
        help="Frames per second that the model is told; it was trained on the clips' own, 5 to 30.",
    )

    def check(self) -> None:
        """Check every option.

        Raises:
            InputError: For the first one that breaks its rule.
        """
        check_options(self)
        if self.overlap >= self.window:
            raise OptionConflict(
                f"overlap must be between 0 and window - 1 ({self.window - 1} frames), got {self.overlap}; "
                "lower it or widen the window",
                "overlap",
                "window",
            )
        for name, value in (("margin", self.margin), ("tile", self.tile)):
            if value % UNIT:
                raise InputError(
                    f"{name} must be a multiple of {UNIT} px, got {value}; try {value // UNIT * UNIT}"
                )

    @property
    def reach(self) -> int | None:
        """How far from holes pixels change, px: by dilation and feather; None: everywhere."""
        return self.dilate + self.feather if self.keep_known else None


SHIFT = Option(
    name="shift",
    kind=float,
    default=0.0,
    low=0.0,
    high=4096.0,
    unit="px",
    step=1.0,
    advanced=True,
    help="How far convergence has moved the warped view, where `disparity` is not connected, which tells it: "
    "convergence · divergence / 100 · width. 0 for a warp that has everything in front of the screen.",
)
