import subprocess
import sys

import psutil
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.memory import (
    attempt,
    free_memory,
    is_out_of_memory,
    require_memory,
    telling_of_memory,
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
        "UR error: UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY",
        "can't start new thread",
        "[Errno 11] Resource temporarily unavailable",
        "libtorch_cpu.so: failed to map segment from shared object",
        "Could not allocate tensor. There is not enough GPU video memory available!",
    ):
        assert is_out_of_memory(RuntimeError(text))


def test_an_attempt_gives_none_when_memory_does_not_suffice():
    assert attempt(lambda: 3) == 3
    assert attempt(lambda: torch.empty(10**15)) is None
    with pytest.raises(RuntimeError, match="size of tensor"):
        attempt(lambda: torch.zeros(2) + torch.zeros(3))


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
