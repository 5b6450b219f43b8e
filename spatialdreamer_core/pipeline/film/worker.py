"""A worker on another machine or GPU: it gets a film's task once, then segments, and gives back their files.

It knows nothing of what brings these to it (`cluster`). A worker loads its models once, whatever films it
converts, and needs film and weights at the same paths as the process that hands out the work. The finished
segment is sent back, so the output folder need not be shared.
"""

from __future__ import annotations

import hashlib
import socket
import tempfile
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from ... import __version__
from ...checks import InputError
from ...fill import Filler
from ...flow import FlowEstimator, open_flow
from ...memory import trim_heap
from ...video.probe import VideoInfo
from ...video.writer import VideoWriter
from ..clock import StageClock
from ..config import ConvertConfig
from ..depth_source import DepthSource, choose_depth
from ..device import choose_device
from ..fillers import FillerConfig
from ..preview import MiddleSheet
from .folder import identify
from .plan import FilmPlan, Segment
from .segment import PREVIEW_EVERY, SegmentWork
from .sidecar import SceneSettings
from .source import FilmSource

_BLOCK = 2**24  # bytes of a file that are sent at once
_SEEN_AGAIN = "changed_ns"  # a copy of the film on another machine may have another time of change
_PATIENCE = 10.0  # s in which a worker ends what it is at


@dataclass(frozen=True)
class FilmTask:
    """A film, and what it is converted with; another process can be sent it.

    Attributes:
        path: The film.
        known_by: What `identify` says of each file that is read, by its path.
        info: What `probe` says of the film.
        config: The settings, whose device and depth are the worker's.
        plan: The film's scenes.
        settings: What each scene is converted with.
        fillers: How the filler of a name is loaded; None is the film's.
        writer: The writer of the whole film, which is not open.
        sheet_index: Of which frame a contact sheet is drawn; None: of none.
    """

    path: Path
    known_by: Mapping[Path, Mapping[str, Any]]
    info: VideoInfo
    config: ConvertConfig
    plan: FilmPlan
    settings: Sequence[SceneSettings]
    fillers: Mapping[str | None, FillerConfig]
    writer: VideoWriter
    sheet_index: int | None = None


@dataclass(frozen=True)
class Finished:
    """What precedes the bytes of a finished segment.

    Attributes:
        first_pts: The time of its first frame, in units of the film's time base.
        bytes: Size of its file.
        sheet: The contact sheet if it was drawn, [H, W, 3] uint8.
    """

    first_pts: int
    bytes: int
    sheet: np.ndarray | None


class _Stopped(Exception):
    """The work is not wanted any more."""


class FilmWorker:
    """Converts segments of one film after another."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._is_idle = threading.Event()
        self._is_idle.set()
        self._fillers: dict[str, Filler] = {}
        self._depth: dict[str, DepthSource] = {}
        self._flow: dict[str, FlowEstimator] = {}

    def describe(self) -> tuple[str, str]:
        """Return the name of the machine, and what its spatialdreamer is known by."""
        return socket.gethostname(), code_version()

    def begin(self, task: FilmTask) -> None:
        """Take a film, and load what its segments need.

        Raises:
            InputError: If a file is not here or another one, or a model cannot be loaded.
        """
        self._stopped.clear()
        for path, known in task.known_by.items():
            _check_same(path, known)
        config, device = task.config, choose_device(task.config.device)
        source = FilmSource(
            *(task.path, task.info, config, device), depth=self._load_depth(config), clock=StageClock()
        )
        if config.flow not in self._flow:
            self._flow[config.flow] = open_flow(config.flow, device=device)

        def load(name: str | None) -> Filler:
            filling = task.fillers[name]
            key = repr((filling.filler, sorted(filling.options.items())))
            if key not in self._fillers:
                self._fillers[key] = filling.load(device=device, on_wait=self._check)
            return self._fillers[key]

        load(None)
        sheet_path = None if task.sheet_index is None else Path("sheet.png")  # which is only drawn
        self._sheet = MiddleSheet(sheet_path, index=task.sheet_index or 0)
        self._work = SegmentWork(
            *(source, task.plan, task.settings, self._flow[config.flow], load, task.writer, self._sheet)
        )

    def convert(self, segment: Segment) -> Iterator[int | Finished | bytes]:
        """Convert a segment.

        Yields:
            Now and then the number of its pictures that are done; then `Finished` and the bytes of its file,
            if it was not stopped.
        """
        self._is_idle.clear()
        try:
            with tempfile.TemporaryDirectory(prefix="spatialdreamer_") as folder:
                path = Path(folder) / f"segment{self._work.writer.part_suffix}"
                with suppress(_Stopped):
                    first_pts = yield from self._counted(segment, path)
                    sheet = self._sheet.drawn
                    self._sheet.give(None)
                    yield Finished(first_pts, path.stat().st_size, sheet)
                    with open(path, "rb") as file:
                        while block := file.read(_BLOCK):
                            yield block
        finally:
            trim_heap()
            self._is_idle.set()

    def stop(self) -> None:
        """End what is being converted, and leave nothing of it on the disk; another thread may call it."""
        self._stopped.set()
        self._is_idle.wait(_PATIENCE)

    def _counted(self, segment: Segment, path: Path) -> Generator[int, None, int]:
        """Convert a segment in another thread; yields the pictures done, returns the first one's time."""
        counts: SimpleQueue[int | None] = SimpleQueue()

        def on_frame(number: int, shown: np.ndarray | None) -> None:
            self._check()
            if number % PREVIEW_EVERY == 1:
                counts.put(number)

        def work() -> int:
            try:
                return self._work.convert(segment, path, on_frame=on_frame)
            finally:
                counts.put(None)

        with ThreadPoolExecutor(1) as thread:
            made = thread.submit(work)
            try:
                while (number := counts.get()) is not None:
                    yield number
            except GeneratorExit:
                self._stopped.set()
                raise
            return made.result()

    def _check(self) -> None:
        """End the work if it is not wanted any more."""
        if self._stopped.is_set():
            raise _Stopped

    def _load_depth(self, config: ConvertConfig) -> DepthSource:
        """Open the depth file, or load the model, unless that has been done."""
        device = choose_device(config.device)
        if config.depth_file is not None:
            return choose_depth(config, None, device)
        if config.depth not in self._depth:
            self._depth[config.depth] = choose_depth(config, None, device)
        return self._depth[config.depth]


def code_version() -> str:
    """Return the version of spatialdreamer, and a checksum of its code, which may differ all the same."""
    root, digest = Path(__file__).parents[2], hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode())
        digest.update(file.read_text("utf-8").encode())  # however lines end on that machine
    return f"{__version__} ({digest.hexdigest()[:8]})"


def _check_same(path: Path, known: Mapping[str, Any]) -> None:
    """Check that a file is here, and is the one that is meant.

    Raises:
        InputError: If not.
    """
    where = "put it onto a folder that all machines share, or copy it to the same path on each"
    try:
        here = identify(path)
    except OSError as error:
        raise InputError(
            f"input must be readable on each machine of the cluster, got {error.strerror!r} for {path}; "
            f"{where}"
        ) from error
    if any(here[name] != value for name, value in known.items() if name != _SEEN_AGAIN):
        raise InputError(f"input must be the same file on each machine, got another one at {path}; {where}")
