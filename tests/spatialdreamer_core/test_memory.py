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
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB."))


def test_an_attempt_gives_none_when_memory_does_not_suffice():
    assert attempt(lambda: 3) == 3
    assert attempt(lambda: torch.empty(10**15)) is None
    with pytest.raises(RuntimeError, match="size of tensor"):
        attempt(lambda: torch.zeros(2) + torch.zeros(3))


def test_free_memory_is_a_part_of_the_machines():
    assert 0 < free_memory(torch.device("cpu")) <= psutil.virtual_memory().total
