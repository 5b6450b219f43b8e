import ctypes
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

import spatialdreamer_core
from spatialdreamer_core.checks import InputError
from spatialdreamer_core.memory import (
    free_memory,
    is_out_of_memory,
    require_memory,
    run_once_more,
    run_within_memory,
    telling_of_memory,
    trim_heap,
)


def test_out_of_memory_is_told_from_other_errors():
    with pytest.raises(RuntimeError) as too_large:
        torch.empty(10**15)
    assert is_out_of_memory(too_large.value)
    with pytest.raises(RuntimeError) as too_wide:
        torch.zeros(2) + torch.zeros(3)
    assert not is_out_of_memory(too_wide.value)
    for text in (
        "CUDA out of memory. Tried to allocate 9.00 GiB.",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "UR error: UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY",
        "can't start new thread",
        "[Errno 11] Resource temporarily unavailable",
        "libtorch_cpu.so: failed to map segment from shared object",
        "Could not allocate tensor. There is not enough GPU video memory available!",
    ):
        assert is_out_of_memory(RuntimeError(text))


def halve(size):
    return size // 2 or None


def explain(size):
    return f"a frame must fit into memory, but it did not with {size}; use smaller frames"


def shorten(run, size, **options):
    return run_within_memory(run, size, smaller=halve, task="the work", explain=explain, **options)


def test_what_fits_runs_once(caplog):
    assert shorten(lambda size: [size], 8) == ([8], 8)
    assert caplog.text == ""


@pytest.mark.parametrize(
    "run_out",
    [
        lambda: torch.empty(10**15),
        lambda: bytearray(2**62),  # a MemoryError
        lambda: np.empty(2**55),  # a subclass of it
    ],
)
def test_what_does_not_fit_runs_at_ever_smaller_sizes_and_says_so(run_out, caplog):
    tried = []

    def run(size):
        tried.append(size)
        if size > 2:
            run_out()
        return -size

    assert shorten(run, 9, describe=lambda size: f"{size} frames") == (-2, 2)
    assert tried == [9, 4, 2]
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "the work ran out of memory with 9 frames: trying 4 frames"),
        ("WARNING", "the work ran out of memory with 4 frames: trying 2 frames"),
    ]


def test_what_never_fits_ends_in_the_sentence_of_the_smallest_size():
    with pytest.raises(InputError, match=r"it did not with 1; use smaller frames$") as raised:
        shorten(lambda size: torch.empty(10**15), 4)
    assert raised.value.__context__ is None, "it would hold the work's tensors"


def test_a_convolution_without_an_engine_may_have_lacked_room_and_else_stays_what_it_is():
    """torch says the same of a cuDNN that is broken, for which a smaller size does not help."""

    def run(size):
        tried.append(size)
        if size > least:
            raise RuntimeError("GET was unable to find an engine to execute this computation")
        return size

    for least, sizes in ((2, [8, 4, 2]), (0, [8, 4, 2, 1])):
        tried = []
        if least:
            assert shorten(run, 8) == (2, 2)
        else:
            with pytest.raises(RuntimeError, match="unable to find an engine"):
                shorten(run, 8)
        assert tried == sizes


def test_what_the_work_held_is_freed_before_it_runs_again():
    held = []

    def run(size):
        assert all(reference() is None for reference in held)
        tensor = torch.zeros(4)
        circle = [tensor]
        circle.append(circle)
        held.append(weakref.ref(tensor))
        if size > 1:
            torch.empty(10**15)

    shorten(run, 4)
    assert len(held) == 3


def test_trimming_returns_what_is_free_below_what_is_not():
    if os.name != "posix" or not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("another C library than glibc")

    process = psutil.Process()
    blocks = [
        np.ones(2**15, np.uint8) for _ in range(2**11)
    ]  # 64 MiB of blocks that are not mapped by themselves
    last = blocks[-1]
    full = process.memory_info().rss
    blocks.clear()
    trim_heap()
    assert process.memory_info().rss < full - 2**25
    assert last.all()


def test_nothing_else_retries_by_itself():
    root = Path(spatialdreamer_core.__file__).parent
    users = {file.name for file in root.rglob("*.py") if "release_cached_memory" in file.read_text()}
    assert users == {"memory.py"}


class Interrupted(Exception):
    """As ComfyUI's: no kind of RuntimeError."""


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        Interrupted(),
        InputError("not enough memory; take less"),
        RuntimeError("sizes of tensors must match"),
    ],
)
def test_interrupts_and_other_errors_end_the_work_at_once(error):
    tried = []

    def run(size):
        tried.append(size)
        raise error

    with pytest.raises(type(error)) as raised:
        shorten(run, 4)
    assert raised.value is error
    assert tried == [4]


def test_running_out_of_memory_is_told_with_a_remedy():
    with pytest.raises(InputError, match=r"memory must suffice for the work, got .*close other programs"):
        with telling_of_memory():
            torch.empty(10**15)
    for error in (InputError("not enough memory"), RuntimeError("broken")):
        with pytest.raises(type(error)) as caught, telling_of_memory():
            raise error
        assert caught.value is error


def test_free_memory_is_a_part_of_the_machines():
    assert 0 < free_memory(torch.device("cpu")) <= psutil.virtual_memory().total


def test_what_does_not_fit_is_refused_before_it_is_allocated():
    require_memory(1, what="a pixel", remedy="none")
    with pytest.raises(
        InputError, match=r"a photo of 9x9 needs about 1048576\.0 GB of memory, got .* free; shrink it"
    ):
        require_memory(2**50, what="a photo of 9x9", remedy="shrink it")


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="no such limits here")
def test_free_memory_respects_the_limits_of_the_process():
    code = (
        "import resource, torch; from spatialdreamer_core.memory import free_memory\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, resource.RLIM_INFINITY))\n"
        "print(free_memory(torch.device('cpu')))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(found.stdout) <= 2**28


def test_what_cannot_be_smaller_runs_once_more_with_room():
    calls, room = [], []

    def run():
        calls.append(len(room))
        if not room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "done"

    assert run_once_more(run, make_room=lambda: room.append(1)) == "done"
    assert calls == [0, 1]


@pytest.mark.parametrize("error", [MemoryError("all of it"), RuntimeError("shapes do not match")])
def test_a_second_failure_and_any_other_error_pass(error):
    calls = []

    def run():
        calls.append(1)
        raise error

    with pytest.raises(type(error)) as caught:
        run_once_more(run)
    assert caught.value is error
    assert len(calls) == (2 if isinstance(error, MemoryError) else 1)
