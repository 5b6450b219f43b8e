"""A scene's range of inverse depth, measured in one pass over its frames, and the normalisation by it.

    depth = clip((raw - p_low) / (p_high - p_low), 0, 1)

Low and high are percentiles over all pixels of the scene's frames, so that neither a particle that passes
close to the camera nor one wrong pixel moves everything else. A clip at hand is measured whole
(`measure_scenes`), a film by a first pass over some of its frames (`first_pass.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import InputError, check_cuts, check_finite, check_range, check_tensor, check_type
from ..contracts import check_call
from .quantiles import Quantiles

_FLAT = 1e-5  # a range narrower than this share of its values holds rounding errors only
_TINY = 1e-20  # below it, bins and rounding are all there is
DEPTH_REMEDY = "repair the depth, or check the estimator that made it"


@dataclass(frozen=True)
class SceneRange:
    """Range of a scene's inverse depth, in the estimator's own unit."""

    low: float  # percentile that becomes 0
    high: float  # percentile that becomes 1

    def normalise(
        self,
        depth: Tensor,  # any shape
        *,
        in_place: bool = False,
    ) -> Tensor:  # the same shape, in [0, 1]
        """Map [low, high] to [0, 1] and clamp; a scene of one depth lies at 0.5."""
        width = self.high - self.low
        if width <= _FLAT * max(abs(self.low), abs(self.high), _TINY):
            return torch.full_like(depth, 0.5)
        above = depth.sub_(self.low) if in_place else depth - self.low
        return above.div_(width).clamp_(0, 1)


class SceneRangeMeter:
    """Measures one scene's range frame by frame in constant memory.

    Args:
        low_percentile: Share of the pixels below the range, %.
        high_percentile: Share of the pixels below the range's upper end, %.

    Raises:
        InputError: If not 0 <= low < high <= 100.
    """

    def __init__(self, *, low_percentile: float = 2.0, high_percentile: float = 98.0) -> None:
        check_range("low_percentile", low_percentile, 0, 100, "%")
        check_range("high_percentile", high_percentile, 0, 100, "%")
        if not 0 <= low_percentile < high_percentile <= 100:
            raise InputError(
                "low_percentile and high_percentile must satisfy 0 <= low < high <= 100, "
                f"got {low_percentile:g} and {high_percentile:g}; 2 and 98 suit most films"
            )
        self._shares = (low_percentile / 100, high_percentile / 100)
        self._values = Quantiles()

    def add(
        self,
        depth: Tensor,  # any shape
        *,
        weight: int = 1,
    ) -> None:
        """Count a frame's values, each `weight` times.

        Raises:
            InputError: If it is no tensor of floats, is empty, or a value is not finite.
        """
        check_tensor("depth", depth)
        if not depth.numel():
            raise InputError(f"`depth` must have at least one pixel, got shape {list(depth.shape)}")
        check_range("weight", weight, 1, 2**31, whole=True)
        check_finite("depth", depth, DEPTH_REMEDY)
        self._values.add(depth.detach().float().cpu().flatten(), weight=weight)

    def result(self) -> SceneRange:
        """Return the range of the frames counted so far.

        Raises:
            InputError: If there were none.
        """
        if self._values.is_empty:
            raise InputError("a scene must have at least one frame, got 0; add its frames first")
        return SceneRange(*(self._values.quantile(share) for share in self._shares))


def measure_scenes(
    depth_frames: Iterable[Tensor],  # each of one frame, any shape
    cuts: Sequence[int] = (),
    *,
    low_percentile: float = 2.0,
    high_percentile: float = 98.0,
) -> list[SceneRange]:
    """Measure the range of each scene of a film in one pass, one frame in memory at a time.

    Args:
        depth_frames: Inverse depth, frame by frame.
        cuts: Frames with which a new scene begins, as `find_cuts` gives them.
        low_percentile: Share of a scene's pixels below the range, %.
        high_percentile: Share of a scene's pixels below the range's upper end, %.

    Returns:
        One range per scene, in order.

    Raises:
        InputError: If there is no frame, a cut lies outside them, a value is not finite, or the percentiles
            are out of order.
    """
    check_type("depth_frames", depth_frames, Iterable)
    check_cuts(cuts)
    starts = set(cuts) - {0}
    count = 0
    ranges: list[SceneRange] = []
    meter = SceneRangeMeter(low_percentile=low_percentile, high_percentile=high_percentile)
    for depth in depth_frames:
        if count in starts:
            ranges.append(meter.result())
            meter = SceneRangeMeter(low_percentile=low_percentile, high_percentile=high_percentile)
        meter.add(depth)
        count += 1
    check_cuts(cuts, count)
    return [*ranges, meter.result()]


def apply_scene_ranges(
    depth: Tensor,  # [F, 1, H, W]
    ranges: Sequence[SceneRange],
    cuts: Sequence[int] = (),
) -> Tensor:  # [F, 1, H, W] in [0, 1]
    """Normalise each frame by its scene's range.

    Raises:
        InputError: If the depth breaks its rule (`contracts.TABLE`), a cut lies outside, there is not one
            range per scene or one is not finite.
    """
    check_call("apply_scene_ranges", depth=depth)
    check_cuts(cuts, len(depth))
    bounds = [0, *sorted(set(cuts) - {0}), len(depth)]
    if not isinstance(ranges, Sequence) or not all(isinstance(scene, SceneRange) for scene in ranges):
        raise InputError(f"`ranges` must be a list of SceneRange, got {ranges!r:.200}; use measure_scenes")
    if len(ranges) != len(bounds) - 1:
        raise InputError(
            f"`ranges` must hold one range per scene ({len(bounds) - 1}), got {len(ranges)}; "
            "use measure_scenes with the same cuts"
        )
    if not all(math.isfinite(scene.low) and math.isfinite(scene.high) for scene in ranges):
        raise InputError(f"`ranges` must be finite, got {list(ranges)!r:.200}; use measure_scenes")
    scenes = zip(ranges, bounds[:-1], bounds[1:], strict=True)
    return torch.cat([scene.normalise(depth[start:end]) for scene, start, end in scenes])
