"""`estimate_flow`: one function for every optical flow method."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..contracts import check_call
from .estimator import open_flow
from .raft_weights import FlowModel


def estimate_flow(
    frames: Tensor,  # [F, 3, H, W] in [0, 1]
    *,
    method: str | FlowModel = "dis_medium",
    on_frame: Callable[[int], None] | None = None,
    device: torch.device | str | None = None,
    download: bool = False,
) -> tuple[Tensor, Tensor]:  # two of [F-1, 2, H, W]
    """Estimate the optical flow between neighbouring frames, in both directions.

    Args:
        frames: The video.
        method: One of `FLOW_METHODS`, or a model from `load_flow_model`.
        on_frame: Called with the number of finished frame pairs; may raise to interrupt.
        device: Where a model named by `method` runs; None is the frames' device.
        download: Whether to download a model's weights if they are missing.

    Returns:
        Forward flow, whose entry t follows frame t's pixels into frame t+1, and backward flow, whose entry t
        follows frame t+1's pixels into frame t. (dx, dy) in pixels, float32, pixel centres at integers; one
        frame gives tensors of length 0.

    Raises:
        InputError: If the frames break their rule (`contracts.TABLE`), the method is unknown, or a model
            cannot be loaded.
    """
    check_call("estimate_flow", frames=frames)
    estimator = open_flow(method, device=frames.device if device is None else device, download=download)
    height, width = frames.shape[-2:]
    forward = torch.empty(len(frames) - 1, 2, height, width)
    backward = torch.empty_like(forward)
    following = estimator.prepare(frames[0])
    for t in range(len(frames) - 1):
        current, following = following, estimator.prepare(frames[t + 1])
        forward[t : t + 1], backward[t : t + 1] = estimator.between(current, following)
        if on_frame is not None:
            on_frame(t + 1)
    return forward.to(frames.device), backward.to(frames.device)
