"""Noise that is there when it is needed: drawn by threads ahead of its use, sent without a wait.

The numbers come from the CPU, frame by frame, so that they are the same on every device (`frame_noise`).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from .schedule import frame_noise


class FrameNoise:
    """The noise of a film's frames.

    Args:
        seed: Seed of the run, 0 or larger.
        height: Of the noise.
        width: Of the noise.
        channels: Of the noise.
        stream: Number of an independent noise of the same seed.
    """

    def __init__(self, seed: int, *, height: int, width: int, channels: int = 4, stream: int = 0) -> None:
        self._draw = functools.partial(
            frame_noise, seed, height=height, width=width, channels=channels, stream=stream
        )
        self._drawing: dict[int, Future[Tensor]] = {}  # by frame

    def draw_ahead(self, frames: Iterable[int]) -> None:
        """Begin to draw the noise of some frames, and forget what was drawn ahead of others."""
        self._drawing = {
            frame: self._drawing[frame] if frame in self._drawing else _threads().submit(self._draw, (frame,))
            for frame in frames
        }

    def take(
        self,
        frames: Iterable[int],
        device: torch.device,
    ) -> Tensor:  # [F, C, h, w] float32
        """Return the noise of some frames, drawn ahead or now, on a device that need not wait for it.

        Args:
            frames: Absolute indices of the frames.
            device: Where it is wanted.
        """
        self.draw_ahead(frames)  # what is not drawn yet
        drawing, self._drawing = self._drawing.values(), {}
        noise = torch.cat([frame.result() for frame in drawing])
        if device.type != "cuda":
            return noise.to(device)
        return noise.pin_memory().to(device, non_blocking=True)


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Return the threads that draw; more are of no use beside a device's work."""
    return ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1), thread_name_prefix="noise")
