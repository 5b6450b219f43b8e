"""Keeps an encoder from putting itself before everything else of the machine.

SVT-AV1 run by root, as in most containers, gives its threads and the one that opens it Linux's real-time
policy SCHED_FIFO at its highest priority (seen with the libsvtav1 of PyAV 18). All that is started from there
inherits it, and the rest of the machine stands still until the encoding ends.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

_THREADS = "/proc/self/task"  # of this process, a folder each


@contextlib.contextmanager
def usual_priority() -> Iterator[None]:
    """Let what runs inside change no scheduling: its threads get that of the one that began it.

    On systems other than Linux nothing is done.
    """
    if sys.platform != "linux":
        yield
        return
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    before = _policies()
    try:
        yield
    finally:
        for thread, now in _policies().items():
            if now != before.get(thread, policy):
                with contextlib.suppress(OSError):  # it has ended meanwhile
                    os.sched_setscheduler(thread, policy, parameter)


def _policies() -> dict[int, int]:
    """Return the scheduling policy of each of the process's threads, as far as the system shows them."""
    found = {}
    with contextlib.suppress(OSError):
        for name in os.listdir(_THREADS):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                found[int(name)] = os.sched_getscheduler(int(name))
    return found
