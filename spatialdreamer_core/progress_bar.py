"""The progress bar of a command."""

from __future__ import annotations

import contextlib
from typing import Any


class ProgressBar:
    """A progress bar that costs nothing if it fails; use it in a `with` statement."""

    def __init__(self, *, quiet: bool, **settings: Any) -> None:
        self._quiet, self._settings = quiet, {"dynamic_ncols": True, "unit": " frames", **settings}
        self._bar: Any = None
        self._title = ""

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def show(self, title: str, done: int, total: int | None) -> None:
        """Move the bar, or begin one with a new title."""
        if self._quiet:
            return
        try:
            if self._bar is None or title != self._title:
                self._begin(title)
            self._bar.total = total if total is None else max(total, done)
            self._bar.update(done - self._bar.n)
        except Exception:  # of the bar or its terminal, whatever it is
            self._quiet = True

    def _begin(self, title: str) -> None:
        """Begin a bar."""
        from tqdm import tqdm

        self._close()
        tqdm.monitor_interval = 0  # no thread beside ours
        self._bar, self._title = tqdm(desc=title, **self._settings), title

    def _close(self) -> None:
        """End the bar."""
        with contextlib.suppress(Exception):
            if self._bar is not None:
                self._bar.close()
