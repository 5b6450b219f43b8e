"""Frames on their way to the device that views are rendered on, and back, so that nobody waits on the way.

A frame goes up once, as it was decoded, and comes down once, packed. On a GPU both go through pinned memory
and a CUDA stream of their own: a copy runs while the stages work on other frames, the device waits for it by
an event, and the host only for what comes down, one frame later. Pinned memory is torch's: it takes a block
again when the copy is done and nobody holds it, so there are no more blocks than frames on their way. Where
views are rendered on the CPU nothing moves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Item = TypeVar("Item")


@dataclass(frozen=True)
class Arrival:
    """What comes down from the device."""

    values: Tensor  # in main memory, whole once `event` has come
    event: torch.cuda.Event | None = None

    def wait(self) -> Tensor:
        """Wait until it is there; other threads go on meanwhile."""
        if self.event is not None:
            self.event.synchronize()
        return self.values


class Transfer:
    """The way between main memory and a device which is the CPU: there is none.

    Attributes:
        is_remote: Whether the device has memory of its own.
        delay: How many frames that come down are on their way at the same time.
    """

    is_remote = False
    delay = 0

    def up(self, values: np.ndarray | Tensor) -> Tensor:
        """Bring values to the device; 16-bit ones arrive as `torch.uint16`."""
        return values if isinstance(values, Tensor) else torch.from_numpy(np.ascontiguousarray(values))

    def down(self, values: Tensor) -> Arrival:
        """Bring values to main memory; those that are there stay."""
        return Arrival(values)


class CudaTransfer(Transfer):
    """The way to a GPU and back; each thread has its own.

    Args:
        device: The GPU.
    """

    is_remote = True
    delay = 1

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def up(self, values: np.ndarray | Tensor) -> Tensor:
        """Bring values to the GPU, where what follows waits for them and the host does not."""
        given = super().up(values)
        if given.device.type != "cpu":
            return given.to(self._device, non_blocking=True)
        pinned = torch.empty(given.shape, dtype=given.dtype, pin_memory=True).copy_(given)
        working = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            arrived = pinned.to(self._device, non_blocking=True)
        working.wait_stream(self._stream)
        arrived.record_stream(working)
        return arrived

    def down(self, values: Tensor) -> Arrival:
        """Begin to bring values to main memory, once the device has made them."""
        if values.device.type == "cpu":
            return Arrival(values)
        values = values.contiguous()
        pinned = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        event = torch.cuda.Event(blocking=True)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            pinned.copy_(values, non_blocking=True)
            event.record(self._stream)
        values.record_stream(self._stream)
        return Arrival(pinned, event)


def open_transfer(device: torch.device) -> Transfer:
    """Open the way to a device."""
    return CudaTransfer(device) if device.type == "cuda" else Transfer()


def delayed(items: Iterator[Item], count: int) -> Iterator[Item]:
    """Yield items, each when so many after it have begun."""
    begun: deque[Item] = deque()
    for item in items:
        begun.append(item)
        if len(begun) > count:
            yield begun.popleft()
    yield from begun
