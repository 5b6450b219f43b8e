"""A frame of fast fill: estimates first, then what other frames show of the background.

Where Triton runs, `fast_triton.py` does all of it in a few launches; elsewhere torch does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..contracts import working_dtype
from ..dvg.eyes import Eye
from ..dvg.interleaved import Pixels, zero_interleaved
from ..dvg.nonzero_pixels import above
from ..flow import Motion
from ..kernels import use_kernels
from .filler import RenderedFrame
from .hole_runs import find_runs
from .search import BackgroundSearch, SeenFrame
from .spatial import fill_from_background
from .texture import add_texture


def fill_frame(
    frame: RenderedFrame,
    following: Sequence[tuple[Motion, RenderedFrame]],
    memory: SeenFrame | None,
    *,
    eye: Eye,
    texture: float,
    overwrite: bool,
) -> tuple[Tensor, SeenFrame | None]:  # [3, H, W] in [0, 1] or uint8, as the frame
    """Fill a frame.

    Args:
        frame: The frame.
        following: The later frames that can be looked into, each with the motion towards it.
        memory: The frame before, filled.
        eye: The rendered eye.
        texture: Share of the background's texture that estimates take on.
        overwrite: Whether the frame's own tensors are filled.

    Returns:
        The filled frame, and what is remembered of it; None if its disparity is unknown.
    """
    if _kernels_fill(frame, following, memory):
        from .fast_triton import fill_frame_triton as fill
    else:
        fill = fill_frame_torch
    return fill(frame, following, memory, eye=eye, texture=texture, overwrite=overwrite)


def fill_frame_torch(
    frame: RenderedFrame,
    following: Sequence[tuple[Motion, RenderedFrame]],
    memory: SeenFrame | None,
    *,
    eye: Eye,
    texture: float,
    overwrite: bool,
) -> tuple[Tensor, SeenFrame | None]:  # [3, H, W] in [0, 1] or uint8, as the frame
    """Do as `fill_frame`; the readable twin of `fill_frame_triton`.

    A frame of bytes stays one. Its colours are brought to floats at hole pixels alone, from 0 to 255.
    """
    hole = frame.hole[0] if frame.hole.dtype == torch.bool else above(frame.hole[0], 0.5)
    dtype, copied = working_dtype(frame.warped), not overwrite
    is_bytes = frame.warped.dtype == torch.uint8
    filled = frame.warped.to(frame.warped.dtype if is_bytes else dtype, copy=copied)
    disparity = None if frame.disparity is None else frame.disparity[0].to(dtype, copy=copied)
    runs = find_runs(hole, disparity, eye=eye)
    real, rest = ~hole, zero_interleaved(*hole.shape) if is_bytes else None
    if len(runs.row):
        index = torch.add(runs.column, runs.row, alpha=hole.shape[1])
        pixels = Pixels(filled)
        pixels.copy(index, torch.add(runs.source, runs.row, alpha=hole.shape[1]))
        colour = fill_from_background(filled, hole, runs)
        if texture > 0:
            colour = add_texture(colour, filled, runs, strength=texture)
        if disparity is not None:
            search = BackgroundSearch(runs, disparity, colour)
            if frame.to_previous is not None and memory is not None:
                search.look_back(memory, frame.to_previous)
            search.look_ahead(following)
            colour = search.colour
            real[runs.row, runs.column] = search.found
        if rest is not None:
            rounded = colour.round().clamp_(0, 255)
            left_over = colour.sub_(rounded).mul_(256).round_().clamp_(-128, 127)
            Pixels(rest).write(index, left_over.to(torch.int8))
            colour = rounded.to(torch.uint8)
        pixels.write(index, colour)
    if disparity is not None:
        disparity[runs.row, runs.column] = runs.disparity.to(disparity.dtype)
    seen = None if disparity is None else SeenFrame(filled, disparity, real, rest)
    if filled.dtype == frame.warped.dtype:
        return filled, seen
    return frame.warped.copy_(filled) if overwrite else filled.to(frame.warped.dtype), seen


def fill_memory(height: int, width: int, dtype: torch.dtype) -> int:
    """Estimate the bytes that a stream of fast fill needs on a GPU at its peak, while it fills a frame.

    Counted are the frames that wait, the one that is filled, what is remembered of the one before, and the
    kernels' scratch memory, which suffices for any holes; not flow, which may be smaller than frames.

    Args:
        height: Of the frames.
        width: Of the frames.
        dtype: Of the frames.
    """
    pixels, runs = height * width, height * ((width + 1) // 2)
    rendered = (3 + 3 + 1 + 1) * dtype.itemsize  # bytes a pixel: left, warped, hole, disparity
    seen = 3 * 4 + 4 + 1  # colour, disparity, real
    result = 0 if dtype == torch.float32 else 3 * dtype.itemsize
    lists = 1 + 4 + 4 + 3 * 4  # `DeviceRuns`: marks, run_at, pixel; colours
    pyramid = 4 / 3  # four values of four bytes at each sixteenth pixel, and a third of it for coarser levels
    bytes_a_run = (6 + 2) * 4  # `DeviceRuns`, `Moved`
    return round(pixels * (4 * rendered + 2 * seen + result + lists + pyramid)) + runs * bytes_a_run


def _kernels_fill(
    frame: RenderedFrame, following: Sequence[tuple[Motion, RenderedFrame]], memory: SeenFrame | None
) -> bool:
    """Tell whether kernels can fill a frame; they compute in float32."""
    frames = [frame, *(other for _, other in following)]
    tensors = [part for each in frames for part in (each.warped, each.hole, each.disparity)]
    return (
        use_kernels(*tensors, *(memory or ()))
        and working_dtype(frame.warped) == torch.float32
        and frame.warped.dtype != torch.uint8
        and frame.warped.numel() < 2**31
    )
