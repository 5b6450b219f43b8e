"""Frames on the device, from their upload to their filling: how many at once, and what ends them.

The stages between run side by side, so several frames are on a GPU at the same time. If its memory runs out,
the frames before are finished first, torch's spare blocks are freed and the stage tries again; from then on
one frame is on its way at a time. If the device fails, the error names the frame.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import ParamSpec, TypeVar

import torch

from ..checks import InputError, one_line
from ..memory import DoesNotFit, is_out_of_memory, run_once_more
from .prefetch import POLL_SECONDS, Closed

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_LOGGER = logging.getLogger(__name__)
_FIRST = 6  # frames; fast fill fills one as it looks back for the first time
_FAILURES = (  # in lower case; what the driver says when it has lost the device, or a kernel has broken it
    *("cuda error", "cudnn_status_", "cublas_status_", "device-side assert", "launch failure", "device lost"),
    *("gpu is lost", "illegal memory access", "hip error", "triton error"),
)


class Flight:
    """Counts the frames on a device, and holds others back where its memory is short.

    Args:
        device: The device, for messages.
        narrow: Whether one frame at a time is on its way from the beginning.
        first: The number of the first frame in the film, from 0, for messages.
    """

    def __init__(self, device: torch.device | None = None, *, narrow: bool = False, first: int = 0) -> None:
        self._first = first
        self._device = device or torch.device("cpu")
        self._narrow = narrow
        self._entered = self._left = 0
        self._is_closed = False
        self._changed = threading.Condition()

    def enter(self) -> None:
        """Let a frame onto the device; wait, where memory is short, until no other one is on its way.

        The first frames come to a GPU one by one, too: Triton compiles kernels as they are first used, and is
        not made for several threads that do so at the same time.
        """
        with self._changed:
            while self._is_alone() and self._entered > self._left and not self._is_closed:
                self._changed.wait(POLL_SECONDS)
            if self._is_closed:
                raise Closed
            self._entered += 1

    def _is_alone(self) -> bool:
        """Tell whether one frame at a time is to be on its way."""
        return self._narrow or (self._device.type == "cuda" and self._left < _FIRST)

    def leave(self) -> None:
        """Note that the filler has taken a frame."""
        with self._changed:
            self._left += 1
            self._changed.notify_all()

    def close(self) -> None:
        """End all waiting."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def run(
        self,
        index: int,
        step: Callable[Parameters, Result],
        *arguments: Parameters.args,
        **options: Parameters.kwargs,
    ) -> Result:
        """Run a stage's work on a frame; once more, with more room, if the device's memory runs out.

        Args:
            index: The frame's number, from 0.
            step: The work; it must leave nothing half done when memory runs out.
            *arguments: Its arguments.
            **options: Its named arguments.

        Raises:
            InputError: If a single frame does not fit into the device's memory, or the device fails.
        """
        return self._run(index, partial(step, *arguments, **options), is_lack=_is_full_device)

    def run_in_portions(
        self,
        index: int,
        step: Callable[Parameters, Result],
        *arguments: Parameters.args,
        **options: Parameters.kwargs,
    ) -> Result:
        """Do as `run` for work that has already tried smaller portions, as models do (`run_within_memory`).

        Raises:
            InputError: As `run`; what the work itself says if its smallest portion does not fit alone.
        """

        def is_lack(error: BaseException) -> bool:
            return isinstance(error, DoesNotFit) or _is_full_device(error)

        return self._run(index, partial(step, *arguments, **options), is_lack=is_lack)

    def _run(
        self, index: int, step: Callable[[], Result], *, is_lack: Callable[[BaseException], bool]
    ) -> Result:
        """Run work on a frame, and once more with more room if `is_lack` says that it lacked some."""

        def work() -> Result:
            with self.naming(index):
                return step()

        try:
            return run_once_more(work, make_room=partial(self._make_room, index), is_lack=is_lack)
        except Exception as error:
            if not _is_full_device(error):
                raise
            raise InputError(
                f"a frame must fit into the memory of {self._device}, but frame {self._number(index)} does "
                f"not, alone ({one_line(error)}); close what else uses the GPU, choose device cpu, or make "
                "the video smaller first"
            ) from error

    @contextmanager
    def naming(self, index: int) -> Iterator[None]:
        """Name the frame at which the device fails.

        Raises:
            InputError: Instead of the driver's own error, or of one that comes from it.
        """
        try:
            yield
        except Exception as error:
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            if not _is_failed_device(cause) or is_out_of_memory(cause):
                raise
            raise InputError(
                f"the device must work to the end, but {self._device} failed at frame {self._number(index)} "
                f"({one_line(cause)}); restart the program, update the driver, or choose device cpu"
            ) from error

    def _number(self, index: int) -> int:
        """Return a frame's number in the film, from 1."""
        return self._first + index + 1

    def _make_room(self, index: int) -> None:
        """Wait until the frames before one have left."""
        with self._changed:
            if not self._narrow:
                _LOGGER.warning(
                    "%s ran out of memory at frame %d: from now on one frame at a time is on its way",
                    self._device,
                    self._number(index),
                )
            self._narrow = True
            while self._left < min(index, self._entered) and not self._is_closed:
                self._changed.wait(POLL_SECONDS)
            if self._is_closed:
                raise Closed


def _is_full_device(error: BaseException) -> bool:
    """Tell whether a device's own memory did not suffice; for main memory there is nothing to wait for."""
    is_of_device = isinstance(error, torch.OutOfMemoryError) or _is_failed_device(error)
    return is_of_device and is_out_of_memory(error)


def _is_failed_device(error: BaseException) -> bool:
    """Tell whether an error is a device's or its driver's."""
    if isinstance(error, getattr(torch, "AcceleratorError", ())):  # since torch 2.8
        return True
    return isinstance(error, RuntimeError) and any(saying in str(error).lower() for saying in _FAILURES)
