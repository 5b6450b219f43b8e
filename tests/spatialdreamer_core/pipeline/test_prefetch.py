"""Threads of a chain: items that come a few at a time, in order, and what ends them."""

from __future__ import annotations

import itertools
import threading
import time
from itertools import chain, islice

import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.pipeline.prefetch import Closed, StageThreads


def paced(count, told):
    """Items that wait until they are told to come."""
    for index in range(count):
        told.acquire()
        yield index


def test_as_many_items_come_as_wait():
    with StageThreads() as threads:
        told = threading.Semaphore(1)
        groups = threads.prefetch_some(paced(7, told), ahead=3, most=3)
        assert next(groups) == [0], "one that is there does not wait for others"
        told.release(6)
        rest = []
        while len(rest) < 6:
            group = next(groups)
            assert 1 <= len(group) <= 3
            rest += group
        assert rest == list(range(1, 7))
        assert list(groups) == []


def test_an_error_comes_after_the_items_before_it():
    def source():
        yield from range(3)
        raise InputError("broken")

    with StageThreads() as threads:
        items = chain.from_iterable(threads.prefetch_some(source(), ahead=8, most=8))
        assert list(islice(items, 3)) == [0, 1, 2]
        with pytest.raises(InputError, match="broken"):
            next(items)


def test_nothing_starts_once_all_are_stopped():
    """A stage that starts a thread of its own may come too late."""
    before = threading.active_count()
    threads = StageThreads()
    threads.stop()
    with pytest.raises(Closed):
        threads.prefetch(iter([1]))
    assert threading.active_count() == before


def test_several_threads_give_results_in_the_order_of_the_items():
    running, most, lock = set(), [0], threading.Lock()

    def work(index):
        with lock:
            running.add(index)
            most[0] = max(most[0], len(running))
        time.sleep(0.005 * (index % 3))
        with lock:
            running.remove(index)
        return index * index

    with StageThreads() as threads:
        assert list(threads.map(work, iter(range(40)), workers=3)) == [t * t for t in range(40)]
        assert list(threads.map(work, iter([]), workers=3)) == []
    assert 1 < most[0] <= 3


@pytest.mark.parametrize("breaks", ["items", "work"])
def test_an_error_of_several_threads_comes_in_its_turn_and_ends_all(breaks):
    before = threading.active_count()

    def items():
        yield from range(7)
        if breaks == "items":
            raise InputError("broken")
        yield from itertools.count(7)

    def work(index):
        if breaks == "work" and index == 7:
            raise InputError("broken")
        return index

    with StageThreads() as threads:
        results = threads.map(work, items(), workers=3)
        assert list(islice(results, 7)) == list(range(7))
        with pytest.raises(InputError, match="broken"):
            next(results)
    assert threading.active_count() == before


def test_several_threads_run_a_few_items_ahead_and_can_be_stopped():
    taken = []

    def endless():
        for index in itertools.count():
            taken.append(index)
            yield index

    with StageThreads() as threads:
        results = threads.map(lambda index: index, endless(), workers=2)
        assert next(results) == 0
        time.sleep(0.1)
        assert len(taken) <= 1 + 2 * 3 + 1
