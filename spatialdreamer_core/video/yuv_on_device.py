"""RGB to YUV where the frames are, and the way of the result into an encoder's frame.

A frame that is on the card as RGB leaves it as the 4:2:0 that the encoder takes: half of the bytes, and
nothing left for the CPU to convert. The values are those of `ColorConverter.to_yuv` up to one code, but for
pictures of less than 7 px. Chroma is sampled as libswscale does it: in the middle of four pixels, by the
weights 1, 3, 3, 1 of four rows, and of two equal columns for 8 bits, of four weighted like the rows for more.

`rgb_to_yuv` is one launch where kernels run (`yuv_triton`); what follows here is its readable twin.
"""

from __future__ import annotations

from typing import NamedTuple

import av
import numpy as np
import torch
from torch import Tensor

from ..checks import InputError
from ..kernels import use_kernels
from .color import ColorInfo, rgb_to_yuv_matrix
from .halves import frame_planes


class Layout(NamedTuple):
    """How a pixel format lays 4:2:0 out."""

    bits: int  # of a component
    interleaved: bool  # whether U and V alternate in one plane
    shift: int  # of the code within its 8 or 16 bits


LAYOUTS = {
    "yuv420p": Layout(8, interleaved=False, shift=0),
    "nv12": Layout(8, interleaved=True, shift=0),
    "yuv420p10le": Layout(10, interleaved=False, shift=0),
    "p010le": Layout(10, interleaved=True, shift=6),
}


def rgb_to_yuv(
    image: Tensor,  # [3, H, W] uint8, or uint16 of the swing of `color`
    *,
    color: ColorInfo,
    pixel_format: str,
) -> Tensor:  # [H' * W' * 3 / 2] uint8 or uint16, H' and W' even
    """Convert a frame to the planes of a pixel format, one after the other, on the frame's device.

    Args:
        image: The frame; an odd side is padded by repeating its last row or column.
        color: Coding of the YUV.
        pixel_format: A key of `LAYOUTS`: of 8 bits for uint8, of 10 for uint16.

    Raises:
        InputError: If the image's type does not go with the pixel format.
    """
    layout = LAYOUTS.get(pixel_format)
    dtype = torch.uint8 if layout is not None and layout.bits == 8 else torch.uint16
    if layout is None or image.dtype != dtype or image.ndim != 3 or image.shape[0] != 3:
        raise InputError(
            f"`image` must be [3, H, W] of uint8 for yuv420p and nv12, or of uint16 for yuv420p10le and "
            f"p010le, got {image.dtype} {list(image.shape)} for {pixel_format}; use VideoWriter.prepare"
        )
    affine = _affine(color, layout)
    reach = sum((side - 1) * stride for side, stride in zip(image.shape, image.stride(), strict=True))
    if use_kernels(image) and reach < 2**31:
        from .yuv_triton import rgb_to_yuv_triton

        return rgb_to_yuv_triton(image, affine, layout)
    return _rgb_to_yuv(image, affine, layout)


def frame_from_yuv(yuv: np.ndarray, *, pixel_format: str, width: int, height: int) -> av.VideoFrame:
    """Make a frame for an encoder of what `rgb_to_yuv` gave.

    Args:
        yuv: Its result, on the CPU.
        pixel_format: As given there.
        width: Width of the frame in pixels, even.
        height: Its height, even.

    Raises:
        InputError: If it is not of that format and size.
    """
    layout = LAYOUTS.get(pixel_format)
    dtype = np.uint8 if layout is not None and layout.bits == 8 else np.uint16
    if layout is None or yuv.shape != (width * height * 3 // 2,) or yuv.dtype != dtype:
        raise InputError(
            f"`image` must be the {width * height * 3 // 2} values of {pixel_format} at {width}x{height}, as "
            f"rgb_to_yuv gives them, got {yuv.dtype} {list(yuv.shape)}; convert it for this writer"
        )
    frame = av.VideoFrame(width, height, pixel_format)
    values = np.ascontiguousarray(yuv).view(np.uint8)
    for plane in frame_planes(frame):
        source, values = np.split(values, [plane.size])
        plane[:] = source.reshape(plane.shape)
    return frame


def _affine(color: ColorInfo, layout: Layout) -> list[list[float]]:  # [3][4]
    """Return the map from an image's values to codes of the format."""
    matrix = rgb_to_yuv_matrix(color, layout.bits)
    if layout.bits > 8:
        return (matrix / 2 ** (16 - layout.bits)).tolist()
    black, white = color.swing
    linear, offset = matrix[:, :3] * (white - black) / 255, matrix[:, :3].sum(1) * black + matrix[:, 3]
    return (np.hstack([linear, offset[:, None]]) / 256).tolist()


def _rgb_to_yuv(image: Tensor, affine: list[list[float]], layout: Layout) -> Tensor:
    """Convert in torch."""
    height, width = (side + side % 2 for side in image.shape[-2:])
    values = image.to(torch.int32).float()
    weights = (0.125, 0.375, 0.375, 0.125)
    mean = _halve(values, weights, height, dim=1)
    mean = _halve(mean, weights if layout.bits > 8 else (0.0, 0.5, 0.5, 0.0), width, dim=2)
    luma = _codes(_take(_take(values, 0, height, 1, dim=1), 0, width, 1, dim=2), affine[0], layout)
    chroma = [_codes(mean, row, layout) for row in affine[1:]]
    uv = torch.stack(chroma, dim=1).flatten() if layout.interleaved else torch.cat(chroma)
    codes = torch.cat([luma, uv])
    if layout.bits == 8:
        return codes.to(torch.uint8)
    return (codes << layout.shift).to(torch.int16).view(torch.uint16)


def _halve(values: Tensor, weights: tuple[float, ...], count: int, *, dim: int) -> Tensor:
    """Average rows or columns 2k - 1 to 2k + 2 for each k."""
    return torch.stack([w * _take(values, k - 1, count, 2, dim=dim) for k, w in enumerate(weights)]).sum(0)


def _take(values: Tensor, first: int, count: int, step: int, *, dim: int) -> Tensor:
    """Take rows or columns from the first one on, the edge repeated beyond it."""
    index = torch.arange(first, first + count, step, device=values.device)
    return values.index_select(dim, index.clamp_(0, values.shape[dim] - 1))


def _codes(values: Tensor, row: list[float], layout: Layout) -> Tensor:  # [N] int32
    """Map values [3, h, w] to the codes of one component."""
    red, green, blue, offset = row
    code = values[0] * red + values[1] * green + values[2] * blue + offset
    return code.add_(0.5).floor_().clamp_(0, 2**layout.bits - 1).to(torch.int32).flatten()
