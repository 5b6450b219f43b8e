"""Threads of a chain: items that come a few at a time, in order, and what ends them."""

from __future__ import annotations

import threading
from itertools import chain, islice

import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.pipeline.prefetch import StageThreads, _Closed


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
    with pytest.raises(_Closed):
        threads.prefetch(iter([1]))
    assert threading.active_count() == before
