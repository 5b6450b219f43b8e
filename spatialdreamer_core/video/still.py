"""One decoded picture of a still-image codec to RGB in full range, of 8 or 16 bits.

A still is converted once, so exactness counts more than speed: chroma is spread linearly, the matrix is
applied in floating point, and grey stays grey. With K of H.273 and chroma in [-1/2, 1/2]:

    r = y + 2(1 - K_r) v      b = y + 2(1 - K_b) u      g = (y - K_r r - K_b b) / K_g
"""

from __future__ import annotations

import av
import cv2
import numpy as np

from ..media import ONE_THREAD
from .color import ColorInfo

_STRIP_PIXELS = 1 << 20
_LUMA = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
_LUMA_601 = (0.299, 0.114)  # (K_r, K_b)


def still_to_rgb(frame: av.VideoFrame, color: ColorInfo) -> np.ndarray:  # [H, W, 3] uint8 or uint16
    """Convert a decoded picture to RGB: 8 bits if it has no more, else 16.

    Args:
        frame: The picture, of any pixel format.
        color: How its YUV is to be read.
    """
    bits = frame.format.components[0].bits
    if frame.format.is_rgb or frame.format.has_palette:
        return frame.reformat(format="rgb24" if bits <= 8 else "rgb48le", **ONE_THREAD).to_ndarray()
    if not frame.format.name.startswith(("yuv", "gray")):  # such as two planes, of luma and of chroma
        frame = frame.reformat(format="yuv444p" if bits <= 8 else f"yuv444p{bits}le", **ONE_THREAD)
    channels = 3 if len(frame.format.components) >= 3 else 1
    planes = [_raise(_plane(frame, i), frame.height, frame.width) for i in range(channels)]
    k_r, k_b = _LUMA.get(color.matrix, _LUMA_601)
    unit = 1 << (bits - 8)
    highest = (1 << bits) - 1
    black, luma_range, chroma_range = (
        (0, highest, highest) if color.full_range else (16 * unit, 219 * unit, 224 * unit)
    )
    white = 255 if bits <= 8 else 65535
    rgb = np.empty((*planes[0].shape, 3), np.uint8 if bits <= 8 else np.uint16)
    rows = max(1, _STRIP_PIXELS // rgb.shape[1])
    for top in range(0, len(rgb), rows):
        y, *chroma = (plane[top : top + rows].astype(np.float32) for plane in planes)
        luma = (y - black) / luma_range
        u, v = ((c - 128 * unit) / chroma_range for c in chroma) if chroma else (0, 0)
        r, b = luma + 2 * (1 - k_r) * v, luma + 2 * (1 - k_b) * u
        g = (luma - k_r * r - k_b * b) / (1 - k_r - k_b)
        rgb[top : top + rows] = np.rint(np.stack([r, g, b], axis=-1) * white).clip(0, white)
    return rgb


def luma_of(frame: av.VideoFrame) -> np.ndarray:  # [H, W] uint8 or uint16
    """Return the first plane of a decoded picture of YUV or grey."""
    return _plane(frame, 0)


def _plane(frame: av.VideoFrame, index: int) -> np.ndarray:
    """Return a plane without the padding of its rows."""
    plane = frame.planes[index]
    wide = frame.format.components[index].bits > 8
    values = np.frombuffer(memoryview(plane), np.uint16 if wide else np.uint8)
    rows = values.reshape(-1, plane.line_size // (2 if wide else 1))
    return rows[: plane.height, : plane.width]


def _raise(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bring a plane of chroma to full size; it may stand for a column or row more than there is."""
    if plane.shape == (height, width):
        return plane
    factors = [-(-full // part) for full, part in zip((width, height), plane.shape[::-1], strict=True)]
    size = plane.shape[1] * factors[0], plane.shape[0] * factors[1]
    return cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
