"""Memory: how much is free, whether work fits, and what happens when it runs out.

Whatever can be done in smaller portions goes through `run_within_memory`, what can wait for room through
`run_once_more`; what can do neither ends in one sentence.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil
import torch

from .checks import InputError, one_line

Size = TypeVar("Size")
Result = TypeVar("Result")

_LOGGER = logging.getLogger(__name__)

_CGROUP = Path("/sys/fs/cgroup")  # a container's limit, which the machine's free memory does not show

_SAYINGS = (  # in lower case
    *("out of memory", "alloc_failed", "allocation_failed"),  # CUDA and MPS; cuBLAS and cuDNN; cuDNN 9
    *("not enough memory", "can't allocate memory"),  # the CPU
    *("insufficient memory", "cannot allocate memory", "bad_alloc"),  # OpenCV; the system and FFmpeg; C++
    *("failed to allocate", "unable to allocate"),  # OpenCV; NumPy
    *("can't start new thread", "resource temporarily unavailable"),  # threads of Python; of the encoders
    "failed to map segment",  # a library that does not fit into the limit
    *("out_of_device_memory", "not enough gpu video memory"),  # XPU; DirectML
)
_UNSURE = "unable to find an engine"  # torch, where no convolution of cuDNN has room, or none can run at all


class DoesNotFit(InputError):
    """Memory did not suffice for the smallest portion of some work, which left nothing half done."""


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


def run_within_memory(
    run: Callable[[Size], Result],
    size: Size,
    *,
    smaller: Callable[[Size], Size | None],
    task: str,
    describe: Callable[[Size], str] = str,
    explain: Callable[[Size], str] | None,
) -> tuple[Result, Size]:
    """Run work at a size, and at ever smaller ones as long as memory does not suffice.

    The work starts anew at each size, after all that it held has been freed. Errors other than running out
    of memory pass through, and so do interrupts.

    Args:
        run: Does the work at a size.
        size: To begin with.
        smaller: Returns the size to try after one that did not fit, or None if there is none.
        task: What runs, for the log: "decoding".
        describe: Says what a size is, for the log: "3 frames at once".
        explain: Makes the sentence for the user, with a remedy, when that size was the smallest. None lets
            the error itself pass through, for a caller that has smaller portions of its own. So does one that
            may have another cause than memory.

    Returns:
        The result, and the size that it was made at.

    Raises:
        DoesNotFit: If the smallest size does not fit either.
    """
    while True:
        try:
            return run(size), size
        except (RuntimeError, MemoryError) as error:
            unsure = _UNSURE in str(error)
            if not (unsure or is_out_of_memory(error)):
                raise
            if (unsure or explain is None) and smaller(size) is None:
                raise
        # Only here is the error gone, whose traceback holds the work's tensors.
        release_cached_memory()
        next_size = smaller(size)
        if next_size is None:
            assert explain is not None, size
            raise DoesNotFit(explain(size))
        _LOGGER.warning("%s ran out of memory with %s: trying %s", task, describe(size), describe(next_size))
        size = next_size


def run_once_more(
    run: Callable[[], Result],
    *,
    make_room: Callable[[], None] | None = None,
    is_lack: Callable[[BaseException], bool] = is_out_of_memory,
) -> Result:
    """Run work that has no smaller portions, and once more if memory did not suffice.

    Args:
        run: Does the work; it must leave nothing half done when memory runs out.
        make_room: Called before the second time, such as to wait until others have finished.
        is_lack: Tells which errors are of the memory in question.
    """
    try:
        return run()
    except (RuntimeError, MemoryError, DoesNotFit) as error:
        if not is_lack(error):
            raise
    # Only here is the error gone, whose traceback holds the work's tensors.
    if make_room is not None:
        make_room()
    release_cached_memory()
    return run()


def free_memory(device: torch.device) -> int:
    """Return how many bytes can be allocated on a device; for others than CUDA's, main memory's."""
    if device.type != "cuda":
        return min(psutil.virtual_memory().available, *_room_below_limits())
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + cached


def release_cached_memory() -> None:
    """Free what only circles of references hold, and the blocks that torch keeps on GPUs for later use."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        torch.xpu.empty_cache()


def trim_heap() -> None:
    """Return main memory that is free within the process to the system, where the C library is glibc.

    glibc has a heap for each of several threads and keeps what is freed there. Where short-lived threads do
    the same work again and again, as a film's segments do, each heap grows to what the largest needed.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


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
