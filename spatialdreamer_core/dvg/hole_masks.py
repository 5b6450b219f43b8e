"""Flow-refined hole masks, Eq. 2 of SpatialDreamer.

A pixel of frame t is marked as a hole too if the pixel that the flow leads to was a hole in frame t-1 or t+1:

    m^t(p) = 1       if  sum over k in {t-1, t+1} of  m^k(p + w^k(p)) · C^k(p)  >= 1
    m^t(p)           else

with the flow w and its forward-backward confidence C. All masks are the original ones (one pass) and all
values binary, so the sum is an OR. The masks live in the rendered view, while the flow is known in the
source view: it is carried over with the same disparity that rendered the view.

What is seen in frame t and hidden in frame t-1 has no flow between them, so with true depth and flow the
equation adds next to nothing. It answers to the errors of estimated ones: masks that jump with the depth, and
flow blurred at outlines. With frame t-1 alone, masks grow half as much and change less: that is the default,
and the printed equation is `neighbours="eq2"`; `benchmarks.masks` has the figures. On CUDA
`hole_masks_triton.py` does the same.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import InputError, check_choice
from ..contracts import check_call, working_dtype
from ..flow import Flow, Motion
from ..flow.motion import check_flow, check_motion
from ..kernels import use_kernels
from .eyes import Eye
from .nonzero_pixels import nonzero_pixels
from .zbuffer import bring_motions, find_columns

NEIGHBOURS = ("previous", "eq2")
_OLDER_NAMES = {"both": "eq2"}  # of choices that saved workflows and scripts may hold


def refine_hole_mask(
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    flow: Flow,  # of the source view's F frames
    *,
    disparity: Tensor,  # [F, 1, H, W] px
    eye: Eye = "right",
    neighbours: Literal["previous", "eq2"] = "previous",
) -> Tensor:  # [F, 1, H, W]
    """Add to each frame's hole mask what its neighbours' masks show along the flow (Eq. 2 and its half).

    Args:
        hole: Hole masks of the rendered view.
        flow: The source view's flow.
        disparity: The disparity that rendered the view.
        eye: The rendered eye.
        neighbours: Frames whose masks are added: t-1 alone, or t-1 and t+1 as in Eq. 2. "both", the older
            name of "eq2", is still taken.

    Returns:
        Binary masks that contain the given ones, of their type.

    Raises:
        InputError: If an argument breaks its rule (`contracts.TABLE`), or the eye or `neighbours` is unknown.
    """
    neighbours = current_neighbours(neighbours)
    check_call("refine_hole_mask", hole=hole, disparity=disparity)
    check_flow(flow, like=hole)
    refined = []
    for t in range(len(hole)):
        motions = [flow.to_previous(t), flow.to_next(t) if neighbours == "eq2" else None]
        columns = find_columns(disparity[t : t + 1], eye=eye)
        carried = [
            (hole[k : k + 1], motion)
            for k, motion in zip((t - 1, t + 1), bring_motions(motions, columns), strict=True)
            if motion is not None
        ]
        refined.append(add_neighbours(hole[t : t + 1], carried))
    return torch.cat(refined)


def current_neighbours(neighbours: str) -> Literal["previous", "eq2"]:
    """Return the current name of a choice of `neighbours`.

    Raises:
        InputError: If there is none such.
    """
    name = _OLDER_NAMES.get(neighbours, neighbours) if isinstance(neighbours, str) else neighbours
    check_choice("neighbours", name, NEIGHBOURS)
    return "previous" if name == "previous" else "eq2"


def refine_one_mask(
    hole: Tensor,  # [1, 1, H, W]
    neighbours: list[tuple[Tensor, Motion]],  # each one's mask [1, 1, H, W], and the motion towards it
) -> Tensor:  # [1, 1, H, W]
    """Apply Eq. 2 to one frame, given its neighbours' masks and its motion towards each of them.

    The motion is that of the rendered view (`carry_motion`); it may be smaller than the masks.

    Raises:
        InputError: If a tensor breaks its rule (`contracts.TABLE`).
    """
    check_call("refine_one_mask", hole=hole)
    if not isinstance(neighbours, (tuple, list)):
        raise InputError(f"`neighbours` must be a list, got {type(neighbours).__name__}; give one, or []")
    for neighbour in neighbours:
        if not isinstance(neighbour, (tuple, list)) or len(neighbour) != 2:
            raise InputError(
                "`neighbours` must hold (mask, motion) for each of them, got "
                f"{type(neighbour).__name__}; give a tensor and a Motion each"
            )
        mask, motion = neighbour
        check_call("refine_one_mask: a neighbour", hole=hole, mask=mask)
        check_motion("motion", motion)
    return add_neighbours(hole, neighbours)


def add_neighbours(hole: Tensor, neighbours: list[tuple[Tensor, Motion]]) -> Tensor:
    """Like `refine_one_mask`, without checking its arguments."""
    refined = hole
    for mask, motion in neighbours:
        refined = _add_neighbour(refined, mask, motion)
    return refined if neighbours else (hole > 0.5).to(hole.dtype)


def _add_neighbour(hole: Tensor, mask: Tensor, motion: Motion) -> Tensor:
    """Add what one neighbour's mask shows along the flow; gives a binary mask."""
    if use_kernels(hole, mask, motion.flow, motion.confidence):
        from .hole_masks_triton import add_neighbour_triton, fits_kernel

        if fits_kernel(mask, motion):
            return add_neighbour_triton(hole, mask, motion)
    refined = (hole > 0.5).to(hole.dtype)
    row, column = _found_along_flow(mask, motion)
    refined[0, 0, row, column] = 1
    return refined


def _found_along_flow(
    mask: Tensor,  # [1, 1, H, W]
    motion: Motion,  # [h, w], px of its own size
) -> tuple[Tensor, Tensor]:  # two of [N] int64
    """Find the pixels, rows and columns, from which confident flow leads to a pixel of the mask.

    A look at the flow's own size, at a mask grown so that it misses nothing, leaves few pixels for a close
    look.
    """
    height, width = mask.shape[-2:]
    flow_height, flow_width = motion.flow.shape[-2:]
    # Half precision does not tell neighbouring columns apart.
    flow = motion.flow.detach().to(working_dtype(motion.flow))
    holes = mask[0, 0] > 0.5
    row, column = nonzero_pixels(holes)
    coarse = torch.zeros(flow_height, flow_width, dtype=torch.bool, device=mask.device)
    coarse[row * flow_height // height, column * flow_width // width] = True
    coarse = _grow(coarse)
    x = torch.arange(flow_width, device=mask.device) + flow[0]
    y = torch.arange(flow_height, device=mask.device)[:, None] + flow[1]
    cell_row, cell_column = nonzero_pixels(_look_up(coarse, x, y) & (motion.confidence[0] > 0.5))

    row, column, cell = _pixels_of(cell_row, cell_column, (height, width), (flow_height, flow_width))
    dx, dy = flow[:, cell_row[cell], cell_column[cell]]
    found = _look_up(holes, column + dx * (width / flow_width), row + dy * (height / flow_height))
    return row[found], column[found]


def _grow(mask: Tensor) -> Tensor:  # [h, w] bool
    """Add the eight neighbours of each pixel of a mask."""
    padded = F.pad(mask, (1, 1, 1, 1))
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]


def _pixels_of(
    cell_row: Tensor,  # [M]
    cell_column: Tensor,  # [M]
    size: tuple[int, int],
    cells: tuple[int, int],
) -> tuple[Tensor, Tensor, Tensor]:  # three of [N]
    """List the pixels of cells of a coarser grid: their rows and columns, and which cell each belongs to."""
    (height, width), (rows, columns) = size, cells
    step_y = torch.arange(-(-height // rows), device=cell_row.device).view(1, -1, 1)
    step_x = torch.arange(-(-width // columns), device=cell_row.device).view(1, 1, -1)
    row = -(-cell_row * height // rows).view(-1, 1, 1) + step_y
    column = -(-cell_column * width // columns).view(-1, 1, 1) + step_x
    row, column = torch.broadcast_tensors(row, column)
    belongs = (row < height) & (column < width)
    belongs = belongs & (row * rows // height == cell_row.view(-1, 1, 1))
    belongs = belongs & (column * columns // width == cell_column.view(-1, 1, 1))
    return row[belongs], column[belongs], belongs.nonzero()[:, 0]


def _look_up(mask: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Look up the pixel nearest to each position; outside of the frame the mask is False."""
    height, width = mask.shape
    x, y = x.round(), y.round()
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    index = torch.where(inside, y * width + x, x.new_zeros(())).long()
    return inside & mask.take(index)
