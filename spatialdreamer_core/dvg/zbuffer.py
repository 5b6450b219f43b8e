"""A z-buffer along rows: which source pixel is seen in front at each pixel of a rendered view.

Of the pixels that land on one column, the one with the largest disparity is in front. For the right eye
(x' = x - d) that is the one with the largest x, for the left eye the one with the smallest: a single
scatter-reduce of the source column, with no sorting and no second buffer. On CUDA `zbuffer_triton.py` does
the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..contracts import check_call, working_dtype
from ..flow import Motion
from ..flow.motion import check_motion
from ..kernels import use_kernels
from ..remapping import can_remap, pick, row_numbers
from .eyes import Eye, eye_sign

NO_SOURCE = -1


def source_columns(
    disparity: Tensor,  # [F, 1, H, W] px
    *,
    eye: Eye = "right",
) -> Tensor:  # [F, 1, H, W] int64
    """Find the source column seen at each pixel of a rendered view, `NO_SOURCE` where nothing lands.

    A source pixel lands on both columns around its target, as in `forward_warp`.

    Raises:
        InputError: If the disparity breaks its rule (`contracts.TABLE`) or the eye is unknown.
    """
    check_call("source_columns", disparity=disparity)
    return find_columns(disparity, eye=eye)


def find_columns(disparity: Tensor, *, eye: Eye = "right") -> Tensor:
    """Like `source_columns`, without checking its arguments."""
    sign, disparity = eye_sign(eye), disparity.detach()
    if use_kernels(disparity):
        from .zbuffer_triton import find_columns_triton

        return find_columns_triton(disparity, sign=sign)
    frames, _, height, width = disparity.shape
    column = torch.arange(width, device=disparity.device, dtype=torch.int32)
    target = (column + sign * disparity.to(working_dtype(disparity))).clamp(-1, width)
    # Mirrored for the left eye, so that the frontmost source is the largest number there too.
    rank = (column if sign < 0 else width - 1 - column).expand(frames, 1, height, width)
    front = torch.full((frames, 1, height, width + 2), NO_SOURCE, dtype=torch.int32, device=disparity.device)
    for landed in (target.floor(), target.ceil()):
        front.scatter_reduce_(-1, landed.long() + 1, rank, "amax")
    front = front[..., 1 : width + 1].long()
    return front if sign < 0 else torch.where(front == NO_SOURCE, NO_SOURCE, width - 1 - front)


def gather_columns(
    values: Tensor,  # [F, C, H, W]
    columns: Tensor,  # [F, 1, H, W] int64, as `source_columns` gives
) -> Tensor:  # [F, C, H, W]
    """Bring values of the source view into the rendered view; 0 where there is no source.

    Raises:
        InputError: If an argument breaks its rule (`contracts.TABLE`).
    """
    check_call("gather_columns", values=values, columns=columns)
    return take_columns(values, columns)


def take_columns(values: Tensor, columns: Tensor) -> Tensor:
    """Like `gather_columns`, without checking its arguments."""
    if use_kernels(values, columns):
        from .zbuffer_triton import take_columns_triton

        return take_columns_triton(values, columns)
    if can_remap(values) and columns.shape[-2] == values.shape[-2]:
        return _take_by_opencv(values, columns)
    padded = F.pad(values, (1, 0))  # `NO_SOURCE` becomes the column of zeros
    return padded.gather(-1, (columns + 1).expand(-1, values.shape[1], -1, -1))


def _take_by_opencv(values: Tensor, columns: Tensor) -> Tensor:
    """Do so by OpenCV, in half of torch's time: at `NO_SOURCE` it reads 0, as all about the frame."""
    taken = values.new_empty(*values.shape[:2], *columns.shape[-2:])
    rows = row_numbers(*columns.shape[-2:])
    for planes, at, results in zip(values, columns.float(), taken, strict=True):
        for plane, result in zip(planes, results, strict=True):
            pick(plane, at[0].numpy(), rows, out=result)
    return taken


def carry_motion(
    motion: Motion,  # of the source view
    columns: Tensor,  # [1, 1, H, W] int64, as `source_columns` gives
) -> Motion:
    """Bring one frame's motion from the source view into the rendered one; 0 where there is no source.

    Raises:
        InputError: If an argument breaks its rule (`contracts.TABLE`).
    """
    check_motion("motion", motion)
    check_call(
        "carry_motion", motion__flow=motion.flow, motion__confidence=motion.confidence, columns=columns
    )
    return bring_motion(motion, columns)


def bring_motion(motion: Motion, columns: Tensor) -> Motion:
    """Like `carry_motion`, without checking its arguments; the result is on the device of `columns`."""
    (carried,) = bring_motions([motion], columns)
    assert carried is not None
    return carried


def bring_motions(motions: Sequence[Motion | None], columns: Tensor) -> list[Motion | None]:
    """Do as `bring_motion` for a frame's motions towards its neighbours, None where there is none.

    On CUDA that is one launch for two of them.
    """
    there = [motion.to(columns.device) for motion in motions if motion is not None]
    parts = [part for motion in there for part in (motion.flow, motion.confidence)]
    of_one_type = len({motion.flow.dtype for motion in there}) == 1
    if of_one_type and len(there) <= 2 and use_kernels(columns, *parts):
        from .zbuffer_triton import bring_motions_triton

        carried = iter(bring_motions_triton(there, columns))
    else:
        carried = (_bring(motion, columns) for motion in there)
    return [None if motion is None else next(carried) for motion in motions]


def _bring(motion: Motion, columns: Tensor) -> Motion:
    """Bring one motion, which is on the device of `columns`."""
    parts = (motion.flow, motion.confidence.to(motion.flow.dtype))
    return Motion(*(take_columns(part[None], columns)[0] for part in parts))
