"""Forward warp: one view rendered from the other by disparity, with the mask of what it could not see.

A stretched surface leaves cracks, gaps of a pixel or two between neighbours that belong together; a
disocclusion leaves a hole. Gaps of at most `MAX_CRACK` px are taken as cracks and bridged linearly; the rest
is the hole mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import check_finite, check_video
from .eyes import Eye, eye_sign
from .splat import splat_rows

MIN_COVERAGE = 0.25  # bilinear mass from which on a pixel counts as seen
MAX_CRACK = 2  # px
MAX_STRAY = 2  # px
STRIP_PIXELS = 1 << 17  # rows are warped on the CPU in strips of about this many pixels


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
        The rendered view, black in its holes, and the hole mask: 1 = nothing landed here, 0 = known.

    Raises:
        InputError: If the shapes differ or the disparity is not finite.
    """
    _check(image, disparity)
    view = torch.empty_like(image)
    hole = image.new_empty(len(image), 1, *image.shape[-2:])
    for t in range(len(image)):
        for part in _strips(image):
            values, moved = image[t, :, part], disparity[t, :, part].to(image.dtype)
            view[t, :, part], hole[t, :, part] = _warp_rows(values, moved, eye)
        if on_frame is not None:
            on_frame(t + 1)
    return view, hole


def forward_warp_with_disparity(
    image: Tensor,  # [F, 3, H, W] in [0, 1]
    disparity: Tensor,  # [F, 1, H, W] px
    *,
    eye: Eye = "right",
) -> tuple[Tensor, Tensor, Tensor]:  # [F, 3, H, W] in [0, 1], [F, 1, H, W], [F, 1, H, W] px
    """Do as `forward_warp`, and carry the disparity along: also what is seen at each pixel of the view.

    Returns:
        The rendered view, its hole mask, and its disparity, 0 in holes.

    Raises:
        InputError: If the shapes differ or the disparity is not finite.
    """
    _check(image, disparity)
    view = torch.empty_like(image)
    hole, seen = (image.new_empty(len(image), 1, *image.shape[-2:]) for _ in range(2))
    for t in range(len(image)):
        for part in _strips(image):
            moved = disparity[t, :, part].to(image.dtype)
            warped, hole[t, :, part] = _warp_rows(torch.cat([image[t, :, part], moved]), moved, eye)
            view[t, :, part], seen[t, :, part] = warped[:-1], warped[-1:]
    return view, hole, seen


def _check(image: Tensor, disparity: Tensor) -> None:
    """Check what a warp is given."""
    check_video("image", image, channels=3)
    check_video("disparity", disparity, channels=1, like=image)
    check_finite("disparity", disparity, "repair the depth it was made from")


def _warp_rows(values: Tensor, disparity: Tensor, eye: Eye) -> tuple[Tensor, Tensor]:
    """Warp rows [C, H, W] of one frame; returns them and the hole mask [1, H, W]."""
    values, coverage = splat_rows(values, disparity, sign=eye_sign(eye))
    values, gap = bridge_cracks(values, coverage < MIN_COVERAGE)
    return drop_strays(values, gap)


def _strips(image: Tensor) -> Iterator[slice]:
    """Divide the height into strips of `_rows_at_once` rows."""
    rows = _rows_at_once(image)
    return (slice(top, top + rows) for top in range(0, image.shape[-2], rows))


def _rows_at_once(image: Tensor) -> int:
    """Choose how many rows to warp at once: all on a GPU, as many as the caches hold on a CPU.

    Rows do not depend on each other, so the result is the same. `benchmarks.warp` shows the gain.
    """
    height, width = image.shape[-2:]
    return height if image.is_cuda else max(1, min(height, STRIP_PIXELS // width))


def bridge_cracks(
    view: Tensor,  # [C, H, W]
    gap: Tensor,  # [1, H, W] bool
) -> tuple[Tensor, Tensor]:  # [C, H, W], [1, H, W]
    """Fill gaps of at most `MAX_CRACK` px between two known pixels of a row linearly, and blacken the others.

    Returns:
        The view and the gaps that stay, bool.
    """
    width = view.shape[-1]
    known = ~gap[0]
    row, column = gap[0].nonzero(as_tuple=True)
    to_left = _distance_to_known(known, row, column, -1)
    to_right = _distance_to_known(known, row, column, 1)
    is_crack = to_left + to_right <= MAX_CRACK + 1
    row, column, to_left, to_right = (part[is_crack] for part in (row, column, to_left, to_right))
    share = to_left / (to_left + to_right)
    left_value = view[:, row, (column - to_left).clamp(min=0)]
    right_value = view[:, row, (column + to_right).clamp(max=width - 1)]
    view, gap = view.clone(), gap.clone()
    view[:, row, column] = torch.lerp(left_value, right_value, share.to(view.dtype))
    gap[0, row, column] = False
    return view, gap


def drop_strays(
    view: Tensor,  # [C, H, W]
    gap: Tensor,  # [1, H, W] bool
) -> tuple[Tensor, Tensor]:  # [C, H, W], [1, H, W]
    """Give known runs of at most `MAX_STRAY` px between two gaps of a row up to them (an opening).

    Returns:
        The view, black in its holes, and the hole mask, 1 = hole.
    """
    width = gap.shape[-1]
    known = F.pad(~gap, (MAX_STRAY, MAX_STRAY), value=True)
    in_long_run = known[..., : width + MAX_STRAY]
    for shift in range(1, MAX_STRAY + 1):
        in_long_run = in_long_run & known[..., shift : shift + width + MAX_STRAY]
    kept = in_long_run[..., :width]
    for shift in range(1, MAX_STRAY + 1):
        kept = kept | in_long_run[..., shift : shift + width]
    return view * kept, (~kept).to(view.dtype)


def _distance_to_known(known: Tensor, row: Tensor, column: Tensor, step: int) -> Tensor:
    """Count the pixels to the next known one in a row's direction; MAX_CRACK + 1 where it is farther."""
    width = known.shape[-1]
    distance = torch.full_like(column, MAX_CRACK + 1)
    for n in range(MAX_CRACK, 0, -1):
        neighbour = column + n * step
        inside = (neighbour >= 0) & (neighbour < width)
        distance[inside & known[row, neighbour.clamp(0, width - 1)]] = n
    return distance
