"""Packing formats: how the two eyes' views share one frame."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import InputError, check_size
from ..contracts import check_call
from ..options import Option
from .anaglyph import mix_anaglyph

FORMATS = ("full_sbs", "half_sbs", "full_tb", "half_tb", "cross_eyed", "anaglyph")
FORMAT = Option(
    default="full_sbs",
    choices=FORMATS,
    name="format",
    help="How the two views share a frame. full_sbs: side by side, double width (best quality). half_sbs: "
    "side by side, each view squeezed to half width (most TVs). full_tb, half_tb: left view above the "
    "right one. cross_eyed: right view on the left, to view without glasses. anaglyph: one picture for "
    "red-cyan glasses.",
)


def pack(
    left: Tensor,  # [F, 3, H, W] in [0, 1], or uint8
    right: Tensor,  # [F, 3, H, W] in [0, 1], or uint8
    *,
    format: str = FORMAT.default,
) -> Tensor:  # [F, 3, H', W'], of the views' type
    """Pack two views into one video.

    Args:
        left: The left eye's view.
        right: The right eye's view, of the same type.
        format: "full_sbs" and "half_sbs": left beside right, at full or half width each. "full_tb" and
            "half_tb": left above right, at full or half height each. "cross_eyed": right beside left.
            "anaglyph": red-cyan (Dubois).

    Returns:
        The packed video; `packed_size` tells its size. Half formats average pixels (antialiased).

    Raises:
        InputError: If a view breaks its rule (`contracts.TABLE`), their types differ, or the format is
            unknown.
    """
    FORMAT.check(format)
    check_call("pack", left=left, right=right)
    if left.dtype != right.dtype:
        raise InputError(
            f"`left` and `right` must have one type, got {left.dtype} and {right.dtype}; convert one of them"
        )
    return join_views(left, right, format=format)


def join_views(left: Tensor, right: Tensor, *, format: str) -> Tensor:
    """Like `pack`, without checking its arguments."""
    if format == "anaglyph":
        if left.dtype == torch.uint8:
            return mix_anaglyph(left / 255, right / 255).mul_(255).round_().to(torch.uint8)
        return mix_anaglyph(left, right)
    if format == "cross_eyed":
        left, right = right, left
    height, width = left.shape[-2:]
    axis = 1 if format.endswith("tb") else 2
    if format == "half_sbs":
        left, right = (_resize(view, height, (width + 1) // 2) for view in (left, right))
    elif format == "half_tb":
        left, right = (_resize(view, (height + 1) // 2, width) for view in (left, right))
    # Channels last in memory, as decoded frames and ComfyUI's images are.
    return torch.cat([view.movedim(1, -1) for view in (left, right)], dim=axis).movedim(-1, 1)


def packed_size(height: int, width: int, *, format: str) -> tuple[int, int]:
    """Return (height, width) of a packed frame.

    Raises:
        InputError: If a side is not a whole number above 0 or the format is unknown.
    """
    check_size("size", (height, width))
    FORMAT.check(format)
    rows = {"full_tb": 2 * height, "half_tb": 2 * ((height + 1) // 2)}
    columns = {"full_sbs": 2 * width, "cross_eyed": 2 * width, "half_sbs": 2 * ((width + 1) // 2)}
    return rows.get(format, height), columns.get(format, width)


def pixel_aspect(format: str) -> Fraction:
    """Return width over height of a packed frame's pixels, where those of the views are square.

    Raises:
        InputError: If the format is unknown.
    """
    FORMAT.check(format)
    return {"half_sbs": Fraction(2), "half_tb": Fraction(1, 2)}.get(format, Fraction(1))


def check_packed(height: int, width: int, *, format: str, name: str = "images") -> None:
    """Check that frames of a size can hold two views of one size.

    Raises:
        InputError: If they cannot, a side is not a whole number above 0, or the format is unknown.
    """
    check_size("size", (height, width))
    FORMAT.check(format)
    if format == "anaglyph":
        return
    stacked = format.endswith("tb")
    if (height if stacked else width) % 2:
        where, side = ("one above the other", "height") if stacked else ("side by side", "width")
        raise InputError(
            f"`{name}` must be two views {where} for the format {format}, so of an even {side}, got "
            f"{width}x{height}; pack them with SBS Packer (`pack`) or choose the format they have"
        )


def _resize(view: Tensor, height: int, width: int) -> Tensor:
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
