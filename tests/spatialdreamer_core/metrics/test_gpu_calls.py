import pytest
import torch

from spatialdreamer_core.metrics.gpu_calls import count_gpu_calls


@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_work_on_the_cpu_asks_nothing_of_a_gpu():
    calls = count_gpu_calls(lambda: float(torch.ones(8).sum()))
    assert calls == (0, 0, 0, 0.0)


@pytest.mark.gpu
def test_launches_downloads_and_waits_are_told_apart():
    values = torch.rand(1 << 20, device="cuda")
    values.add(1).nonzero()
    assert count_gpu_calls(lambda: values.add(1))[:3] == (1, 0, 0)
    assert count_gpu_calls(lambda: torch.zeros_like(values)).launches == 1
    calls = count_gpu_calls(lambda: values[0].item())
    assert calls.downloads == 1
    assert calls.waits >= 1
    assert count_gpu_calls(values.nonzero).waits >= 1
    assert count_gpu_calls(lambda: values.add(1)).busy > 0
