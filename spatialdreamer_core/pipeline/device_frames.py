"""A film's frames on a GPU: their bits become floats there, and bits again when the views are packed.

The twin of what `stages.to_tensor`, `preview.to_image` and `packed.py` do on the CPU. Nothing here waits for
the device.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    if format in JOINED:
        views = (right, left) if format == "cross_eyed" else (left, right)
        joined = torch.cat([_signed(view) for view in views], dim=0 if format.endswith("tb") else 1)
        return joined.view(left.dtype)
    black, white = 0.0, 1.0
    if left.dtype == torch.uint16 and color is not None and format == "anaglyph":
        # It mixes the views' light, so black has to be 0.
        black, white = (value / 65535 for value in color.swing)
    packed = join_views(*_of_swing((left, right), black, white), format=format)[0]
    return to_bits(packed.mul_(white - black).add_(black), left.dtype)


def _of_swing(views: tuple[Tensor, ...], black: float, white: float) -> Iterator[Tensor]:
    """Bring pictures to [0, 1] between black and white."""
    for view in views:
        values = to_floats(view)[None]
        if (black, white) != (0.0, 1.0):
            values = values.sub_(black).div_(white - black).clamp_(0, 1)
        yield values


def _signed(bits: Tensor) -> Tensor:
    """View 16 bits as what torch has all operations for."""
    return bits.view(torch.int16) if bits.dtype == torch.uint16 else bits
