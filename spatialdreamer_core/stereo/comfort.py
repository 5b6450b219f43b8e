"""Comfort read-out: how far a stereo clip reaches in front of and behind the screen, in % of the width.

Disparity of up to 1 degree of visual angle counts as comfortable (Lambooij et al., "Visual discomfort and
visual fatigue of stereoscopic displays: a review", J. Imaging Sci. Technol. 53(3), 2009); how the limits
depend on distance and sign is measured in Shibata et al., "The zone of comfort", J. Vision 11(8):11, 2011.
Seen from three picture heights, 1 degree is 3 · 9/16 · tan(1°) = 2.9 % of the width of a 16:9 picture; from
farther away it is more, from nearer less.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..contracts import check_call
from .percentiles import percentiles

COMFORT_LIMIT = 3.0  # % of the width, to either side of the screen


@dataclass(frozen=True)
class Comfort:
    """Range of disparity, in % of the width; above 0 (crossed) is in front of the screen, below behind it."""

    p1: float  # the farthest: 1 % of all pixels lie behind it
    p99: float  # the nearest: 1 % of all pixels lie in front of it

    @property
    def within_limit(self) -> bool:
        """Whether both ends lie within `COMFORT_LIMIT`."""
        return max(abs(self.p1), abs(self.p99)) <= COMFORT_LIMIT

    def describe(self) -> str:
        """Say it in one line."""
        return f"nearest: {_place(self.p99)}; farthest: {_place(self.p1)} (% of the width)"


def measure_comfort(
    disparity: Tensor,  # [F, 1, H, W] px
) -> Comfort:
    """Measure the range of disparity over a clip, of about a million pixels spread evenly over it.

    Args:
        disparity: The whole disparity between the two views; above 0 is in front of the screen.

    Raises:
        InputError: If the disparity breaks its rule (`contracts.TABLE`).
    """
    check_call("measure_comfort", disparity=disparity)
    p1, p99 = percentiles(disparity, 0.01, 0.99)
    width = disparity.shape[-1]
    return Comfort(100 * p1 / width, 100 * p99 / width)


def _place(percent: float) -> str:
    """Say where a disparity in % of the width lies."""
    side = "in front of" if percent > 0 else "behind"
    return f"{abs(percent):.1f} % {side} the screen"
