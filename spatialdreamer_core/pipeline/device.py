"""The device that a conversion runs on, and whether a film's frames fit into its memory."""

from __future__ import annotations

import logging

import torch

from ..checks import InputError
from ..fill.frame import fill_memory
from ..memory import free_memory

_LOGGER = logging.getLogger(__name__)

# Bytes a pixel of what lies on a GPU, see the fields of `Placed` and `Rendered`.
_PICTURE = 3 * 4 + 2 * 3 + 4  # as floats, as 16 bits, depth
_PLACED = _PICTURE + 4  # with disparity
_VIEW = 3 * 4 + 2 * 4  # an eye's: colours, holes, disparity
_PACKED = 2 * 2 * 3
_SCRATCH = 48  # of the stages before the filler: depth's edges take most
_WAITING = 4  # frames that fast fill holds, of which `fill_memory` counts but the view and the picture
_STAGES = 3  # in which a frame is at a time, beside the filler: placing, rendering, packing


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


def choose_place(device: torch.device, size: tuple[int, int], *, eyes: int) -> tuple[torch.device, bool]:
    """Choose where a film's views are rendered, by the memory of the GPU, and say so in the log.

    Args:
        device: Where they are wanted.
        size: (height, width) of a frame.
        eyes: How many views are rendered.

    Returns:
        The device, which is the CPU where not even one frame at a time fits into the whole GPU; and whether
        one frame at a time has to be on its way there.
    """
    if device.type != "cuda":
        return device, False
    free, total = free_memory(device), torch.cuda.mem_get_info(device)[1]
    peak, least = (estimate_peak(size, eyes=eyes, narrow=narrow) for narrow in (False, True))
    is_narrow = peak > free
    what = (
        f"{device}: frames of {size[1]}x{size[0]} take about {_gigabytes(least if is_narrow else peak)} at "
        f"the peak, {_gigabytes(free)} of {_gigabytes(total)} are free"
    )
    if least > total:
        _LOGGER.warning("%s: their views are rendered on the CPU", what)
        return torch.device("cpu"), False
    _LOGGER.info("%s%s", what, ": one frame at a time is on its way" if is_narrow else "")
    return device, is_narrow


def _gigabytes(size: int) -> str:
    """Write a number of bytes for people."""
    return f"{size / 2**30:.1f} GB"


def estimate_peak(size: tuple[int, int], *, eyes: int, narrow: bool) -> int:
    """Estimate how many bytes a film's frames take on a GPU at the peak, beside its models.

    Args:
        size: (height, width) of a frame.
        eyes: How many views are rendered.
        narrow: Whether one frame at a time is on its way to the filler.
    """
    between = 1 if narrow else 2  # frames in a stage, and waiting for the next one
    on_their_way = between * (_PLACED + (_STAGES - 1) * (_PICTURE + eyes * _VIEW) + _PACKED)
    a_pixel = on_their_way + _WAITING * (_PICTURE - 3 * 4) + _SCRATCH
    return size[0] * size[1] * a_pixel + eyes * fill_memory(*size, torch.float32)
