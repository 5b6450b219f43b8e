import pytest
import torch

from spatialdreamer_core.memory import is_out_of_memory


def test_out_of_memory_is_told_from_other_errors():
    with pytest.raises(RuntimeError) as too_large:
        torch.empty(10**15)
    assert is_out_of_memory(too_large.value)
    with pytest.raises(RuntimeError) as too_wide:
        torch.zeros(2) + torch.zeros(3)
    assert not is_out_of_memory(too_wide.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB."))
