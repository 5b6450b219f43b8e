"""Colours between the columns of a row, read with a cubic kernel (Keys 1981, a = -0.5).

For a position at t in [0, 1) after column 0 the kernel is linear interpolation less a part of the picture's
second difference Δ, which is interpolated alike:

    c(t) = lerp(c[0], c[1], t) - t (1 - t) / 2 · lerp(Δ[0], Δ[1], t),    Δ[n] = c[n-1] - 2 c[n] + c[n+1]

So OpenCV's remapping can do it, in half of the time that torch takes for reading four columns. Up to its
version 4 OpenCV rounds positions to 1/32 px; then, and where gradients are wanted, torch does it.
"""

from __future__ import annotations

from functools import cache, lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

_LONGEST_SIDE = 32_000  # px; OpenCV's remapping counts in 16 bits
_SECOND_DIFFERENCE = np.array([[1, -2, 1]], np.float32)


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
    if _fits_opencv(colour, position, out):
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


def _fits_opencv(colour: Tensor, position: Tensor, out: Tensor | None) -> bool:
    """Tell whether OpenCV can read these rows, where they lie, without rounding."""
    given = (colour, position) if out is None else (colour, position, out)
    return (
        all(part.device.type == "cpu" and part.dtype == torch.float32 for part in given)
        and not any(part.requires_grad for part in given)
        and all(part.stride(-1) == 1 and part.stride(-2) == part.shape[-1] for part in given)
        and max(colour.shape[-2:]) <= _LONGEST_SIDE
        and _remaps_exactly()
    )


def _read_by_opencv(colour: Tensor, position: Tensor, out: Tensor) -> Tensor:
    """Read by two remappings a plane, of the colours and of their second differences."""
    t = position[0] - position[0].floor()
    bow = (t * t).sub_(t).mul_(0.5)
    columns, rows = position[0].numpy(), _row_numbers(*bow.shape)
    difference, read = np.empty_like(columns), torch.empty_like(bow)
    for plane, result in zip(colour, out, strict=True):
        source = plane.numpy()
        cv2.filter2D(source, -1, _SECOND_DIFFERENCE, dst=difference, borderType=cv2.BORDER_REPLICATE)
        for values, place in ((source, result), (difference, read)):
            cv2.remap(
                values,
                columns,
                rows,
                cv2.INTER_LINEAR,
                dst=place.numpy(),
                borderMode=cv2.BORDER_REPLICATE,
            )
        result.addcmul_(read, bow)
    return out


@lru_cache(maxsize=8)
def _row_numbers(height: int, width: int) -> np.ndarray:  # [height, width] float32
    """Return the number of each pixel's row."""
    return np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)


@cache
def _remaps_exactly() -> bool:
    """Try whether this OpenCV remaps floats without rounding their positions."""
    row = np.array([[0, 1]], np.float32)
    at = np.full((1, 64), 0.51, np.float32)
    return bool(np.allclose(cv2.remap(row, at, np.zeros_like(at), cv2.INTER_LINEAR), 0.51, atol=1e-5))
