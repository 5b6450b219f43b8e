"""A contact sheet of one frame: left, right, depth, hole mask and anaglyph."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from ..stereo import anaglyph

_TILE_WIDTH = 640  # px
_CAPTION_HEIGHT = 28  # px


def preview_sheet(
    left: Tensor,  # [3, H, W] in [0, 1]
    right: Tensor,  # [3, H, W] in [0, 1]
    *,
    depth: Tensor,  # [1, H, W] in [0, 1]
    hole: Tensor,  # [1, H, W], 1 = hole
    warped: Tensor,  # [3, H, W] in [0, 1]
) -> np.ndarray:  # [H', W', 3] uint8 RGB
    """Lay out what a frame went through, with captions, two tiles a row."""
    tiles = (
        ("left", left),
        ("right", right),
        ("depth (white = near)", depth.expand(3, -1, -1)),
        ("hole mask", hole.expand(3, -1, -1)),
        ("warped, before filling", warped),
        ("anaglyph (red-cyan)", anaglyph(left[None], right[None])[0]),
    )
    drawn = [_tile(caption, to_image(picture)) for caption, picture in tiles]
    return np.vstack([np.hstack(drawn[i : i + 2]) for i in range(0, len(drawn), 2)])


def _tile(caption: str, picture: np.ndarray) -> np.ndarray:
    """Resize a picture to the tile's width and write its caption above it."""
    height = max(1, round(picture.shape[0] * _TILE_WIDTH / picture.shape[1]))
    picture = cv2.resize(picture, (_TILE_WIDTH, height), interpolation=cv2.INTER_AREA)
    bar = np.zeros((_CAPTION_HEIGHT, _TILE_WIDTH, 3), np.uint8)
    cv2.putText(bar, caption, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([bar, picture])


def to_image(
    picture: Tensor,  # [3, H, W] in [0, 1]
    dtype: type[np.unsignedinteger] | np.dtype = np.uint8,
) -> np.ndarray:  # [H, W, 3] of that type
    """Convert a picture to 8 bits or 16, rounding to nearest."""
    highest = np.iinfo(dtype).max
    rounded = picture.detach().mul(highest).round_().clamp_(0, highest)
    if highest == 255:
        rounded = rounded.to(torch.uint8)
    return cv2.merge([plane.astype(dtype, copy=False) for plane in rounded.cpu().numpy()])
