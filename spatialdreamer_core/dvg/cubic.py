"""Colours between the columns of a row, read with a cubic kernel (Keys 1981, a = -0.5).

For a position at t in [0, 1) after column 0 the kernel is linear interpolation less a part of the picture's
second difference Δ, which is interpolated alike:

    c(t) = lerp(c[0], c[1], t) - t (1 - t) / 2 · lerp(Δ[0], Δ[1], t),    Δ[n] = c[n-1] - 2 c[n] + c[n+1]

So OpenCV's remapping can do it, in half of the time that torch takes for reading four columns.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from ..remapping import can_remap, can_remap_pixels, remap, row_numbers

_SECOND_DIFFERENCE = np.array([[1, -2, 1]], np.float32)
_WITH_SECOND_DIFFERENCE = np.array([[1, -1, 1]], np.float32)
_SCALE = 1000.0  # of `blendLinear`'s two weights, to whose sum it adds 1e-5


def read_columns(
    colour: Tensor,  # [C, H, W]
    position: Tensor,  # [1, H, W] in [0, W - 1]
    *,
    out: Tensor | None = None,  # [C, H, W]
) -> Tensor:  # [C, H, W]
    """Read each pixel of some rows at a position of the same row; beyond their ends rows go on as at them.

    Args:
        colour: Rows of a picture.
        position: The column where each pixel's colour is read, px.
        out: What the result is written into, of the colours' type; it takes no gradients.
    """
    if out is None and can_remap_pixels(colour) and can_remap(position):
        return _read_pixels_by_opencv(colour, position)
    if can_remap(colour, position, *([] if out is None else [out])):
        return _read_by_opencv(colour, position, torch.empty_like(colour) if out is None else out)
    return _read_by_torch(colour, position, out)


def _read_by_torch(colour: Tensor, position: Tensor, out: Tensor | None) -> Tensor:
    """Read four columns about each position, by one index into flat planes, which is faster than `gather`."""
    height, width = colour.shape[-2:]
    left = position[0].floor()
    weights = _cubic_weights(position[0] - left)
    row = torch.arange(height, device=colour.device, dtype=torch.int32)[:, None]
    index = left.int().add_(row, alpha=width + 3).flatten()
    first, last = colour[..., :1], colour[..., -1:]
    planes = torch.cat([first, colour, last, last], dim=-1).flatten(1)
    out = torch.empty_like(colour) if out is None else out
    for number, plane in enumerate(planes):
        read = [plane[tap:].index_select(0, index).view(height, width) for tap in range(len(weights))]
        out[number] = read[0] * weights[0]
        for values, weight in zip(read[1:], weights[1:], strict=True):
            out[number].addcmul_(values, weight)
    return out


def _cubic_weights(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights of the columns at -1, 0, 1 and 2 for a position t in [0, 1) after column 0."""
    s = 1 - t
    bow = (t * s).mul_(-0.5)
    outer_left, outer_right = bow * s, bow * t
    # The weights add up to 1, and their mean position is t.
    inner_left = (s + outer_right).sub_(outer_left, alpha=2)
    inner_right = (t + outer_left).sub_(outer_right, alpha=2)
    return outer_left, inner_left, inner_right, outer_right


def _read_by_opencv(colour: Tensor, position: Tensor, out: Tensor) -> Tensor:
    """Read by two remappings a plane, of the colours and of their second differences."""
    t = position[0].frac()
    bow = (t * t).sub_(t).mul_(0.5)
    columns, rows = position[0].numpy(), row_numbers(*bow.shape)
    difference, read = torch.empty_like(bow), torch.empty_like(bow)
    for plane, result in zip(colour, out, strict=True):
        cv2.filter2D(
            plane.numpy(), -1, _SECOND_DIFFERENCE, dst=difference.numpy(), borderType=cv2.BORDER_REPLICATE
        )
        remap(plane, columns, rows, out=result)
        remap(difference, columns, rows, out=read)
        result.addcmul_(read, bow)
    return out


def _read_pixels_by_opencv(colour: Tensor, position: Tensor) -> Tensor:
    """Do as `_read_by_opencv` for interleaved channels, all of them in the time of one.

    With b for t (t - 1) / 2 the kernel is a blend of two remappings, c(t) = (1 - b) lerp(c) + b lerp(c + Δ).
    """
    pixels = colour.permute(1, 2, 0)
    columns, rows = position[0].numpy(), row_numbers(*pixels.shape[:2])
    changed = torch.empty_like(pixels)
    cv2.filter2D(
        pixels.numpy(), -1, _WITH_SECOND_DIFFERENCE, dst=changed.numpy(), borderType=cv2.BORDER_REPLICATE
    )
    read, bent = torch.empty_like(pixels), torch.empty_like(pixels)
    remap(pixels, columns, rows, out=read)
    remap(changed, columns, rows, out=bent)
    t = position[0].frac()
    share = (t * t).sub_(t).mul_(_SCALE / 2)
    cv2.blendLinear(read.numpy(), bent.numpy(), (_SCALE - share).numpy(), share.numpy(), dst=changed.numpy())
    return changed.permute(2, 0, 1)
