"""Run iterators in threads of their own, a few items ahead of their consumers.

The stages of a film are such iterators, each in the thread of the next but one. An error in any of them ends
all of them: a thread that went on while the interpreter ends would abort the process.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, cycle, islice
from types import TracebackType
from typing import Generic, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

POLL_SECONDS = 0.5  # on Windows a wait without an end cannot be interrupted by Ctrl-C


@dataclass(frozen=True)
class _End:
    """The last thing that a thread hands over."""

    error: BaseException | None


class Closed(BaseException):
    """The channel is closed: the work is over. No `Exception`, so that no stage catches it as an error."""


class Closable(Protocol):
    """What threads wait at, until it is closed; then it raises `Closed`."""

    def close(self) -> None:
        """End all waiting."""


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
                self._changed.wait(POLL_SECONDS)
            if self._is_closed:
                raise Closed
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> Item:
        return self.get_some(1)[0]

    def get_some(self, most: int) -> list[Item]:
        """Wait for an item; return it with those behind it that are there, too."""
        with self._changed:
            while not self._items and not self._is_closed:
                self._changed.wait(POLL_SECONDS)
            if self._is_closed:
                raise Closed
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
        self._channels: list[Closable] = []
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

    def add(self, closable: Closable) -> None:
        """Close something with the chain, at which its threads may wait."""
        self._channels.append(closable)

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
        (channel,) = self._start(items, ahead)
        return _take(channel, most)

    def map(
        self, function: Callable[[Item], Result], items: Iterator[Item], *, workers: int
    ) -> Iterator[Result]:
        """Apply a function to items in several threads; results, and errors, come in the order of the items.

        Args:
            function: It may run in several threads at the same time.
            items: The iterator runs in a thread of its own.
            workers: How many threads; each has at most three items on their way.
        """
        results = []
        for channel in self._start(items, 1, channels=workers):
            work = map(function, chain.from_iterable(_take(channel, 1)))
            results.append(self.prefetch(work, ahead=1))
        return _in_turn(results)

    def _start(self, items: Iterator[Item], ahead: int, *, channels: int = 1) -> list[_Channel[Item | _End]]:
        """Start a thread that runs an iterator; return where its items arrive, in turn."""
        created: list[_Channel[Item | _End]] = [_Channel(ahead) for _ in range(channels)]
        thread = threading.Thread(
            target=_hand_over, args=(items, created), name="spatialdreamer-prefetch", daemon=True
        )
        with self._lock:
            if self._is_stopped:  # while a stage was about to start a thread of its own
                raise Closed
            self._channels.extend(created)
            self._threads.append(thread)
            thread.start()
        return created


class NoThreads(StageThreads):
    """Runs each iterator where its items are taken, and no further than it is asked for."""

    def prefetch(self, items: Iterator[Item], *, ahead: int = 2) -> Iterator[Item]:
        """Return the items as they are."""
        return items

    def prefetch_some(self, items: Iterator[Item], *, ahead: int, most: int) -> Iterator[list[Item]]:
        """Return the items one by one."""
        return ([item] for item in items)

    def map(
        self, function: Callable[[Item], Result], items: Iterator[Item], *, workers: int
    ) -> Iterator[Result]:
        """Apply a function to the items."""
        return map(function, items)


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


def _hand_over(items: Iterator[Item], channels: list[_Channel[Item | _End]]) -> None:
    """Do the work of a thread: its items go to the channels in turn."""
    error: BaseException | None = None
    turns = cycle(channels)
    try:
        try:
            for item in items:
                next(turns).put(item)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
    except Closed:
        return
    except BaseException as caught:
        error = caught
    try:
        for channel in islice(turns, len(channels)):
            channel.put(_End(error))  # an error comes where the next item would have come
            error = None
    except Closed:
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


def _in_turn(results: list[Iterator[Result]]) -> Iterator[Result]:
    """Yield one item of each iterator, again and again, until one ends."""
    for iterator in cycle(results):
        try:
            result = next(iterator)
        except StopIteration:
            return
        yield result


def _join(thread: threading.Thread) -> None:
    """Wait for a thread, in a way that can be interrupted on Windows."""
    while thread.is_alive():
        thread.join(POLL_SECONDS)
