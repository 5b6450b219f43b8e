"""A film's segments spread over the workers of a cluster.

Each idle worker gets the next segment that waits, and the segment of a worker that died waits again. That is
all there is to know, for segments do not depend on each other, nor on who converts them.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from ...atomic import AtomicPath, write_error
from ...checks import InputError, one_line
from ...depth import BUILTIN, DepthFile
from ...video.writer import VideoWriter
from ..fillers import FillerConfig
from ..preview import MiddleSheet
from .cluster import Cluster, HiredWorker, Spread
from .folder import identify
from .plan import FilmPlan, Segment
from .sidecar import SceneSettings
from .source import FilmSource
from .worker import FilmTask, Finished, code_version

_LOGGER = logging.getLogger(__name__)

_TRIES = 3  # of a segment whose workers die
_POLL = 1.0  # s
_END = 15.0  # s in which workers end what they are at

OnPictures = Callable[[Segment, int], None]


def make_task(
    spread: Spread,
    source: FilmSource,
    plan: FilmPlan,
    settings: Sequence[SceneSettings],
    writer: VideoWriter,
    sheet: MiddleSheet,
) -> FilmTask:
    """Describe a film to workers.

    Args:
        spread: Where it is converted, and with which fillers.
        source: The film.
        plan: Its scenes.
        settings: What each scene is converted with.
        writer: The writer of the whole film, which is not open.
        sheet: What a worker is to draw the contact sheet for.
    """
    files = [source.path]
    config = replace(source.config, device=spread.cluster.device(source.config.device))
    if isinstance(source.depth, DepthFile):
        files += [path for path in (Path(source.depth.path),) if path.is_file()]
    else:  # what auto means here, it means there
        config = replace(config, depth=BUILTIN if source.depth is None else source.depth.spec.name)
    drawn = [scene for scene, own in zip(plan.scenes, settings, strict=True) if not own.skip]
    last = max((scene.first + scene.frames - 1 for scene in drawn), default=0)
    return FilmTask(
        path=source.path.absolute(),
        known_by={path.absolute(): identify(path) for path in files},
        info=source.info,
        config=config,
        plan=plan,
        settings=settings,
        fillers=dict.fromkeys(spread.fillers, FillerConfig()) if config.format == "rgbd" else spread.fillers,
        writer=writer,
        sheet_index=min(sheet.index, last) if sheet.is_wanted else None,
    )


def hand_out(
    cluster: Cluster,
    task: FilmTask,
    segments: Sequence[Segment],
    path_of: Callable[[Segment], Path],
    *,
    sheet: MiddleSheet,
    on_pictures: OnPictures,
) -> Generator[tuple[Segment, int], None, None]:
    """Convert segments, each to its file, on all workers at once.

    Args:
        cluster: Has the workers.
        task: The film.
        segments: What is to be converted.
        path_of: Tells the file of a segment.
        sheet: Takes the contact sheet, if a worker draws it.
        on_pictures: Called with a segment and how many of its pictures are done, 0 where it has to begin
            again; may raise to interrupt.

    Yields:
        Each segment when its file is whole, with the time of its first frame.

    Raises:
        InputError: If a worker refuses the film or is not of this version, or workers keep dying.
    """
    if not segments:
        return
    cluster.hire(len(segments), task.config.device)
    errors = cluster.ray.exceptions
    with ExitStack() as ending:
        desk = _Desk(cluster, task, segments, path_of, sheet, on_pictures)
        ending.callback(desk.stop)
        while desk.has_work:
            for ref in desk.next_refs():
                call = desk.calls.pop(ref)
                try:
                    done = desk.advance(ref, call)
                except errors.RayActorError as error:
                    desk.lose(call, error)
                except errors.RayTaskError as error:
                    call.discard()
                    raise _failure(error.cause, call.worker.host) from error
                else:
                    if done is not None:
                        yield done


class _Desk:
    """What waits, and what each worker is at; see `hand_out` for the arguments."""

    def __init__(
        self,
        cluster: Cluster,
        task: FilmTask,
        segments: Sequence[Segment],
        path_of: Callable[[Segment], Path],
        sheet: MiddleSheet,
        on_pictures: OnPictures,
    ) -> None:
        self._cluster, self._ray, self._sent = cluster, cluster.ray, cluster.ray.put(task)
        self._path_of, self._sheet, self._on_pictures = path_of, sheet, on_pictures
        self._waiting, self._idle = deque(segments), list[HiredWorker]()
        self._lost: Counter[int | None] = Counter()  # workers, by the segment that they were at
        self._most_lost = _TRIES * len(cluster.workers)
        self.calls: dict[Any, _Call] = {worker.describe(): _Call(worker) for worker in cluster.workers}

    @property
    def has_work(self) -> bool:
        """Whether a segment is not finished."""
        return bool(self._waiting) or any(call.segment is not None for call in self.calls.values())

    def next_refs(self) -> list[Any]:
        """Hand out what waits; return the calls of workers that have something to say."""
        while self._idle and self._waiting:
            worker, segment = self._idle.pop(), self._waiting.popleft()
            items = worker.handle.convert.options(num_returns="streaming").remote(segment)
            self.calls[items] = _Call(worker, segment, _Arrival(self._path_of(segment)))
        return self._ray.wait(list(self.calls), timeout=_POLL)[0]

    def advance(self, ref: Any, call: _Call) -> tuple[Segment, int] | None:
        """Take what a worker has to say; returns a segment that is finished by it."""
        if call.segment is None:
            if (said := self._ray.get(ref)) is not None:  # of `describe`, after which it begins
                call.worker.host, version = said
                check_version(call.worker.host, version)
                self.calls[call.worker.handle.begin.remote(self._sent)] = _Call(call.worker)
            else:
                self._idle.append(call.worker)
            return None
        assert call.arrival is not None
        try:
            item = self._ray.get(next(ref))
        except StopIteration:
            self._idle.append(call.worker)
            return call.segment, call.arrival.commit()
        self.calls[ref] = call
        if isinstance(item, int):
            self._on_pictures(call.segment, item)
        else:
            call.arrival.take(item)
            if isinstance(item, Finished) and item.sheet is not None:
                self._sheet.give(item.sheet)
        return None

    def lose(self, call: _Call, error: Any) -> None:
        """Let a segment wait again, whose worker has died, and let another one begin in its place.

        Raises:
            InputError: If it could not even begin, or too many have died.
        """
        call.discard()
        reason = one_line(error)
        if error.actor_init_failed:
            raise InputError(
                "spatialdreamer must be installed on each machine of the cluster, got a worker that cannot "
                f"begin ({reason:.300}); install it there"
            ) from error
        index = None if call.segment is None else call.segment.index
        self._lost[index] += 1
        _LOGGER.warning("ray: a worker on %s died, its work begins again (%.200s)", call.worker.host, reason)
        if self._lost[index] >= (self._most_lost if index is None else _TRIES):
            raise InputError(
                f"workers must survive, got {self._lost[index]} that died one after another ({reason:.300}); "
                "look into Ray's logs (is there enough memory?) and run the same command again, which goes "
                "on after what is finished"
            ) from error
        if call.segment is not None:
            self._waiting.appendleft(call.segment)
            self._on_pictures(call.segment, 0)
        self._cluster.replace(call.worker)
        self.calls[call.worker.describe()] = _Call(call.worker)

    def stop(self) -> None:
        """End what is being converted, where the work ends before the film is whole."""
        busy = [call for call in self.calls.values() if call.segment is not None]
        for call in busy:
            call.discard()
        if busy:
            self._ray.wait([call.worker.stop() for call in busy], num_returns=len(busy), timeout=_END)


class _Arrival:
    """The file of a segment, as its bytes come; it is whole or absent."""

    def __init__(self, path: Path) -> None:
        self._atomic = AtomicPath(path)
        self._file: BinaryIO | None = None
        self._finished: Finished | None = None

    def take(self, item: Finished | bytes) -> None:
        """Take what a worker gave.

        Raises:
            InputError: If it cannot be written.
        """
        try:
            if isinstance(item, Finished):
                self._finished = item
                self._atomic.__enter__()
                self._file = open(self._atomic.partial, "wb")
            else:
                assert self._file is not None, "`Finished` comes before all bytes"
                self._file.write(item)
        except OSError as error:
            raise write_error(self._atomic.path, error) from error

    def commit(self) -> int:
        """Give the file its name; returns the time of its first frame.

        Raises:
            InputError: If that fails.
        """
        assert self._finished is not None
        assert self._file is not None
        try:
            self._file.close()
            size = self._atomic.partial.stat().st_size
            assert size == self._finished.bytes, f"{size} bytes came of {self._finished.bytes}"
            self._atomic.commit()
        except OSError as error:
            raise write_error(self._atomic.path, error) from error
        finally:
            self._atomic.discard()
        return self._finished.first_pts

    def discard(self) -> None:
        """Leave nothing of it."""
        if self._file is not None:
            self._file.close()
        self._atomic.discard()


@dataclass(frozen=True)
class _Call:
    """What a worker is at: a segment, or to begin."""

    worker: HiredWorker
    segment: Segment | None = None
    arrival: _Arrival | None = None

    def discard(self) -> None:
        """Leave nothing of the segment."""
        if self.arrival is not None:
            self.arrival.discard()


def check_version(host: str, version: str) -> None:
    """Check that a worker's code is this process's.

    Args:
        host: Its machine.
        version: What `code_version` says there.

    Raises:
        InputError: If it is another one.
    """
    if version != (own := code_version()):
        raise InputError(
            f"spatialdreamer must be the same on each machine of the cluster, {own}, got {version} on "
            f"{host}; install the same there"
        )


def _failure(cause: BaseException, host: str) -> Exception:
    """Return what went wrong in a worker, with its machine."""
    if isinstance(cause, InputError):
        return InputError(f"{cause} (on {host})")
    return RuntimeError(f"{type(cause).__name__} on {host}: {one_line(cause)}")
