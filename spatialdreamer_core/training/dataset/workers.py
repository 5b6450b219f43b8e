"""Work shared among processes: begun by `spawn`, stopped together, ended with the one that began them."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from typing import Any, TypeVar

import cv2
import torch

from ...checks import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")
OnStep = Callable[[int], None]
MakeWorker = Callable[[OnStep], Any]

_POLL = 0.2  # s between two looks at how far the others are
_worker: Any = None  # of this process, where it is one of several


class Stop(BaseException):
    """The work of all processes ends here."""


def run_tasks(
    task: Callable[[Any, Item], Result],
    items: Sequence[Item],
    *,
    make_worker: MakeWorker,
    workers: int,
    on_progress: Callable[[int], None],
) -> Generator[tuple[Item, Result], None, None]:
    """Do a task for each item; yields each with its result, in any order.

    Closing the generator ends the work.

    With one worker the work is done here, else in processes of their own. Everything is done on one thread a
    process, so that the results do not depend on the number of either.

    Args:
        task: A function of a module, called with the process's worker and an item.
        items: What to work on.
        make_worker: Makes what a process keeps from one item to the next, such as its models. It is given
            what to call now and then during the work, with the number of things done since.
        workers: Number of processes.
        on_progress: Called now and then with the number of things done; may raise to interrupt, which all
            processes heed within a step.

    Raises:
        InputError: If a process was ended from outside. Whatever a task raises.
    """
    if not items:
        return
    if workers == 1 or len(items) == 1:
        yield from _run_here(task, items, make_worker, on_progress)
        return
    context = multiprocessing.get_context("spawn")
    counter, stop = context.Value("q", 0), context.Event()
    executor = ProcessPoolExecutor(
        min(workers, len(items)), context, initializer=_begin, initargs=(make_worker, counter, stop)
    )
    waiting: dict[Future[Result], Item] = {}
    try:
        with _no_interrupts():  # Ctrl-C is for this process: it tells the others
            for item in items:
                waiting[executor.submit(_run, task, item)] = item
        while waiting:
            finished, _ = wait(waiting, timeout=_POLL, return_when=FIRST_COMPLETED)
            on_progress(counter.value)
            for future in finished:
                yield waiting.pop(future), future.result()
    except BrokenProcessPool as error:
        raise InputError(
            "workers must be left to end by themselves, got one that was ended from outside, perhaps for "
            "want of memory; choose fewer workers and run it again: what is finished is kept"
        ) from error
    finally:
        stop.set()
        executor.shutdown(wait=True, cancel_futures=True)


def _run_here(
    task: Callable[[Any, Item], Result],
    items: Sequence[Item],
    make_worker: MakeWorker,
    on_progress: Callable[[int], None],
) -> Iterator[tuple[Item, Result]]:
    """Do the tasks in this process."""
    done = 0

    def on_step(count: int) -> None:
        nonlocal done
        done += count
        on_progress(done)

    with _one_thread():
        worker = make_worker(on_step)
        for item in items:
            yield item, task(worker, item)


def _begin(make_worker: MakeWorker, counter: Synchronized[int], stop: Event) -> None:
    """Begin a process."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def on_step(count: int) -> None:
        if stop.is_set():
            raise Stop
        if count:
            with counter.get_lock():
                counter.value += count

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    logging.disable(logging.WARNING)  # the process that began this one tells what there is to tell
    _worker = make_worker, on_step


def _run(task: Callable[[Any, Item], Result], item: Item) -> Result:
    """Do a task in a process of its own, which makes its worker before the first one."""
    global _worker
    if isinstance(_worker, tuple):
        make_worker, on_step = _worker
        _worker = make_worker(on_step)
    return task(_worker, item)


def _end_with_parent() -> None:
    """End this process when the one that began it has ended, however that was."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch and OpenCV work on one thread: sums and DIS flow depend on how many there are."""
    threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv2_threads)


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """Let processes that begin in the `with` block never see Ctrl-C, where signals can be blocked."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
