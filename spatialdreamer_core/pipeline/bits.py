"""A frame's bits, on the CPU or a GPU: they become floats, and bits again, and two views are packed.

Nothing here waits for the device.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..bars import Surround
from ..stereo.packing import join_views
from ..video.color import ColorInfo
from ..video.reader import VideoFrame

JOINED = ("full_sbs", "full_tb", "cross_eyed")  # formats that leave the views' pixels as they are


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


def pack_bits(
    left: Tensor,  # [H, W, 3] uint8 or uint16
    right: Tensor,  # [H, W, 3] of the same type
    *,
    format: str,
    color: ColorInfo | None,
) -> Tensor:  # [H', W', 3] of the same type
    """Pack two pictures into one, where they are.

    Args:
        left: What the left eye sees.
        right: What the right eye sees.
        format: One of `FORMATS`.
        color: The film's; None for a photo.
    """
    if left.dtype == torch.uint8 or format in JOINED:  # what is only joined can be joined bit by bit
        planes = (_signed(view).permute(2, 0, 1)[None] for view in (left, right))
        return join_views(*planes, format=format)[0].permute(1, 2, 0).contiguous().view(left.dtype)
    views = (to_floats(view)[None] for view in (left, right))
    if format != "anaglyph" or color is None:
        return to_bits(join_views(*views, format=format)[0], left.dtype)
    black, white = (value / 65535 for value in color.swing)  # it mixes the views' light: black has to be 0
    views = (view.sub_(black).div_(white - black).clamp_(0, 1) for view in views)
    return to_bits(join_views(*views, format=format)[0].mul_(white - black).add_(black), left.dtype)


def _signed(bits: Tensor) -> Tensor:
    """View 16 bits as what torch has all operations for."""
    return bits.view(torch.int16) if bits.dtype == torch.uint16 else bits
