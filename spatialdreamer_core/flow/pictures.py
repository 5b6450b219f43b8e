"""Frames as OpenCV and PySceneDetect take them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..contracts import check_call


def to_rgb(
    frame: Tensor,  # [3, H, W], float in [0, 1] or uint8
) -> np.ndarray:  # [H, W, 3] uint8
    """Convert a frame to 8 bits, rounding to nearest.

    Raises:
        InputError: If the frame breaks its rule (`contracts.TABLE`).
    """
    check_call("to_rgb", frame=frame)
    return to_bytes(frame)


def to_bytes(
    frame: Tensor,  # [3, H, W], float in [0, 1] or uint8
) -> np.ndarray:  # [H, W, 3] uint8
    """Like `to_rgb`, without checking its arguments."""
    rgb = frame.detach().cpu()
    if rgb.dtype != torch.uint8:
        rgb = (rgb.float().clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(rgb.permute(1, 2, 0).numpy())
