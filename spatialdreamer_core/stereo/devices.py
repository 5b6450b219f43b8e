"""What suits a viewing device: strength and limits from how large its picture is seen.

Rules, for a picture of width W seen from distance D:

    limits      1 degree to either side of the screen, D · tan(1°) / W of the width (Lambooij et al. 2009, see
                `comfort.py`); behind the screen no more than 65 mm and 10 mm for each metre of distance, as
                eyes do not turn outwards (the playback rule of stereoskopie.org's golden rules)
    divergence  the same 1 degree from the nearest to the farthest, half of what the limits allow in all

How devices are seen:

    tv      from three picture heights, as HDTV is meant to be seen (ITU-R BT.710): 1.22 m from 2.06 m. Its
            2.9 % is close to the depth budget of 3 % that BSkyB's guidelines for 3D television have.
    cinema  a screen of 12 m that is 45° wide from the middle of the hall
    screen  a monitor of 0.6 m from 0.6 m
    phone   0.15 m from 0.35 m
    quest   the virtual screen of a headset's player: 60° wide, 3 m away

`paper` is how SpatialDreamer's own five clips are (project page of arXiv 2411.11934): depth of 1.7 to 3.0 %
of the width, all of it behind the screen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import radians, tan
from typing import Any, NamedTuple

from ..options import check_options, option

NONE = "none"
_COMFORTABLE = tan(radians(1))  # disparity over distance
_EYES, _OUTWARDS = 0.065, 0.010  # m, m for each metre


class Viewing(NamedTuple):
    """How a device's picture is seen."""

    width: float  # m
    distance: float  # m

    @property
    def crossed(self) -> float:
        """The limit in front of the screen, % of the width."""
        return round(100 * _COMFORTABLE * self.distance / self.width, 1)

    @property
    def uncrossed(self) -> float:
        """The limit behind the screen, % of the width."""
        parallel = round(100 * (_EYES + _OUTWARDS * self.distance) / self.width, 1)
        return min(self.crossed, parallel)


VIEWINGS = {
    "quest": Viewing(width=2 * 3.0 * tan(radians(30)), distance=3.0),
    "tv": Viewing(width=1.22, distance=3 * 1.22 * 9 / 16),
    "phone": Viewing(width=0.15, distance=0.35),
    "cinema": Viewing(width=12.0, distance=6.0 / tan(radians(22.5))),
    "screen": Viewing(width=0.60, distance=0.60),
}
_PAPER = {"divergence": 2.5, "convergence": 1.0}


@dataclass(frozen=True)
class DeviceConfig:
    """For what a film is made."""

    device_profile: str = option(
        NONE,
        choices=(NONE, *VIEWINGS, "paper"),
        help="3D strength and comfort limits that suit a viewing device, unless they are given. paper: as "
        "SpatialDreamer's own clips are, 2.5 % and all of it behind the screen.",
    )

    def check(self) -> None:
        """Check the device.

        Raises:
            InputError: If it is none of the list.
        """
        check_options(self)


def suggest_settings(device_profile: str) -> dict[str, Any]:
    """Return what suits a viewing device, by field name of `ConvertConfig`; nothing for none.

    Args:
        device_profile: One of the choices of `DeviceConfig`.

    Raises:
        InputError: If it is none of them.
    """
    DeviceConfig(device_profile).check()
    if device_profile not in VIEWINGS:
        return dict(_PAPER) if device_profile != NONE else {}
    viewing = VIEWINGS[device_profile]
    return {
        "divergence": viewing.crossed,
        "comfort": True,
        "max_crossed": viewing.crossed,
        "max_uncrossed": viewing.uncrossed,
    }


def with_suggestions(given: Mapping[str, Any]) -> dict[str, Any]:
    """Complete settings by what suits their `device_profile`; what is given stays.

    Args:
        given: Settings of `ConvertConfig` and `DeviceConfig` by field name, without those left at their
            defaults.

    Returns:
        Settings of `ConvertConfig`.

    Raises:
        InputError: If the device is none of the list.
    """
    rest = dict(given)
    device_profile = rest.pop("device_profile", NONE)
    return {**suggest_settings(device_profile), **rest}
