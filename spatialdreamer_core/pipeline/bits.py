"""A frame's bits, on the CPU or a GPU: they become floats, and bits again, and two views are packed.

Nothing here waits for the device.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from ..bars import Surround
from ..stereo import StereoLayout
from ..video.color import ColorInfo
from ..video.reader import VideoFrame

_JOINED = (  # formats that leave the views' pixels as they are
    *("full_sbs", "full_tb", "cross_eyed", "rgbd", "quilt", "frame_sequential"),
    *("row_interlaced", "column_interlaced", "checkerboard"),
)
_BLACK_AROUND = ("anaglyph", "vr180")  # formats for which black has to be 0


def whole_image(frame: VideoFrame) -> np.ndarray:  # [H, W, 3] uint8 or uint16
    """Return a frame with its black bars."""
    return frame.image if frame.surround is None else frame.surround.frame


def picture_of(whole: Tensor, surround: Surround | None) -> Tensor:  # [H, W, ...] -> [h, w, ...]
    """Cut the picture out of its black bars, without a copy."""
    return whole if surround is None else whole[surround.box.slices]


def around_picture(whole: Tensor, picture: Tensor, surround: Surround | None) -> Tensor:
    """Put another picture in the place of a frame's own; the rest is the frame's."""
    if surround is None:
        return picture
    result = whole.clone()
    _signed(result)[surround.box.slices] = _signed(picture)
    return result


def to_floats(
    bits: Tensor,  # [H, W, 3] uint8 or uint16
) -> Tensor:  # [3, H, W] float32 in [0, 1]
    """Bring a picture to [0, 1], 1 being its type's highest value."""
    planes = bits.permute(2, 0, 1)
    if bits.dtype == torch.uint16:  # torch has few operations for it
        planes = planes.view(torch.int16).to(torch.int32).bitwise_and_(0xFFFF)
    highest = torch.iinfo(bits.dtype).max
    return planes.to(torch.float32, memory_format=torch.contiguous_format).div_(highest)


def to_bits(
    picture: Tensor,  # [3, H, W] in [0, 1]
    dtype: torch.dtype,
) -> Tensor:  # [H, W, 3] of that type
    """Bring a picture back to 8 or 16 bits, rounding to nearest."""
    highest = torch.iinfo(dtype).max
    rounded = picture.mul(highest).round_().clamp_(0, highest)
    if dtype == torch.uint16:
        return rounded.to(torch.int32).to(torch.int16).permute(1, 2, 0).contiguous().view(torch.uint16)
    return rounded.to(dtype).permute(1, 2, 0)


def depth_bits(
    depth: Tensor,  # [1, h, w] in [0, 1]
    frame: VideoFrame,
    dtype: torch.dtype,
) -> Tensor:  # [H, W, 3] of that type
    """Make a grey picture of a frame's depth, from its black to its white; black bars are black."""
    highest = torch.iinfo(dtype).max
    black, white = _swing(dtype, frame.color)
    grey = to_bits((depth * ((white - black) / highest) + black / highest).expand(3, -1, -1), dtype)
    if frame.surround is None:
        return grey
    whole = torch.full_like(_signed(torch.from_numpy(frame.surround.frame)), black, device=depth.device)
    whole[frame.surround.box.slices] = _signed(grey)
    return whole.view(dtype)


def pack_bits(
    left: Tensor,  # [H, W, 3] uint8 or uint16
    right: Tensor,  # [H, W, 3] of the same type
    *,
    layout: StereoLayout,
    color: ColorInfo | None,
    aspect: Fraction = Fraction(1),
) -> tuple[Tensor, ...]:  # each [H', W', 3] of the same type
    """Pack two pictures into one, or two that follow each other, where they are.

    Args:
        left: What the left eye sees.
        right: What the right eye sees; the depth of rgbd.
        layout: How they are packed.
        color: The film's; None for a photo.
        aspect: Width over height of the pictures' pixels.
    """
    black, white = _swing(left.dtype, color)
    is_joined = layout.format in _JOINED and not layout.resizes
    if left.dtype == torch.uint8 or is_joined:  # what is only joined can be joined bit by bit
        planes = (_signed(view).permute(2, 0, 1)[None] for view in (left, right))
        packed = layout.pack(*planes, aspect=aspect, black=black)
        return tuple(picture.permute(1, 2, 0).contiguous().view(left.dtype) for picture in packed)
    highest = torch.iinfo(left.dtype).max
    views = (to_floats(view)[None] for view in (left, right))
    if layout.format in _BLACK_AROUND:
        low, high = black / highest, white / highest
        views = (view.sub_(low).div_(high - low).clamp_(0, 1) for view in views)
        packed = layout.pack(*views, aspect=aspect).mul_(high - low).add_(low)
    else:
        packed = layout.pack(*views, aspect=aspect, black=black / highest)
    return tuple(to_bits(picture, left.dtype) for picture in packed)


def _swing(dtype: torch.dtype, color: ColorInfo | None) -> tuple[int, int]:
    """Return the values of black and white of a picture's bits."""
    if dtype == torch.uint8 or color is None:
        return 0, torch.iinfo(dtype).max
    return color.swing


def _signed(bits: Tensor) -> Tensor:
    """View 16 bits as what torch has all operations for."""
    return bits.view(torch.int16) if bits.dtype == torch.uint16 else bits
