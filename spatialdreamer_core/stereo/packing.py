"""Packing: how the two eyes' views share one frame, see `formats`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import InputError
from ..contracts import check_call
from .anaglyph import ANAGLYPH, mix_anaglyph
from .formats import FORMAT
from .half_sphere import FIELD_OF_VIEW, half_sphere_side, to_half_sphere


def pack(
    left: Tensor,  # [F, 3, H, W] in [0, 1], or uint8
    right: Tensor,  # [F, 3, H, W] in [0, 1], or uint8
    *,
    format: str = FORMAT.default,
    depth: Tensor | None = None,  # [F, 1, H, W] in [0, 1], 1 = near
    anaglyph: str = ANAGLYPH.default,
    field_of_view: float = FIELD_OF_VIEW.default,
) -> Tensor:  # [F', 3, H', W'], of the views' type
    """Pack two views into one video.

    Args:
        left: The left eye's view.
        right: The right eye's view, of the same type.
        format: "full_sbs" and "half_sbs": left beside right, at full or half width each. "full_tb" and
            "half_tb": left above right, at full or half height each. "cross_eyed": right beside left.
            "anaglyph": red-cyan. "row_interlaced", "column_interlaced", "checkerboard": each pixel from the
            view whose turn it is, the first one from the left. "frame_sequential" and "wiggle": left and
            right in turn, so twice as many frames. "rgbd": the left view beside `depth`. "vr180": each view
            on half a sphere. "quilt": left beside right, as in a grid of two views, see `pack_quilt`.
        depth: With "rgbd", the depth of the left view.
        anaglyph: One of `ANAGLYPHS`.
        field_of_view: With "vr180", the degrees that a view's width covers, 10 to 170.

    Returns:
        The packed video; `packed_size` tells its size. Half formats and "vr180" average pixels (antialiased).

    Raises:
        InputError: If a view breaks its rule (`contracts.TABLE`), their types differ, `depth` is missing, or
            an option is out of range or unknown.
    """
    FORMAT.check(format)
    ANAGLYPH.check(anaglyph)
    FIELD_OF_VIEW.check(field_of_view)
    check_call("pack", left=left, right=right, depth=depth)
    if left.dtype != right.dtype:
        raise InputError(
            f"`left` and `right` must have one type, got {left.dtype} and {right.dtype}; convert one of them"
        )
    if format == "rgbd":
        if depth is None:
            raise InputError("`depth` must be given for the format rgbd, got none; give that of the picture")
        right = depth_picture(depth, left)
    return join_views(left, right, format=format, anaglyph=anaglyph, field_of_view=field_of_view)


def depth_picture(
    depth: Tensor,  # [F, 1, H, W] in [0, 1]
    like: Tensor,  # [F, 3, H, W]
) -> Tensor:  # [F, 3, H, W], of the other's type
    """Make a grey picture of depth, white being near."""
    grey = depth.expand(-1, 3, -1, -1)
    if like.dtype == torch.uint8:
        return grey.mul(255).round_().clamp_(0, 255).to(torch.uint8)
    return grey.to(like)


def join_views(
    left: Tensor,
    right: Tensor,
    *,
    format: str,
    anaglyph: str = ANAGLYPH.default,
    field_of_view: float = FIELD_OF_VIEW.default,
    aspect: float = 1.0,
    side: int | None = None,
) -> Tensor:
    """Like `pack`, without checking its arguments; `right` of rgbd is the picture of depth.

    Args:
        left: The left eye's view.
        right: The right eye's view.
        format: One of `FORMATS`.
        anaglyph: One of `ANAGLYPHS`.
        field_of_view: With vr180, the degrees that a view's width covers.
        aspect: With vr180, width over height of the views' pixels.
        side: With vr180, the side of a half sphere; None keeps the resolution of the views' middle.
    """
    if format == "anaglyph":
        if left.dtype == torch.uint8:
            return mix_anaglyph(left / 255, right / 255, anaglyph).mul_(255).round_().to(torch.uint8)
        return mix_anaglyph(left, right, anaglyph)
    if format in ("frame_sequential", "wiggle"):
        return torch.stack([left, right], dim=1).flatten(0, 1)
    if format in ("row_interlaced", "column_interlaced", "checkerboard"):
        return _interleave(left, right, format)
    if format == "cross_eyed":
        left, right = right, left
    height, width = left.shape[-2:]
    axis = 1 if format.endswith("tb") else 2
    if format == "half_sbs":
        left, right = (resize(view, height, (width + 1) // 2) for view in (left, right))
    elif format == "half_tb":
        left, right = (resize(view, (height + 1) // 2, width) for view in (left, right))
    elif format == "vr180":
        side = side or half_sphere_side(width, field_of_view=field_of_view)
        left, right = (
            to_half_sphere(view, side=side, field_of_view=field_of_view, aspect=aspect)
            for view in (left, right)
        )
    # Channels last in memory, as decoded frames and ComfyUI's images are.
    return torch.cat([view.movedim(1, -1) for view in (left, right)], dim=axis).movedim(-1, 1)


def resize(view: Tensor, height: int, width: int) -> Tensor:
    """Resize by antialiased bilinear interpolation."""
    # Half precision has no antialiased resizing on the CPU, and bytes have none on a GPU.
    is_bytes = view.dtype == torch.uint8
    as_floats = view.device.type != "cpu" if is_bytes else view.dtype in (torch.float16, torch.bfloat16)
    resized = F.interpolate(
        view.float() if as_floats else view,
        (height, width),
        mode="bilinear",
        antialias=True,
        align_corners=False,
    )
    return (resized.round() if is_bytes and as_floats else resized).to(view.dtype)


def _interleave(left: Tensor, right: Tensor, format: str) -> Tensor:
    """Take each pixel from the view whose turn it is; the first one is the left's."""
    row = torch.arange(left.shape[-2], device=left.device)[:, None]
    column = torch.arange(left.shape[-1], device=left.device)
    turn = {"row_interlaced": row, "column_interlaced": column, "checkerboard": row + column}[format]
    return torch.where(turn % 2 == 0, left, right)
