"""Memory: how much is free, whether work fits, and how running out of it is told from other errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil
import torch

from .checks import InputError, one_line

T = TypeVar("T")

_CGROUP = Path("/sys/fs/cgroup")  # a container's limit, which the machine's free memory does not show

_SAYINGS = (  # in lower case
    *("out of memory", "alloc_failed"),  # CUDA and MPS; cuBLAS and cuDNN
    *("not enough memory", "can't allocate memory"),  # the CPU
    *("insufficient memory", "cannot allocate memory", "bad_alloc"),  # OpenCV; the system and FFmpeg; C++
    *("failed to allocate", "unable to allocate"),  # OpenCV; NumPy
    *("can't start new thread", "resource temporarily unavailable"),  # threads of Python; of the encoders
    "failed to map segment",  # a library that does not fit into the limit
    *("out_of_device_memory", "not enough gpu video memory"),  # XPU; DirectML
)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error was raised because memory did not suffice, on any device, in any package."""
    return isinstance(error, MemoryError) or any(saying in str(error).lower() for saying in _SAYINGS)


def out_of_memory_error(error: BaseException) -> InputError:
    """Turn any package's error of not enough memory into the one for the user."""
    return InputError(
        f"memory must suffice for the work, got {one_line(error)!r}; close other programs, raise a limit "
        "that is set (ulimit -v, a container's), or convert a smaller picture"
    )


@contextmanager
def telling_of_memory() -> Iterator[None]:
    """Turn running out of memory in the `with` block, in whatever package, into one sentence with a remedy.

    Raises:
        InputError: Instead of the package's own error.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory_error(error) from error


def attempt(run: Callable[[], T]) -> T | None:
    """Return what a function returns, or None if memory did not suffice, with all that it held set free."""
    try:
        return run()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    # Only here is the error gone, whose traceback holds the function's tensors.
    release_cached_memory()
    return None


def free_memory(device: torch.device) -> int:
    """Return how many bytes can be allocated on a device; for others than CUDA's, main memory's."""
    if device.type != "cuda":
        return min(psutil.virtual_memory().available, *_room_below_limits())
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + cached


def release_cached_memory() -> None:
    """Give the blocks back that torch keeps on the GPU for later use."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def require_memory(needed: int, *, what: str, remedy: str, device: torch.device | None = None) -> None:
    """Check before an allocation that it fits into what is free.

    Args:
        needed: Bytes at the peak.
        what: What needs them, as the sentence's subject: "a photo of 20000x10000".
        remedy: What the user can do.
        device: Where they are needed; None: main memory.

    Raises:
        InputError: If it does not fit.
    """
    free = free_memory(device or torch.device("cpu"))
    if needed > free:
        raise InputError(
            f"{what} needs about {needed / 2**30:.1f} GB of memory, got {max(free, 0) / 2**30:.1f} GB free; "
            f"{remedy}"
        )


def _room_below_limits() -> list[int]:
    """List how many bytes this process may still take by the limits set for it or for its container."""
    process, room = psutil.Process(), []
    if hasattr(process, "rlimit"):  # Linux
        limit = process.rlimit(psutil.RLIMIT_AS)[0]
        if limit != psutil.RLIM_INFINITY:
            room.append(limit - process.memory_info().vms)
    limit_path = _CGROUP / "memory.max"
    if os.access(limit_path, os.R_OK) and (limit := limit_path.read_text().strip()).isdecimal():
        used = int((_CGROUP / "memory.current").read_text())
        room.append(int(limit) - used + _file_cache(_CGROUP / "memory.stat"))
    return room or [2**63]


def _file_cache(statistics: Path) -> int:
    """Return how many bytes of a container's memory are files' content that can be read again."""
    named = dict(line.split() for line in statistics.read_text().splitlines())
    return int(named.get("inactive_file", 0))
