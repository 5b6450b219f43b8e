"""`estimate_flow`: one function for every optical flow method."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor

from ..checks import check_choice, check_video
from .dis import DIS_PRESETS, dis_flow

FLOW_METHODS = tuple(f"dis_{preset}" for preset in DIS_PRESETS)


def estimate_flow(
    frames: Tensor,  # [F, 3, H, W] in [0, 1]
    *,
    method: str = "dis_medium",
    on_frame: Callable[[int], None] | None = None,
) -> tuple[Tensor, Tensor]:  # two of [F-1, 2, H, W]
    """Estimate the optical flow between neighbouring frames, in both directions.

    Args:
        frames: The video.
        method: One of `FLOW_METHODS`.
        on_frame: Called with the number of finished frame pairs; may raise to interrupt.

    Returns:
        Forward flow, whose entry t follows frame t's pixels into frame t+1, and backward flow, whose entry t
        follows frame t+1's pixels into frame t. (dx, dy) in pixels, float32, pixel centres at integers; one
        frame gives tensors of length 0.

    Raises:
        InputError: If the frames have another shape or the method is unknown.
    """
    check_video("frames", frames, channels=3)
    check_choice("method", method, FLOW_METHODS)
    preset = method.removeprefix("dis_")
    height, width = frames.shape[-2:]
    forward = torch.empty(len(frames) - 1, 2, height, width)
    backward = torch.empty_like(forward)
    grey_next = _to_grey(frames[0])
    for t in range(len(frames) - 1):
        grey, grey_next = grey_next, _to_grey(frames[t + 1])
        forward[t] = torch.from_numpy(dis_flow(grey, grey_next, preset=preset)).permute(2, 0, 1)
        backward[t] = torch.from_numpy(dis_flow(grey_next, grey, preset=preset)).permute(2, 0, 1)
        if on_frame is not None:
            on_frame(t + 1)
    return forward.to(frames.device), backward.to(frames.device)


def _to_grey(frame: Tensor) -> np.ndarray:
    """Convert a frame [3, H, W] in [0, 1] to 8-bit grey [H, W]."""
    rgb = (frame.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    return cv2.cvtColor(np.ascontiguousarray(rgb.permute(1, 2, 0).numpy()), cv2.COLOR_RGB2GRAY)
