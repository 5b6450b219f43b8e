"""What a conversion will take, measured on the film's first frames: time, memory, room on the disk."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch

from ...checks import InputError
from ...video.probe import VideoInfo

MEASURED = 48  # frames
_WARM = 8  # frames at the beginning whose time does not count: threads and kernels start
_POLL = 0.05  # s

OnFrame = Callable[[int, "int | None", Any], None]
ConvertPart = Callable[..., int]


@dataclass(frozen=True)
class Estimate:
    """What a film will take.

    Attributes:
        frames: Number of its frames.
        seconds: Time.
        memory: Most bytes of main memory that the process held.
        device_memory: The same of a GPU's, 0 without one.
        result: Bytes of the film.
        disk: Bytes at most while it is converted.
        measured: Number of frames that were converted to know it.
    """

    frames: int
    seconds: float
    memory: int
    device_memory: int
    result: int
    disk: int
    measured: int

    def __str__(self) -> str:
        """Write it for people."""
        hours, rest = divmod(round(self.seconds), 3600)
        minutes, seconds = divmod(rest, 60)
        length = f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
        rate = self.frames / max(self.seconds, 1e-9)
        device = f" and {_size(self.device_memory)} of GPU memory" if self.device_memory else ""
        return (
            f"{self.frames} frames will take about {length} ({rate:.3g} frames/s), {_size(self.memory)} of "
            f"memory{device}, and on the disk {_size(self.disk)} meanwhile and {_size(self.result)} in the "
            f"end; measured on {self.measured} frames"
        )


def estimate_film(
    convert_part: ConvertPart,
    info: VideoInfo,
    *,
    start: float | None,
    end: float | None,
    kept: Callable[[int], bool],
    suffix: str,
    pictures: int,
    device: torch.device,
) -> Estimate:
    """Convert the first frames of a film into a temporary folder, and reckon what all of it takes.

    Args:
        convert_part: Converts from `start` to `end` into `output_path`, with `on_progress` and
            `on_first_pass` as of `convert`.
        info: What `probe` says of the film.
        start: Seconds at which the conversion begins, None: with the film.
        end: Seconds at which it ends, None: with the film.
        kept: Tells for a number of frames whether its segments are kept until it is whole.
        suffix: Of the output.
        pictures: How many pictures each frame becomes.
        device: Where it is converted.

    Raises:
        InputError: If the film's length is unknown, or it cannot be converted.
    """
    rate = float(info.frame_rate)
    first = start or 0.0
    until = min(end if end is not None else float("inf"), info.duration or float("inf"))
    if until == float("inf"):
        raise InputError(f"a dry run needs the length of the film, got {info.path}, which has none; give end")
    total = max(1, round((until - first) * rate))
    passes, frames = _Times(), _Times()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with tempfile.TemporaryDirectory(prefix="spatialdreamer_") as folder, _PeakMemory() as memory:
        output = Path(folder) / f"part{suffix}"
        done = convert_part(
            output_path=output,
            start=start,
            end=min(until, first + (MEASURED + _WARM) / rate),
            on_progress=lambda done, total, packed: frames.note(done),
            on_first_pass=lambda done, total: passes.note(done),
        )
        size = output.stat().st_size
    result = round(size / done * total * pictures)
    return Estimate(
        frames=total,
        seconds=total * (frames.per_frame * pictures + passes.per_frame),
        memory=memory.most,
        device_memory=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0,
        result=result,
        disk=2 * result if kept(total) else result,
        measured=done // pictures,
    )


def without_keeping(config: Any) -> Any:
    """Return settings of a conversion that keeps nothing and has no sidecar, for a part of a film."""
    return replace(config, resume="off", sidecar=None)


class _Times:
    """When frames were done."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None
        self._last = (0, 0.0)

    def note(self, done: int) -> None:
        now = time.perf_counter()
        if self._first is None or done <= _WARM:
            self._first = done, now
        self._last = done, now

    @property
    def per_frame(self) -> float:
        """Seconds a frame, without the first ones."""
        if self._first is None:
            return 0.0
        return (self._last[1] - self._first[1]) / max(1, self._last[0] - self._first[0])


class _PeakMemory:
    """Watches how much memory the process holds in the `with` block; `most` is the most that was seen."""

    def __init__(self) -> None:
        self.most = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while True:
            self.most = max(self.most, process.memory_info().rss)
            if self._ended.wait(_POLL):
                return


def _size(count: int) -> str:
    """Write a number of bytes."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
