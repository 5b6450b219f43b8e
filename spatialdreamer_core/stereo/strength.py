"""A scene's strength and place: how much disparity it gets, and which depth lies on the screen.

From the statistics of a scene alone, so that all of its frames have the same and a value never jumps but at a
cut. With s, low and high the subject and the range (p1 to p99) of its depth as it is warped, divergence D and
convergence c in their units, and limits C and U in % of the width, in front of and behind the screen:

    automatic convergence    c = s, which puts the subject on the screen
    comfort                  D · (high - c) <= C  and  D · (c - low) <= U

Where the views are shifted against each other afterwards (`ipd_offset`), by o % of the width nearer, the
limits are C - o and U + o.

What goes beyond the limits is brought back without automatic convergence by moving the scene, and by less
strength only where all of it does not fit between them; with it by less strength alone, as the subject is to
stay on the screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch

from ..depth import DepthShaping, SceneStatistics, shape_depth
from ..dvg import Placement
from ..options import OptionConflict, check_options, option
from .comfort import COMFORT_LIMIT, Comfort

_MOST = 20.0  # % of the width
_LEAST_ROOM = 0.1  # % of the width; with less there is nothing to see
_SEEN = 0.005  # what is told of as a change


def reach_of(scene: SceneStatistics, placement: Placement) -> Comfort:
    """Return the range of disparity that a scene gets.

    Args:
        scene: Its statistics, of depth as it is warped.
        placement: How that becomes disparity.
    """
    low, high = (placement.divergence * (depth - placement.convergence) for depth in (scene.low, scene.high))
    return Comfort(low, high)


@dataclass(frozen=True)
class StrengthConfig:
    """What is done about a scene's strength and place; by default nothing."""

    auto_convergence: bool = option(
        False,
        help="Puts the subject of each scene on the screen, in place of what lies at `convergence`: what is "
        "near, sharp and in the middle of the picture. One value a scene.",
    )
    comfort: bool = option(
        False,
        help="Keeps each scene within `max_crossed` in front of the screen and `max_uncrossed` behind it, by "
        "moving it or by less 3D strength, the same for all of its frames.",
    )
    max_crossed: float = option(
        COMFORT_LIMIT,
        0.0,
        _MOST,
        "% of width",
        step=0.1,
        advanced=True,
        help="With comfort: disparity in front of the screen, which all but 1 % of a scene's pixels keep to.",
    )
    max_uncrossed: float = option(
        COMFORT_LIMIT,
        0.0,
        _MOST,
        "% of width",
        step=0.1,
        advanced=True,
        help="With comfort: disparity behind the screen, which all but 1 % of a scene's pixels keep to.",
    )

    def check(self, *, offset: float = 0.0) -> None:
        """Check every setting.

        Args:
            offset: See `shifted`.

        Raises:
            InputError: For the first one that breaks its rule.
        """
        check_options(self)
        if self.comfort and not -self.max_uncrossed <= offset <= self.max_crossed:
            raise OptionConflict(
                "ipd_offset must leave the screen within the limits of comfort, "
                f"{-self.max_uncrossed:g} to {self.max_crossed:g} % of the width, got {offset:g}; bring it "
                "nearer to 0, or raise max_crossed or max_uncrossed",
                *("comfort", "ipd_offset", "max_crossed", "max_uncrossed"),
            )
        limits = (self.max_crossed - offset, self.max_uncrossed + offset)
        if self.comfort and sum(limits) < _LEAST_ROOM:
            raise OptionConflict(
                f"max_crossed and max_uncrossed must leave room for depth, {_LEAST_ROOM:g} % of the width or "
                f"more together, got {self.max_crossed:g} and {self.max_uncrossed:g}; try 3 and 3",
                *("comfort", "max_crossed", "max_uncrossed"),
            )
        if self.comfort and self.auto_convergence and min(limits) < _LEAST_ROOM:
            raise OptionConflict(
                f"max_crossed and max_uncrossed must be {_LEAST_ROOM:g} % of the width or more with "
                "automatic convergence, which has depth on both sides of the screen, got "
                f"{self.max_crossed:g} and {self.max_uncrossed:g}{_beside(offset)}; raise them, or give a "
                "convergence",
                *("auto_convergence", "comfort", "max_crossed", "max_uncrossed"),
            )

    def shifted(self, offset: float) -> StrengthConfig:
        """Return the same for views that are shifted against each other after the warp.

        Args:
            offset: By how much that brings all of a scene nearer, in % of the width.
        """
        return replace(self, max_crossed=self.max_crossed - offset, max_uncrossed=self.max_uncrossed + offset)

    @property
    def needs_statistics(self) -> bool:
        """Whether a scene has to be looked at before its first frame."""
        return self.auto_convergence or self.comfort

    def choose(self, scene: SceneStatistics, wanted: Placement) -> Placement:
        """Choose how a scene's depth becomes disparity.

        Args:
            scene: Its statistics, of depth as it is warped, see `shaped`.
            wanted: What is asked for.
        """
        placement = wanted
        if self.auto_convergence:
            placement = placement._replace(convergence=scene.subject)
        if not self.comfort:
            return placement
        if self.auto_convergence:
            divergence = _fit(placement.divergence, scene.high - scene.subject, room=self.max_crossed)
            divergence = _fit(divergence, scene.subject - scene.low, room=self.max_uncrossed)
            return placement._replace(divergence=divergence)
        divergence = _fit(
            placement.divergence, scene.high - scene.low, room=self.max_crossed + self.max_uncrossed
        )
        placement = placement._replace(divergence=divergence)
        reach = reach_of(scene, placement)
        convergence = placement.convergence
        if reach.p99 > self.max_crossed:
            convergence = min(scene.high - self.max_crossed / divergence, 1.0)
        elif reach.p1 < -self.max_uncrossed:
            convergence = max(scene.low + self.max_uncrossed / divergence, 0.0)
        return placement._replace(convergence=convergence)

    def suggest(self, scenes: Sequence[SceneStatistics]) -> float:
        """Return the divergence, %, with which most scenes of a film fill the limits.

        Args:
            scenes: Their statistics, of depth as it is warped. A film has one divergence, so that scenes keep
                their depth relative to each other: it is that of the scene in the middle.
        """
        depth = median(scene.high - scene.low for scene in scenes)
        return _fit(_MOST, depth, room=self.max_crossed + self.max_uncrossed)


def _fit(divergence: float, depth: float, *, room: float) -> float:
    """Lower divergence until a range of depth fits into some room, % of the width."""
    return divergence if divergence * depth <= room else room / depth


def _beside(offset: float) -> str:
    """Say what else takes room."""
    return f" with an ipd_offset of {offset:g}" if offset else ""


def describe_placement(
    scene: SceneStatistics, wanted: Placement, placement: Placement, *, offset: float = 0.0
) -> str:
    """Say in one line what a scene gets, and what was changed for it.

    Args:
        scene: Its statistics, of depth as it is warped.
        wanted: What was asked for.
        placement: What it gets.
        offset: See `StrengthConfig.shifted`.
    """
    said = [f"divergence {placement.divergence:.2f} %", f"convergence {placement.convergence:.2f}"]
    for index, (asked, given) in enumerate(zip(wanted[:2], placement[:2], strict=True)):
        if abs(asked - given) > _SEEN:
            said[index] += f" (was {asked:g})"
    reach = reach_of(scene, placement)
    shown = Comfort(reach.p1 + offset, reach.p99 + offset)
    return f"{', '.join(said)}; subject at depth {scene.subject:.2f}; {shown.describe()}"


def shaped(scene: SceneStatistics, shaping: DepthShaping) -> SceneStatistics:
    """Return the statistics of a scene whose depth is shaped: its curves keep the order of depths.

    What is done at edges is none of a curve's; `StatisticsMeter` has counted it.
    """
    values = torch.tensor(scene, dtype=torch.float64).view(1, 1, 1, 3)
    curves = replace(shaping, edge_width=0, edge_dilation=0)
    return SceneStatistics(*shape_depth(values.clamp(0, 1), curves).flatten().tolist())
