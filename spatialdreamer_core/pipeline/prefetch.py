"""Run iterators in threads of their own, a few items ahead of their consumers.

The stages of a film are such iterators, each in the thread of the next but one. An error in any of them ends
all of them: a thread that went on while the interpreter ends would abort the process.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")

_POLL_SECONDS = 0.5  # on Windows a wait without an end cannot be interrupted by Ctrl-C


@dataclass(frozen=True)
class _End:
    """The last thing that a thread hands over."""

    error: BaseException | None


class _Closed(BaseException):
    """The channel is closed: the work is over. No `Exception`, so that no stage catches it as an error."""


class _Channel(Generic[Item]):
    """A queue of bounded length that can be closed from either side."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[Item] = deque()
        self._is_closed = False
        self._changed = threading.Condition()

    def put(self, item: Item) -> None:
        with self._changed:
            while len(self._items) >= self._size and not self._is_closed:
                self._changed.wait(_POLL_SECONDS)
            if self._is_closed:
                raise _Closed
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> Item:
        return self.get_some(1)[0]

    def get_some(self, most: int) -> list[Item]:
        """Wait for an item; return it with those behind it that are there, too."""
        with self._changed:
            while not self._items and not self._is_closed:
                self._changed.wait(_POLL_SECONDS)
            if self._is_closed:
                raise _Closed
            items = [self._items.popleft() for _ in range(min(most, len(self._items)))]
            self._changed.notify_all()
            return items

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._items.clear()
            self._changed.notify_all()


class StageThreads:
    """The threads of a chain of iterators; use it in a `with` statement.

    Leaving it stops them all, whichever waits for which, closes their iterators there and waits for them.
    """

    def __init__(self) -> None:
        self._channels: list[_Channel] = []
        self._threads: list[threading.Thread] = []
        self._is_stopped = False
        self._lock = threading.Lock()
        _LIVING.add(self)

    def __enter__(self) -> StageThreads:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the threads and wait for them; consumers in other threads end, too."""
        with self._lock:
            self._is_stopped = True
        with ExitStack() as stack:
            for thread in self._threads:
                stack.callback(_join, thread)  # each, even if a second interrupt ends the wait for another
            for channel in self._channels:
                channel.close()

    def prefetch(self, items: Iterator[Item], *, ahead: int = 2) -> Iterator[Item]:
        """Run an iterator in a thread of its own; returns its items, and raises what it raises.

        Args:
            items: The iterator; generators are closed in the thread when it ends.
            ahead: How many items may wait, which bounds the memory.
        """
        return chain.from_iterable(self.prefetch_some(items, ahead=ahead, most=1))

    def prefetch_some(self, items: Iterator[Item], *, ahead: int, most: int) -> Iterator[list[Item]]:
        """Run an iterator in a thread of its own; returns as many of its items at a time as wait.

        Args:
            items: As for `prefetch`.
            ahead: As for `prefetch`.
            most: How many items come at a time at most; there is always one.
        """
        return _take(self._start(items, ahead), most)

    def _start(self, items: Iterator[Item], ahead: int) -> _Channel[Item | _End]:
        """Start a thread that runs an iterator; return where its items arrive."""
        channel: _Channel[Item | _End] = _Channel(ahead)
        thread = threading.Thread(
            target=_hand_over, args=(items, channel), name="spatialdreamer-prefetch", daemon=True
        )
        with self._lock:
            if self._is_stopped:  # while a stage was about to start a thread of its own
                raise _Closed
            self._channels.append(channel)
            self._threads.append(thread)
            thread.start()
        return channel


def prefetch(items: Iterator[Item], *, ahead: int = 2) -> Generator[Item, None, None]:
    """Yield the items of an iterator that runs in a background thread.

    Closing the generator (also through an exception in the consumer) stops the thread, closes the iterator
    there and waits for it. An exception of the iterator is raised here.

    Args:
        items: The iterator; generators are closed in the thread when it ends.
        ahead: How many items may wait, which bounds the memory.
    """
    with StageThreads() as threads:
        yield from threads.prefetch(items, ahead=ahead)


_LIVING: weakref.WeakSet[StageThreads] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """Stop the threads when the interpreter ends, such as a server's that is closed during a conversion."""
    for threads in list(_LIVING):
        threads.stop()


def _hand_over(items: Iterator[Item], channel: _Channel[Item | _End]) -> None:
    """Do the work of a thread."""
    error: BaseException | None = None
    try:
        try:
            for item in items:
                channel.put(item)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
    except _Closed:
        return
    except BaseException as caught:
        error = caught
    try:
        channel.put(_End(error))
    except _Closed:
        pass
    finally:
        del error  # its traceback holds this frame, and with it all that the stages hold


def _take(channel: _Channel[Item | _End], most: int) -> Iterator[list[Item]]:
    """Yield what a thread hands over, some at a time, and raise its error."""
    while True:
        values = channel.get_some(most)
        items = [value for value in values if not isinstance(value, _End)]
        if items:
            yield items
        end = values[-1]
        if isinstance(end, _End):
            if end.error is None:
                return
            try:
                raise end.error
            finally:
                del end, values


def _join(thread: threading.Thread) -> None:
    """Wait for a thread, in a way that can be interrupted on Windows."""
    while thread.is_alive():
        thread.join(_POLL_SECONDS)
