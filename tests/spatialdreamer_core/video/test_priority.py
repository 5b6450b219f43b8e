"""Encoders leave the process's scheduling as it was."""

from __future__ import annotations

import os
import sys
import threading

import pytest
import torch

from spatialdreamer_core.video import write_clip
from spatialdreamer_core.video.priority import usual_priority

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these policies")


def policies():
    return {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}


def needs_root():
    if os.geteuid():
        pytest.skip("only root may make itself real-time")


@pytest.mark.parametrize("codec", ["av1", "libx264", "libx265", "vp9"])
def test_no_thread_comes_before_all_else_after_an_encoding(tmp_path, codec):
    """As root SVT-AV1 made the process real-time; browsers and servers that it started held the machine."""
    seen = []
    suffix = ".webm" if codec == "vp9" else ".mp4"
    frames = torch.rand(3, 3, 64, 64)
    write_clip(
        frames,
        tmp_path / f"clip{suffix}",
        frame_rate=24,
        codec=codec,
        on_frame=lambda _: seen.append(policies()),
    )
    assert seen == [{os.SCHED_OTHER}] * 3
    assert policies() == {os.SCHED_OTHER}


def test_threads_that_were_real_time_before_stay_so():
    needs_root()
    done, found, ready = threading.Event(), [], threading.Event()

    def work():
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        ready.set()
        done.wait(10)
        found.append(os.sched_getscheduler(0))

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait(10)
    with usual_priority():
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    done.set()
    thread.join()
    assert found == [os.SCHED_RR]
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
