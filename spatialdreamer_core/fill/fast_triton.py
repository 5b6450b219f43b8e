"""A frame of fast fill as GPU kernels: some two dozen launches, and the host waits for none of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..dvg.eyes import Eye
from ..flow import Motion
from .filler import RenderedFrame
from .hole_runs_triton import BLOCK, DeviceRuns, find_runs_triton
from .pyramid_triton import pull_push_triton, pyramid_values
from .search import SeenFrame
from .search_triton import Moved, follow_triton, look_up_triton
from .spatial_triton import estimate_triton, extend_triton
from .texture_triton import add_texture_triton


def fill_frame_triton(
    frame: RenderedFrame,
    following: Sequence[tuple[Motion, RenderedFrame]],
    memory: SeenFrame | None,
    *,
    eye: Eye,
    texture: float,
    overwrite: bool,
) -> tuple[Tensor, SeenFrame | None]:  # [3, H, W] in [0, 1]
    """Do as `fill_frame`.

    All memory is taken before anything is written: a frame that does not fit is left as it was.
    """
    height, width = frame.hole.shape[-2:]
    device = frame.warped.device
    scratch = _Scratch.allocate(height, width, device)
    runs, colour = scratch.runs, scratch.colour
    view = frame.warped.to(torch.float32, copy=not overwrite).contiguous()
    disparity = None
    if frame.disparity is not None:
        disparity = frame.disparity[0].to(torch.float32, copy=not overwrite).contiguous()
    real = torch.empty(height, width, dtype=torch.bool, device=device)
    hole = frame.hole[0].contiguous()
    filled = view
    if frame.warped.dtype != view.dtype or (overwrite and view is not frame.warped):
        filled = frame.warped if overwrite else torch.empty_like(frame.warped)
    memory = None if memory is None else SeenFrame(*(part.contiguous() for part in memory[:3]))
    back = None if memory is None or frame.to_previous is None else _on(device, frame.to_previous)
    towards = [_on(device, motion) for motion, _ in following]
    ahead = [_seen_ahead(other) for _, other in following]

    with torch.cuda.device_of(view):
        find_runs_triton(runs, hole, disparity, real, eye=eye)
        extend_triton(view, runs)
        pull_push_triton(view, runs, scratch.pyramid)
        estimate_triton(colour, view, runs, scratch.pyramid)
        if texture > 0:
            add_texture_triton(colour, view, runs, strength=texture)
        if disparity is not None:
            if back is not None:
                assert memory is not None
                follow_triton(scratch.moved, runs, disparity, [back])
                look_up_triton(colour, real, runs, scratch.moved, memory[:3], ahead=False)
            for i, seen in enumerate(ahead):
                if seen is None:
                    break
                follow_triton(scratch.moved, runs, disparity, towards[: i + 1])
                look_up_triton(colour, real, runs, scratch.moved, seen, ahead=True)
        _write[(runs.pixel_programs,)](
            view,
            view if disparity is None else disparity,
            colour,
            runs.run_at,
            runs.pixel,
            runs.disparity,
            runs.counts,
            height * width,
            disparity is not None,
            BLOCK,
        )
    if filled is not view:
        filled.copy_(view)
    return filled, None if disparity is None else SeenFrame(view, disparity, real)


class _Scratch(NamedTuple):
    """What is needed while a frame is filled."""

    runs: DeviceRuns
    colour: Tensor  # [3, P] float32, of the hole pixels
    pyramid: Tensor  # see `pull_push_triton`
    moved: Moved

    @classmethod
    def allocate(cls, height: int, width: int, device: torch.device) -> _Scratch:
        """Make room for a frame of any holes."""
        runs = DeviceRuns.allocate(height, width, device)
        colour = torch.empty(3, height * width, device=device)
        return cls(
            runs, colour, torch.empty(pyramid_values(height, width), device=device), Moved.allocate(runs)
        )


def _on(device: torch.device, motion: Motion) -> Motion:
    """Bring a motion to a device, without waiting for it."""
    parts = (motion.flow.contiguous(), motion.confidence.contiguous())
    return Motion(*(p if p.device == device else p.pin_memory().to(device, non_blocking=True) for p in parts))


def _seen_ahead(frame: RenderedFrame) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return what a later frame shows: view, disparity and holes; None if its disparity is unknown."""
    if frame.disparity is None:
        return None
    return frame.warped.contiguous(), frame.disparity[0].contiguous(), frame.hole[0].contiguous()


@triton.jit
def _write(
    view: tl.tensor,  # [3, H, W], changed
    disparity: tl.tensor,  # [H, W] px, changed
    colour: tl.tensor,  # [3, P]
    run_at: tl.tensor,  # [H, W]
    pixels: tl.tensor,  # [P]
    background: tl.tensor,  # [R] px
    counts: tl.tensor,  # [2]
    plane: tl.tensor,
    WITH_DISPARITY: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Write the colours of hole pixels, and their background's disparity."""
    count = tl.load(counts)
    for start in range(tl.program_id(0) * BLOCK, count, tl.num_programs(0) * BLOCK):
        at = start + tl.arange(0, BLOCK)
        exists = at < count
        pixel = tl.load(pixels + at, mask=exists, other=0)
        for channel in tl.static_range(3):
            found = tl.load(colour + channel * plane + at, mask=exists, other=0.0)
            tl.store(view + channel * plane + pixel, found, mask=exists)
        if WITH_DISPARITY:
            run = tl.load(run_at + pixel, mask=exists, other=0)
            tl.store(disparity + pixel, tl.load(background + run, mask=exists, other=0.0), mask=exists)
