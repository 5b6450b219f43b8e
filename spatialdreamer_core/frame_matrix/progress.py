"""How far a clip is: one count of rows and columns through all of its windows, their parts and regions.

The total is about what whole pictures would take, known before anything is rendered. Each window has a
stretch of it and divides it among its parts and regions by their work, so the count never falls and ends at
the total, however few regions there are and however often memory makes a window begin anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

OnCells = Callable[[int, int, Tensor], None]  # (steps done, steps in all, clean estimate [V, F, C, h, w])


@dataclass(frozen=True)
class Progress:
    """A stretch of a clip's way.

    Attributes:
        report: Called with the share of the clip that is done, in [0, 1], and the clean estimate at work, or
            None where it is the last one told.
        first: The share at which the stretch begins.
        last: The share at which it ends.
    """

    report: Callable[[float, Tensor | None], None]
    first: float = 0.0
    last: float = 1.0

    @classmethod
    def of_clip(cls, on_step: OnCells | None, total: int) -> Progress:
        """Make the progress of a whole clip, which `on_step` is told in steps.

        Args:
            on_step: Called after each row and column; may raise to interrupt.
            total: Steps in all.
        """
        most, last = 0, None

        def report(share: float, clean: Tensor | None) -> None:
            nonlocal most, last
            done = max(most, 1, round(share * total))
            has_news = clean is not None or done > most
            last = last if clean is None else clean
            if on_step is not None and last is not None and has_news:
                most = done
                on_step(done, total, last)

        return cls(report)

    def part(self, first: float, last: float) -> Progress:
        """Return a part of the stretch, between two shares of it."""
        length = self.last - self.first
        return Progress(self.report, self.first + first * length, self.first + last * length)

    def divide(self, work: list[float]) -> list[Progress]:
        """Divide the stretch into parts by their work, which is more than 0 in all unless there is none."""
        ends = [sum(work[: count + 1]) / sum(work) for count in range(len(work))]
        return [self.part(*pair) for pair in zip([0.0, *ends], ends, strict=False)]

    def finish(self) -> None:
        """Tell that the stretch is done, where less was to do than was expected."""
        self.report(self.last, None)

    def step(self, done: int, total: int, clean: Tensor) -> None:
        """Tell how much of the stretch is done."""
        self.report(self.first + (self.last - self.first) * done / total, clean)
