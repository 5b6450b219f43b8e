"""How the background in a hole moves: as the background beside it does.

A hole has no flow of its own, and the flow at its edge is mixed with the foreground's, as every estimator
blurs it there. So points on the background at some distance are followed from frame to frame, and the median
of where they went is where the hole's background went.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..dvg.nonzero_pixels import values_at
from ..flow import Motion
from .hole_runs import HoleRuns

_SIDEWAYS = (6, 12, 18, 24, 32)  # px of the flow's size, from the hole's end into the background
_UPWARDS = (-3, 0, 3)  # px of the flow's size
LEAST_POINTS = 3  # points that must be left for their median to be trusted


class BackgroundMotion:
    """Follows the background of a frame's holes from that frame on.

    Args:
        runs: The frame's holes.
        disparity: [H, W] px, of the rendered view.
        size: Height and width of the flow.
    """

    def __init__(self, runs: HoleRuns, disparity: Tensor, size: Sequence[int]) -> None:
        height, width = disparity.shape
        self.size = flow_height, flow_width = size[0], size[1]
        self._run = runs.run
        self._scale = (width / flow_width, height / flow_height)
        row, source, column, background, limit = (
            values[runs.first] for values in (runs.row, runs.source, runs.column, runs.disparity, runs.limit)
        )
        away = torch.where(source >= column, 1, -1)
        sideways = away[:, None] * torch.tensor(_SIDEWAYS, device=row.device)
        upwards = torch.tensor(_UPWARDS, device=row.device)
        x = (source * flow_width // width)[:, None, None] + sideways[:, None, :]
        y = (row * flow_height // height)[:, None, None] + upwards[:, None]
        x, y = (axis.expand(-1, len(_UPWARDS), len(_SIDEWAYS)).flatten(1) for axis in (x, y))
        self._valid = (x >= 0) & (x < flow_width) & (y >= 0) & (y < flow_height)
        at_row = (y * height // flow_height).clamp(0, height - 1)
        at_column = (x * width // flow_width).clamp(0, width - 1)
        seen = values_at(disparity, at_row, at_column)
        # The same surface: nearer to the background's disparity than to the foreground's, on either side.
        farthest = 2 * background - limit
        self._valid &= (seen <= limit[:, None]) & (seen >= farthest[:, None])
        self._start = torch.stack([x, y]).to(disparity.dtype)  # [2, runs, points]
        self._now = self._start

    def follow(self, towards: Motion) -> tuple[Tensor, Tensor, Tensor]:  # two of [N] px, [N] bool
        """Go on to the next frame, along the motion of the frame reached last.

        Returns:
            How far each hole pixel's background has moved since the first frame, pixels of the view, and
            where that can be trusted.
        """
        height, width = towards.flow.shape[-2:]
        column, row = self._now.round().long()
        column, row = column.clamp(0, width - 1), row.clamp(0, height - 1)
        self._valid = self._valid & (values_at(towards.confidence[0], row, column) > 0.5)
        self._now = self._now + values_at(towards.flow, row, column)
        dx, dy = _median(self._now - self._start, self._valid)
        trusted = self._valid.sum(-1) >= LEAST_POINTS
        return (dx * self._scale[0])[self._run], (dy * self._scale[1])[self._run], trusted[self._run]


def _median(values: Tensor, valid: Tensor) -> Tensor:  # [2, R, points], [R, points] -> [2, R]
    """Take the lower median of each run's valid values; 0 without any."""
    values = values.masked_fill(~valid, torch.nan)
    if values.device.type != "cpu" or values.requires_grad:
        return values.nanmedian(-1).values.nan_to_num(0.0)
    # NumPy sorts NaN to the end, and such short rows in a fifth of the time.
    ordered = torch.from_numpy(np.sort(values.numpy(), axis=-1))
    middle = (valid.sum(-1).clamp(min=1) - 1) // 2
    return ordered.gather(-1, middle.expand(2, -1)[..., None])[..., 0].nan_to_num(0.0)
