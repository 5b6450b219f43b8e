"""Forward warp: one view rendered from the other by disparity, with the mask of what it could not see.

A stretched surface leaves cracks, gaps of a pixel or two between neighbours that belong together, which are
bridged (`cracks.py`); a disocclusion leaves a hole. A foreground takes along what it covers of the pixel
after its trailing edge (`outlines.py`). `rows.py` renders the rest; on a GPU `warp_triton.py` does all of it
in one kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..contracts import check_call, working_dtype
from ..kernels import use_kernels
from .eyes import Eye, eye_sign
from .rows import warp_rows

STRIP_PIXELS = 1 << 18  # rows are warped on the CPU in strips of about this many pixels


def forward_warp(
    image: Tensor,  # [F, 3, H, W] in [0, 1]
    disparity: Tensor,  # [F, 1, H, W] px
    *,
    eye: Eye = "right",
    on_frame: Callable[[int], None] | None = None,
) -> tuple[Tensor, Tensor]:  # [F, 3, H, W] in [0, 1], [F, 1, H, W]
    """Render the view of one eye from a video and its disparity.

    Args:
        image: The source view.
        disparity: Distance that each pixel moves, pixels of the current width; larger is nearer.
        eye: The eye to render: "right" moves pixels by -d, "left" by +d.
        on_frame: Called with the number of finished frames; may raise to interrupt.

    Returns:
        The rendered view, black in its holes, and the hole mask: 1 = nothing landed here, 0 = known. Both
        have the image's type, and are computed in float32 where that is shorter.

    Raises:
        InputError: If an argument breaks its rule (`contracts.TABLE`) or the eye is unknown.
    """
    check_call("forward_warp", image=image, disparity=disparity)
    warped, hole, _ = warp_frames(image, disparity, eye=eye, on_frame=on_frame)
    return warped, hole


def forward_warp_with_disparity(
    image: Tensor,  # [F, 3, H, W] in [0, 1]
    disparity: Tensor,  # [F, 1, H, W] px
    *,
    eye: Eye = "right",
    on_frame: Callable[[int], None] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # [F, 3, H, W] in [0, 1], [F, 1, H, W], [F, 1, H, W] px
    """Like `forward_warp`, but also return the disparity that is seen at each pixel of the view.

    Returns:
        The rendered view, its hole mask, and its disparity, 0 in holes, of the type of `disparity`.

    Raises:
        InputError: If an argument breaks its rule (`contracts.TABLE`) or the eye is unknown.
    """
    check_call("forward_warp_with_disparity", image=image, disparity=disparity)
    return warp_frames(image, disparity, eye=eye, on_frame=on_frame)


def warp_frames(
    image: Tensor,  # [F, 3, H, W] in [0, 1]
    disparity: Tensor,  # [F, 1, H, W] px
    *,
    eye: Eye = "right",
    widen: bool = True,
    on_frame: Callable[[int], None] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # [F, 3, H, W] in [0, 1], [F, 1, H, W], [F, 1, H, W] px
    """Like `forward_warp_with_disparity`, without checking its arguments.

    `widen` is that of `warp_rows`. On a GPU with Triton, without gradients, the host waits for nothing, and
    `on_frame` is called when a frame's work is on its way.
    """
    sign = eye_sign(eye)
    if _fits_kernel(image, disparity):
        from .warp_triton import warp_frames_triton

        return warp_frames_triton(image, disparity, sign=sign, widen=widen, on_frame=on_frame)
    dtype = working_dtype(image)
    warped = torch.empty_like(image)
    hole = warped.new_empty(len(image), 1, *image.shape[-2:])
    seen = torch.empty_like(hole, dtype=disparity.dtype)
    for t in range(len(image)):
        for part in _strips(image):
            colour, moved = image[t, :, part].to(dtype), disparity[t, :, part].to(dtype)
            in_place = dtype == warped.dtype and not colour.requires_grad and not moved.requires_grad
            out = warped[t, :, part] if in_place else None
            seen_out = seen[t, :, part] if in_place and dtype == seen.dtype else None
            view, hole[t, :, part], found = warp_rows(
                colour, moved, sign=sign, widen=widen, out=out, seen_out=seen_out
            )
            if out is None:
                warped[t, :, part] = view
            if seen_out is None:
                seen[t, :, part] = found
        if on_frame is not None:
            on_frame(t + 1)
    return warped, hole, seen


def warp_memory(
    height: int,
    width: int,
    dtype: torch.dtype,
    *,
    disparity_dtype: torch.dtype = torch.float32,
) -> int:
    """Return the bytes that the results of `warp_frames` take for a frame of a type.

    A GPU's kernel takes little besides (`warp_triton.scratch_memory`), whatever the number of frames.
    """
    return height * width * (4 * dtype.itemsize + disparity_dtype.itemsize)


def _fits_kernel(image: Tensor, disparity: Tensor) -> bool:
    """Tell whether the kernel takes these tensors."""
    return (
        working_dtype(image) == torch.float32
        and image.shape[1] == 3
        and image[0].numel() < 2**31  # offsets are 32-bit
        and use_kernels(image, disparity)
    )


def _strips(image: Tensor) -> Iterator[slice]:
    """Divide the height into strips: on a GPU there is one."""
    height, width = image.shape[-2:]
    rows = height if image.is_cuda else rows_at_once(height, width)
    return (slice(top, top + rows) for top in range(0, height, rows))


def rows_at_once(height: int, width: int) -> int:
    """Choose how many rows to warp at once on a CPU: as many as its caches hold.

    Rows do not depend on each other, so the result is the same. `benchmarks.warp` shows the gain.
    """
    return max(1, min(height, STRIP_PIXELS // width))
