"""Whether a model gives numbers, asked without waiting for its device."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import InputError


class FiniteCheck:
    """Checks that the model gives numbers, on CUDA one step late: the device need not wait to be asked."""

    def __init__(self) -> None:
        self._asked: tuple[Tensor, torch.cuda.Event] | None = None

    def ask(self, clean: Tensor) -> None:
        """Check a step's estimate, or the one before it.

        Raises:
            InputError: If it is not finite.
        """
        finite = clean.isfinite().all()
        if clean.device.type != "cuda":
            _check_finite(bool(finite))
            return
        with torch.cuda.device_of(clean):
            answer = torch.empty((), dtype=torch.bool, pin_memory=True)
            answer.copy_(finite, non_blocking=True)
            copied = torch.cuda.Event()
            copied.record()
        self.answer()
        self._asked = answer, copied

    def answer(self) -> None:
        """Check the estimate that was asked about last.

        Raises:
            InputError: If it is not finite.
        """
        if self._asked is not None:
            answer, copied = self._asked
            self._asked = None
            copied.synchronize()
            _check_finite(bool(answer))


def _check_finite(finite: bool) -> None:
    """Check that the model gave numbers."""
    if not finite:
        raise InputError(
            "the UNet must give finite latents, got NaN or infinity; load the model in another precision "
            "(bf16 or fp32), or check its weights"
        )
