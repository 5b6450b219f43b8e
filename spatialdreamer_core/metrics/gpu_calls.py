"""What a call asks of a CUDA GPU: kernels to run, copies to the host, and waits of the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

_CALL = "the call whose work on the GPU is counted"
_WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize", "cudaDeviceSynchronize", "cudaMemcpy")


class GpuCalls(NamedTuple):
    """How often a call did what costs the host time."""

    launches: int  # of kernels, those that fill memory among them
    downloads: int  # copies from the GPU
    waits: int  # of the host
    busy: float  # ms that the GPU's work took, one piece after another


def count_gpu_calls(call: Callable[[], object]) -> GpuCalls:
    """Run a call under torch's profiler and count; run it before, so that its kernels are compiled."""
    with (
        profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler,
        record_function(_CALL),
    ):
        call()
    events = list(profiler.events() or [])
    on_gpu = [event for event in events if event.device_type == DeviceType.CUDA and event.name != _CALL]
    on_host = [event for event in events if event.device_type == DeviceType.CPU]
    span = next(event.time_range for event in on_host if event.name == _CALL)
    # The profiler waits for the GPU itself, but after the call.
    waits = [e for e in on_host if e.name in _WAITS and span.start <= e.time_range.start <= span.end]
    return GpuCalls(
        launches=sum(not event.name.startswith("Memcpy") for event in on_gpu),
        downloads=sum(event.name.startswith("Memcpy DtoH") for event in on_gpu),
        waits=len(waits),
        busy=sum(event.time_range.elapsed_us() for event in on_gpu) / 1000,
    )
