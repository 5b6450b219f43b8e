"""The device that a conversion runs on."""

from __future__ import annotations

import torch

from ..checks import InputError


def choose_device(name: str) -> torch.device:
    """Resolve "auto", and check that a device is one of those that the stages run on and is there.

    Raises:
        InputError: If it is not.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    there = ["cpu", *(["cuda"] if count else []), *(f"cuda:{index}" for index in range(count))]
    if name not in there:
        raise InputError(
            f"device must be auto or one that is supported and in this machine ({', '.join(there)}), "
            f"got {name!r}; use auto"
        )
    return torch.device(name)
