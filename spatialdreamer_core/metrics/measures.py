"""The measures of a comparison by name: what each is called, its unit, which way is better, what it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

MOST_DECIBELS = 100.0  # of equal pictures, whose PSNR has no limit; so that means and files hold numbers
_FRAMES = "needs two frames of one scene"
_HOLES = "needs pixels of that region"
_FEATURES = "needs pictures in which SIFT finds features"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure of a comparison.

    Attributes:
        title: What people call it.
        unit: Of its figures; empty for a plain number.
        better: Which way is better.
        takes: What it takes besides the result: "truth", "source" (the given view), "hole" (a hole mask or a
            disparity), "disparity", "lpips" and "i3d" (networks).
        needs: Why it may be left out all the same.
        in_decibels: Whether it is a mean squared error, shown as -10 · log10.
        over_time: Whether it has a figure for each frame.
    """

    title: str
    unit: str = ""
    better: Literal["higher", "lower", "1"]
    takes: tuple[str, ...] = ()
    needs: str = ""
    in_decibels: bool = False
    over_time: bool = True

    def figure(self, total: float, weight: float) -> float:
        """Turn a weighted total into what is shown."""
        mean = total / weight
        if not self.in_decibels:
            return mean
        return MOST_DECIBELS if mean <= 0 else min(MOST_DECIBELS, -10 * math.log10(mean))


def _psnr(where: str, *takes: str) -> Measure:
    return Measure(
        title=f"PSNR, {where}", unit="dB", better="higher", takes=takes, needs=_HOLES, in_decibels=True
    )


MEASURES: dict[str, Measure] = {
    "psnr": _psnr("whole", "truth"),
    "psnr_visible": _psnr("visible", "truth", "hole"),
    "psnr_inner_hole": _psnr("inner holes", "truth", "hole"),
    "psnr_border": _psnr("border", "truth", "hole"),
    "ssim": Measure(title="SSIM", better="higher", takes=("truth",), needs="needs frames of at least 11x11"),
    "lpips": Measure(
        title="LPIPS", better="lower", takes=("truth", "lpips"), needs="needs frames of at least 32x32"
    ),
    "lpips_holes": Measure(
        title="LPIPS, holes",
        better="lower",
        takes=("truth", "hole", "lpips"),
        needs="needs frames of at least 32x32",
    ),
    "sharpness": Measure(
        title="sharpness against the truth", better="1", takes=("truth",), needs="needs pictures with texture"
    ),
    "gradient_inner_hole": Measure(
        title="texture of inner holes", better="1", takes=("truth", "hole"), needs=_HOLES
    ),
    "siou": Measure(title="SIoU", better="higher", takes=("truth", "source")),
    "matchability_error": Measure(
        title="matchability error", better="lower", takes=("truth", "source"), needs=_FEATURES
    ),
    "match_rate": Measure(
        title="features matched in their row", better="higher", takes=("source",), needs=_FEATURES
    ),
    "disparity_error": Measure(
        title="disparity error, median",
        unit="px",
        better="lower",
        takes=("source", "disparity"),
        needs=_FEATURES,
    ),
    "vertical_disparity": Measure(
        title="vertical disparity, RMS", unit="px", better="lower", takes=("source",), needs=_FEATURES
    ),
    "consistency": Measure(
        title="left-right consistency",
        unit="dB",
        better="higher",
        takes=("source", "disparity"),
        needs=_HOLES,
        in_decibels=True,
    ),
    "round_trip": Measure(
        title="round trip",
        unit="dB",
        better="higher",
        takes=("source", "disparity"),
        needs=_HOLES,
        in_decibels=True,
    ),
    "warping_error": Measure(title="E_warp", unit="1e-3", better="lower", needs=_FRAMES),
    "warping_error_holes": Measure(
        title="E_warp, holes", unit="1e-3", better="lower", takes=("hole",), needs=_FRAMES + " with holes"
    ),
    "temporal_error": Measure(
        title="temporal error", unit="of 255", better="lower", takes=("truth",), needs=_FRAMES
    ),
    "temporal_error_holes": Measure(
        title="temporal error, holes",
        unit="of 255",
        better="lower",
        takes=("truth", "hole"),
        needs=_FRAMES + " with holes",
    ),
    "mask_flicker": Measure(
        title="hole mask flicker", better="lower", takes=("source", "disparity"), needs=_FRAMES
    ),
    "colour_shift": Measure(
        title="colour shift between chunks",
        unit="of 255",
        better="lower",
        needs="needs two chunks of frames, and the truth or the given view",
        over_time=False,
    ),
    "fvd": Measure(
        title="FVD", better="lower", takes=("i3d",), needs="needs two clips of 16 frames", over_time=False
    ),
}


def describe(name: str) -> str:
    """Name a measure with its unit, for a table or a plot."""
    measure = MEASURES[name]
    better = {"higher": "higher is better", "lower": "lower is better", "1": "1 is ideal"}[measure.better]
    return f"{measure.title} ({', '.join(filter(None, (measure.unit, better)))})"
