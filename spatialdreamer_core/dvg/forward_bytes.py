"""Forward warp of 8-bit pictures on the CPU: bytes come in and go out, a strip at a time is of floats.

A picture's channels are interleaved, as decoders give them, and stay so with a fourth one beside them: OpenCV
reads four floats of a pixel in the time of one.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from .eyes import Eye, eye_sign
from .forward import rows_at_once
from .interleaved import empty_interleaved, rgba_of
from .rows import warp_rows


def warp_bytes(
    image: Tensor,  # [3, H, W] uint8
    disparity: Tensor,  # [1, H, W] px, float32
    *,
    eye: Eye,
) -> tuple[Tensor, Tensor, Tensor]:  # [3, H, W] uint8, [1, H, W] bool, [1, H, W] px
    """Like `forward.warp_frames` for one picture: the view is rounded and interleaved, holes are True.

    Args:
        image: The source view; interleaved channels need no copy.
        disparity: Distance that each pixel moves, pixels of the current width; larger is nearer.
        eye: The eye to render.

    Raises:
        InputError: If the eye is unknown.
    """
    sign, pixels = eye_sign(eye), image.permute(1, 2, 0).numpy()
    height, width = disparity.shape[-2:]
    view = empty_interleaved(height, width)
    rgba = rgba_of(view)
    assert rgba is not None, "it was made so"
    hole, seen = torch.empty(1, height, width, dtype=torch.bool), torch.empty_like(disparity)
    rows = rows_at_once(height, width)
    for top in range(0, height, rows):
        part = slice(top, top + rows)
        colour = torch.from_numpy(cv2.cvtColor(pixels[part], cv2.COLOR_RGB2RGBA).astype(np.float32))
        warped, hole[:, part], _ = warp_rows(
            colour.permute(2, 0, 1),
            disparity[:, part],
            sign=sign,
            highest=255,
            in_place=True,
            seen_out=seen[:, part],
        )
        cv2.convertScaleAbs(np.ascontiguousarray(warped.permute(1, 2, 0).numpy()), dst=rgba[part])
    return view, hole, seen
