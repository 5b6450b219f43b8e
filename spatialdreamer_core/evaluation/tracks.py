"""What is kept of a film while it is judged, in memory that does not grow with its length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from ..flow.pictures import to_bytes

_MOST_POINTS = 4096  # of a curve
_MOST_ROWS = 1024  # of a scanline's picture


class Curves:
    """Figures over time: a point a frame, or the mean of 2, 4, 8 … frames of a long film.

    Attributes:
        step: Frames a point.
    """

    def __init__(self) -> None:
        self.step = 1
        self._points: list[dict[str, float]] = []
        self._open: list[Mapping[str, float]] = []

    def add(self, figures: Mapping[str, float]) -> None:
        """Take the next frame's figures."""
        self._open.append(figures)
        if len(self._open) == self.step:
            self._points.append(_mean(self._open))
            self._open = []
        if len(self._points) > _MOST_POINTS:
            points = self._points
            pairs = [points[i : i + 2] for i in range(0, len(points) - 1, 2)]
            self._open = [points[-1]] * self.step if len(points) % 2 else []
            self._points = [_mean(pair) for pair in pairs]
            self.step *= 2

    def values(self) -> dict[str, list[float | None]]:
        """Return each measure's points; None where it has no figure."""
        points = [*self._points, *([_mean(self._open)] if self._open else [])]
        names = dict.fromkeys(name for point in points for name in point)
        return {name: [point.get(name) for point in points] for name in names}


class Scanlines:
    """One row of each frame, or of every 2nd, 4th and so on, over time, as in SpatialDreamer's Figure 1.

    Args:
        height_percent: Which row, in % of the height from above.
    """

    def __init__(self, height_percent: float) -> None:
        self._share = height_percent / 100
        self._step = 1
        self._count = 0
        self._rows: dict[str, list[np.ndarray]] = {}

    def add(
        self,
        **views: Tensor | None,  # [3, H, W] in [0, 1]
    ) -> None:
        """Take a row of the next frame of each view that is there."""
        if self._count % self._step == 0:
            for name, view in views.items():
                if view is not None:
                    row = min(view.shape[1] - 1, int(self._share * view.shape[1]))
                    self._rows.setdefault(name, []).append(to_bytes(view[:, row : row + 1])[0])
        self._count += 1
        if max(map(len, self._rows.values()), default=0) > _MOST_ROWS:
            self._rows = {name: rows[::2] for name, rows in self._rows.items()}
            self._step *= 2

    def pictures(self) -> dict[str, np.ndarray]:  # each [T, W, 3] uint8
        """Return each view's rows, time running down."""
        return {name: np.stack(rows) for name, rows in self._rows.items()}


def _mean(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average the figures that are there."""
    names = dict.fromkeys(name for each in figures for name in each)
    known = {name: [each[name] for each in figures if name in each] for name in names}
    return {name: sum(values) / len(values) for name, values in known.items()}
