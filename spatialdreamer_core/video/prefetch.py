"""Run an iterator in a thread of its own, a few items ahead of its consumer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class _End:
    """The last thing that a thread hands over."""

    error: BaseException | None


_POLL_SECONDS = 0.1  # how often a blocked thread looks whether it should stop


def prefetch(items: Iterator[Item], *, ahead: int = 2) -> Generator[Item, None, None]:
    """Yield the items of an iterator that runs in a background thread.

    Closing the generator (also through an exception in the consumer) stops the thread, closes the iterator
    there and waits for it. An exception of the iterator is raised here.

    Args:
        items: The iterator; generators are closed in the thread when it ends.
        ahead: How many items may wait, which bounds the memory.
    """
    ready: queue.Queue[Item | _End] = queue.Queue(maxsize=ahead)
    stop = threading.Event()

    def put(value: Item | _End) -> None:
        while not stop.is_set():
            try:
                ready.put(value, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    break
        except BaseException as caught:
            error = caught
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
        put(_End(error))

    thread = threading.Thread(target=work, name="spatialdreamer-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            value = ready.get()
            if isinstance(value, _End):
                if value.error is not None:
                    raise value.error
                return
            yield value
    finally:
        stop.set()
        thread.join()
