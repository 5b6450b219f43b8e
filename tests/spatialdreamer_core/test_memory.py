import psutil
import pytest
import torch

from spatialdreamer_core.memory import attempt, free_memory, is_out_of_memory


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
        "Could not allocate tensor. There is not enough GPU video memory available!",
    ):
        assert is_out_of_memory(RuntimeError(text))


def test_an_attempt_gives_none_when_memory_does_not_suffice():
    assert attempt(lambda: 3) == 3
    assert attempt(lambda: torch.empty(10**15)) is None
    with pytest.raises(RuntimeError, match="size of tensor"):
        attempt(lambda: torch.zeros(2) + torch.zeros(3))


def test_free_memory_is_a_part_of_the_machines():
    assert 0 < free_memory(torch.device("cpu")) <= psutil.virtual_memory().total
