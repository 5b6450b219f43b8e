"""Planes read at positions by OpenCV's remapping, several times as fast as torch on the CPU.

Up to version 4 OpenCV rounds positions to 1/32 px. There, on other devices, for other types than float32 and
where gradients are wanted, `can_remap` is False and the caller does it by torch.
"""

from __future__ import annotations

from functools import cache, lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

_LONGEST_SIDE = 32_000  # px; OpenCV counts pixels in 16 bits


def can_remap(*tensors: Tensor) -> bool:
    """Tell whether OpenCV can read such planes, [..., H, W] each, where they lie and without rounding."""
    return (
        all(
            tensor.device.type == "cpu"
            and tensor.dtype == torch.float32
            and not tensor.requires_grad
            and tensor.numel() > 0
            and tensor.stride(-1) == 1
            and tensor.stride(-2) == tensor.shape[-1]
            and max(tensor.shape[-2:]) <= _LONGEST_SIDE
            for tensor in tensors
        )
        and _remaps_exactly()
    )


def can_remap_pixels(
    picture: Tensor,  # [C, H, W]
) -> bool:
    """Tell it of a picture of four interleaved channels, which OpenCV reads in the time of one."""
    pixels = picture.permute(1, 2, 0)
    fits = len(picture) == 4 and 0 < picture.shape[1] <= _LONGEST_SIDE and pixels.is_contiguous()
    return fits and can_remap(pixels[0])


def remap(
    plane: Tensor,  # [H, W] or [H, W, 4]
    x: np.ndarray,  # [h, w] px, pixel centres at integers
    y: np.ndarray,  # [h, w] px
    *,
    out: Tensor,  # [h, w] or [h, w, 4]
) -> None:
    """Read a plane at positions into another one, bilinearly; beyond its border as at it."""
    cv2.remap(plane.numpy(), x, y, cv2.INTER_LINEAR, dst=out.numpy(), borderMode=cv2.BORDER_REPLICATE)


def pick(
    plane: Tensor,  # [H, W]
    x: np.ndarray,  # [h, w] whole columns, float32
    y: np.ndarray,  # [h, w] whole rows, float32
    *,
    out: Tensor,  # [h, w]
) -> None:
    """Read a plane's pixels into another one, 0 outside of it."""
    cv2.remap(plane.numpy(), x, y, cv2.INTER_NEAREST, dst=out.numpy(), borderMode=cv2.BORDER_CONSTANT)


@lru_cache(maxsize=8)
def row_numbers(height: int, width: int) -> np.ndarray:  # [height, width] float32
    """Return the number of each pixel's row; not to be written to."""
    return np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)


@cache
def _remaps_exactly() -> bool:
    """Try whether this OpenCV reads floats without rounding their positions."""
    row = np.array([[0, 1]], np.float32)
    at = np.full((1, 64), 0.51, np.float32)
    return bool(np.allclose(cv2.remap(row, at, np.zeros_like(at), cv2.INTER_LINEAR), 0.51, atol=1e-5))
