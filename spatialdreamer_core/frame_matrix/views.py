"""The views between the two eyes, warped from the source view by shares of its disparity.

View v of V has the share v / (V - 1): 0 is the source, 1 the view that is rendered. One view alone is the
rendered one. Where it is known what lies beside the source's frame (`outpaint.py`), that is warped in with
the disparity of the frame's edge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..dvg import forward_warp, forward_warp_with_disparity
from ..dvg.eyes import Eye
from ..dvg.forward import warp_frames
from ..fill import fast_fill
from .planes import clean_planes

_TYPICAL_MOTION = 127  # SVD's bucket for
_TYPICAL_SHIFT = 0.01  # of the width from frame to frame
_LEAST_MOTION = 16
_LEAST_SHARE = 0.01  # of a pixel in a hole that comes from beside the source


@dataclass(frozen=True)
class Rendered:
    """Frames of a scene with their source, as they are to be filled."""

    left: Tensor  # [F, 3, H, W] in [0, 1]
    warped: Tensor  # [F, 3, H, W] in [0, 1]
    hole: Tensor  # [F, 1, H, W], 1 = hole
    disparity: Tensor | None  # [F, 1, H, W] px, of the source
    beside: tuple[Tensor, Tensor] | None = None  # [F, 3, H, w] each, what lies left and right of the source

    def __len__(self) -> int:
        return len(self.left)

    def cut(self, first: int, last: int) -> Rendered:
        """Return some of the frames."""
        own = slice(first, last)
        return Rendered(
            self.left[own],
            self.warped[own],
            self.hole[own],
            None if self.disparity is None else self.disparity[own],
            None if self.beside is None else (self.beside[0][own], self.beside[1][own]),
        )


def render_views(
    frames: Rendered,
    *,
    views: int,
    eye: Eye,
    planes: int,
) -> Iterator[tuple[Tensor, Tensor]]:  # [F, 3, H, W] in [0, 1] without black holes, [F, 1, H, W]
    """Yield all views, from the source to the rendered one, filled by fast fill for a start, and their holes.

    Args:
        frames: The frames.
        views: How many there are; more than 1 need disparity.
        eye: The rendered eye.
        planes: By how many planes the views in between are cleaned; 0: not at all.
    """
    width = frames.left.shape[-1]
    for share in view_shares(views):
        if share == 0:
            yield frames.left, torch.zeros_like(frames.hole)
        elif share == 1:
            yield _rendered_view(frames, eye=eye)
        else:
            source, disparity, first = _widen(frames)
            view, hole = render_view(source, disparity, share, eye=eye, planes=planes)
            yield view[..., first : first + width], hole[..., first : first + width]


def view_shares(views: int) -> list[float]:
    """Return the share of the disparity of each view."""
    return [1.0] if views == 1 else [view / (views - 1) for view in range(views)]


def render_view(
    source: Tensor,  # [F, 3, H, W] in [0, 1]
    disparity: Tensor,  # [F, 1, H, W] px, of the source
    share: float,
    *,
    eye: Eye,
    planes: int,
) -> tuple[Tensor, Tensor]:  # [F, 3, H, W] in [0, 1], filled, and [F, 1, H, W]
    """Warp the source by a share of its disparity, and fill the holes by fast fill to begin with.

    Args:
        source: The source view.
        disparity: Between the two eyes.
        share: Of the disparity.
        eye: The eye at whose view the share is 1.
        planes: By how many planes the view is cleaned; 0: not at all.
    """
    moved = share * disparity
    view, hole, seen = forward_warp_with_disparity(source, moved, eye=eye)
    if planes:
        cleaned = [clean_planes(*parts, planes=planes) for parts in zip(view, hole, seen, strict=True)]
        view, hole = (torch.stack(parts) for parts in zip(*cleaned, strict=True))
    return fast_fill(view, hole, disparity=moved, eye=eye), hole


def source_disparity(
    seen: Tensor,  # [F, 1, H, W] px, in the rendered view
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    *,
    eye: Eye,
) -> Tensor:  # [F, 1, H, W] px
    """Bring the disparity that is seen in a rendered view back into the source view.

    What only the source shows lies behind what hides it in the other view: it takes the smaller of the two
    disparities beside it.

    Args:
        seen: The disparity of what is seen.
        hole: Where nothing is.
        eye: The eye that was rendered.
    """
    frames, _, height, width = seen.shape
    moved = torch.where(hole > 0.5, -2.0 * width, seen.float())  # holes land outside of the picture
    black = moved.new_zeros(frames, 3, height, width)
    other: Eye = "left" if eye == "right" else "right"
    _, gap, disparity = warp_frames(black, moved, eye=other, widen=False)
    return _fill_rows(disparity, gap > 0.5)


def view_motion_bucket(disparity: Tensor, views: int) -> int:
    """Choose the motion bucket of rows: by the mean shift from view to view, a share of the width.

    No measurement ties SVD's buckets to pixels: 127, with which it is run, is taken for 1 % of the width.
    """
    shift = float(disparity.abs().mean()) / disparity.shape[-1] / max(1, views - 1)
    return max(_LEAST_MOTION, min(255, round(_TYPICAL_MOTION * shift / _TYPICAL_SHIFT)))


def _widen(frames: Rendered) -> tuple[Tensor, Tensor, int]:
    """Return source and disparity with what lies beside them, and the first column of the source's frame."""
    assert frames.disparity is not None
    if frames.beside is None:
        return frames.left, frames.disparity, 0
    left, right = frames.beside
    source = torch.cat([left.to(frames.left), frames.left, right.to(frames.left)], dim=-1)
    disparity = F.pad(frames.disparity, (left.shape[-1], right.shape[-1], 0, 0), mode="replicate")
    return source, disparity, left.shape[-1]


def _rendered_view(frames: Rendered, *, eye: Eye) -> tuple[Tensor, Tensor]:
    """Return the rendered view: what it shows stays, its holes take what enters from beside the source."""
    view, hole = fast_fill(frames.warped, frames.hole, disparity=frames.disparity, eye=eye), frames.hole
    if frames.beside is None:
        return view, hole
    source, disparity, first = _widen(frames)
    columns = slice(first, first + view.shape[-1])
    beside = torch.ones_like(source)
    beside[..., columns] = 0
    entering, unseen = (part[..., columns] for part in forward_warp(source, disparity, eye=eye))
    share = forward_warp(beside, disparity, eye=eye)[0][:, :1, :, columns]
    enters = (share > _LEAST_SHARE) & (unseen < 0.5) & (hole > 0.5)
    return torch.where(enters, entering.to(view), view), torch.where(enters, 0.0, hole)


def _fill_rows(
    values: Tensor,  # [F, 1, H, W]
    gap: Tensor,  # [F, 1, H, W] bool
) -> Tensor:
    """Fill gaps by the smaller of the nearest values in the row; rows without any are 0."""
    behind = torch.minimum(_carry(values, gap), _carry(values.flip(-1), gap.flip(-1)).flip(-1))
    return torch.where(gap, torch.where(behind.isinf(), 0.0, behind), values)


def _carry(values: Tensor, gap: Tensor) -> Tensor:
    """Carry the last value that is no gap along each row; infinity before the first one."""
    columns = torch.arange(values.shape[-1], device=values.device).expand(values.shape)
    last = torch.where(gap, -1, columns).cummax(-1).values
    carried = values.gather(-1, last.clamp(min=0))
    return torch.where(last < 0, torch.inf, carried)
