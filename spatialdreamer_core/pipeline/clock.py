"""Time spent in each stage of a conversion, for benchmarks and the log."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class StageClock:
    """Adds up the time in which named stages work; stages that overlap in threads are counted each.

    On a GPU a stage's time is that of giving the work to it: nothing here waits for the device. What the
    device itself takes shows where its results are waited for, in "depth" for a model and in "pack" for all
    that follows.

    Attributes:
        seconds: Working time of each stage, of all its threads together.
        threads: How many threads share a stage's work, where they are several.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.threads: dict[str, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the time inside the `with` block as that of a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - start
            with self._lock:
                self.seconds[stage] += taken

    def share(self, stage: str, threads: int) -> None:
        """Note that so many threads share a stage's work."""
        self.threads[stage] = threads

    def busy(self, stage: str) -> float:
        """Return the seconds in which a stage was at work: the film takes at least its busiest stage's."""
        return self.seconds.get(stage, 0.0) / self.threads.get(stage, 1)
