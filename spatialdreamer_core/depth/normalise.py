"""Inverse depth of unknown scale and shift to [0, 1]: per scene, between percentiles, never raw extremes.

    depth = clip((raw - p_low) / (p_high - p_low), 0, 1)

A clip at hand takes its scenes' own percentiles. A stream cannot look ahead: it follows slow averages of the
percentiles of its frames, so that depth does not pump.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import gcd

import torch
from torch import Tensor

from ..checks import InputError, check_range, check_video

_SAMPLES = 1 << 20  # values that a scene's percentiles are taken from
_RATE = 0.04  # share of a new frame in the running percentiles: half of it is forgotten after 17 frames
_FLAT = 1e-6  # relative range below which a scene has no depth


def normalise_scenes(
    raw: Tensor,  # [F, 1, H, W]
    cuts: Sequence[int],
    low: float = 0.02,
    high: float = 0.98,
) -> Tensor:  # [F, 1, H, W] float32
    """Bring each scene's inverse depth to [0, 1] between its percentiles.

    Args:
        raw: Inverse depth, larger = nearer, of any scale and shift.
        cuts: The frames with which a new scene begins, see `find_cuts`.
        low: Share of a scene's values that become 0.
        high: Share of a scene's values below those that become 1.

    Returns:
        Inverse depth in [0, 1]; 0.5 throughout a scene without any depth.

    Raises:
        InputError: If the tensor is no video of one channel, a cut lies outside it, or the shares are not in
            order.
    """
    check_video("raw", raw, channels=1)
    check_range("low", low, 0.0, 1.0)
    check_range("high", high, 0.0, 1.0)
    if low >= high:
        raise InputError(f"low must be less than high, got {low:g} and {high:g}")
    if any(not 0 < cut < len(raw) for cut in cuts):
        raise InputError(f"cuts must lie between 1 and {len(raw) - 1}, got {list(cuts)}; use find_cuts")
    bounds = [0, *sorted(set(cuts)), len(raw)]
    depth = torch.empty(raw.shape, dtype=torch.float32, device=raw.device)
    for start, stop in pairwise(bounds):
        scene = raw[start:stop].float()
        depth[start:stop] = _stretch(scene, *percentiles(scene, low, high))
    return depth


def percentiles(
    values: Tensor,  # [..., W]
    low: float,
    high: float,
) -> tuple[float, float]:
    """Return two percentiles of a map, of about a million values spread evenly over it."""
    step = max(1, values.numel() // _SAMPLES)
    while gcd(step, values.shape[-1]) != 1:
        step += 1
    bounds = torch.quantile(
        values.reshape(-1)[::step].float(), torch.tensor([low, high], device=values.device)
    )
    return float(bounds[0]), float(bounds[1])


class RunningRange:
    """Normalises a stream of frames between slow averages of their percentiles; reset it at cuts.

    Args:
        low: Share of a frame's values that become 0.
        high: Share of a frame's values below those that become 1.
    """

    def __init__(self, *, low: float = 0.02, high: float = 0.98) -> None:
        self._shares = low, high
        self.reset()

    def reset(self) -> None:
        """Forget the scene."""
        self._range: tuple[float, float] | None = None

    def step(
        self,
        raw: Tensor,  # [1, 1, h, w]
    ) -> Tensor:  # [1, 1, h, w] in [0, 1]
        """Take the scene's next frame; return it normalised."""
        found = percentiles(raw, *self._shares)
        if self._range is None:
            self._range = found
        else:
            before_low, before_high = self._range
            self._range = (
                before_low + _RATE * (found[0] - before_low),
                before_high + _RATE * (found[1] - before_high),
            )
        return _stretch(raw.float(), *self._range)


def _stretch(values: Tensor, low: float, high: float) -> Tensor:
    """Map [low, high] to [0, 1]; what has no range becomes 0.5."""
    if high - low <= _FLAT * max(abs(low), abs(high)):
        return torch.full_like(values, 0.5)
    return ((values - low) / (high - low)).clamp(0, 1)
