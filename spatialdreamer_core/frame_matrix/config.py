"""The options of the frame matrix with their ranges; importing them loads no diffusion library."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from ..checks import InputError
from ..options import OptionConflict, check_options, option
from ..svd.schedule import MAX_STEPS, SIGMA_MAX
from ..svd.shared_options import (
    FPS,
    GUIDANCE_MAX,
    GUIDANCE_MIN,
    HOLE_FEATHER,
    HOLE_GROWTH,
    LONGER_SIDE,
    MARGIN,
    MOTION_BUCKET,
    UNIT,
)
from ..svd.windows import MAX_WINDOW

MAX_VIEWS = 32
_MOST_PASSES = 20
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"views": 4, "steps": 10, "passes": 2, "reinjections": 1, "rows": "one_way", "outpaint": "off"},
    "paper": {"views": 8, "steps": 25, "passes": 6, "reinjections": 8, "rows": "both_ways", "outpaint": "on"},
}
_PRESET = "what the preset says"


@dataclass(frozen=True)
class FrameMatrixConfig:
    """How a clip is filled by the frame matrix; `settled` puts the preset's values in."""

    matrix_preset: Literal["fast", "paper"] = option(
        "fast",
        help="fast: 4 views, 10 steps, each of 2 passes. paper: 8 views, 25 steps, each of 6 passes, about "
        "15 times slower.",
    )
    seed: int = option(0, 0, 2**64 - 1, help="Seed of the noise. The same seed gives the same result.")
    views: int | None = option(
        None,
        1,
        MAX_VIEWS,
        none_as=0,
        none_means=_PRESET,
        metavar="COUNT",
        help="Views from the left eye to the right one, both of them included. 1 is the right view alone, "
        "filled over time; so it is where no disparity is given.",
    )
    steps: int | None = option(
        None,
        1,
        MAX_STEPS,
        none_as=0,
        none_means=_PRESET,
        metavar="COUNT",
        help="Noise levels from noise to picture.",
    )
    passes: int | None = option(
        None,
        1,
        _MOST_PASSES,
        none_as=0,
        none_means=_PRESET,
        metavar="COUNT",
        help="How often each noise level is denoised, over time and over views in turn. More fit the filling "
        "better to what is known, and cost as many times more.",
    )
    reinjections: int | None = option(
        None,
        0,
        MAX_STEPS,
        none_as=-1,
        none_means=_PRESET,
        advanced=True,
        metavar="COUNT",
        help="At how many steps known pixels are put into the decoded picture, so that the filling fits them "
        "at its edges. Each passes all views through the VAE.",
    )
    rows: Literal["preset", "one_way", "both_ways"] = option(
        "preset",
        advanced=True,
        help="How the views of a frame are read: from the left eye to the right one, or every second time "
        "the other way round.",
    )
    order: Literal["both", "columns", "rows"] = option(
        "both",
        advanced=True,
        help="both: over time and over views in turn. columns: over time alone. rows: over views alone.",
    )
    last_view_from: float = option(
        0.3,
        0.0,
        SIGMA_MAX,
        step=0.1,
        advanced=True,
        metavar="SIGMA",
        help="Noise level below which the last view alone is refined; 0: never, so that all views come out "
        "equally sharp.",
    )
    guidance_min: float = GUIDANCE_MIN.as_field(
        help="Guidance scale of a row's or column's first frame; linear between first and last. 1 at both "
        "ends: none. Any other value doubles the time.",
    )
    guidance_max: float = GUIDANCE_MAX.as_field(
        help="Guidance scale of a row's or column's last frame; SVD is often run with 3."
    )
    fps: float | None = FPS.as_field()
    motion_bucket: int | None = MOTION_BUCKET.as_field(
        help="How much motion over time the model is told to expect; 0 is none."
    )
    view_motion_bucket: int | None = MOTION_BUCKET.as_field(
        none_means="by the disparity between two views",
        help="How much motion from view to view the model is told to expect.",
    )
    planes: int = option(
        4,
        0,
        16,
        "planes; 0: none",
        advanced=True,
        help="By how many planes of disparity the views in between are cleaned of stray pixels and cracks.",
    )
    window: int = option(
        0,
        2,
        MAX_WINDOW,
        "frames; 0: as many as the model knows",
        also=(0,),
        advanced=True,
        help="Frames filled at a time: SVD knows 14, SVD-XT 25. Fewer take less memory.",
    )
    overlap: int = option(
        2,
        1,
        MAX_WINDOW - 1,
        "frames",
        advanced=True,
        help="Finished frames that each window begins with, fewer than `window`. More hide the seams better "
        "and take longer.",
    )
    max_side: int = LONGER_SIDE.as_field()
    regions: Literal["auto", "whole"] = option(
        "auto",
        advanced=True,
        help="What the model sees. auto: parts of the picture around the holes of all views, if that is less "
        "work. whole: always whole pictures.",
    )
    margin: int = MARGIN.as_field()
    dilate: int = HOLE_GROWTH.as_field()
    feather: int = HOLE_FEATHER.as_field()
    outpaint: Literal["preset", "on", "off"] = option(
        "preset",
        advanced=True,
        help="Whether the picture is continued beyond its edges before the views are warped, for what the "
        "other eye sees of things that an edge cuts off. Takes up to a fifth of the work more for each edge.",
    )

    def check(self) -> None:
        """Check every option.

        Raises:
            InputError: For the first one that breaks its rule.
        """
        check_options(self)
        if self.window and self.overlap >= self.window:
            raise OptionConflict(
                f"overlap must be between 1 and window - 1 ({self.window - 1} frames), got {self.overlap}; "
                "lower it or widen the window",
                "overlap",
                "window",
            )
        if self.margin % UNIT:
            raise InputError(
                f"margin must be a multiple of {UNIT} px, got {self.margin}; try "
                f"{-(-self.margin // UNIT) * UNIT}"
            )

    def settled(self) -> FrameMatrixConfig:
        """Return the options with the preset's values where nothing else was chosen, checked.

        Raises:
            InputError: As `check`.
        """
        self.check()
        values = PRESETS[self.matrix_preset].items()
        unset = {name: value for name, value in values if getattr(self, name) in (None, "preset")}
        return replace(self, **unset)
