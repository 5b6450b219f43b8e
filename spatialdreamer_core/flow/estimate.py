"""`estimate_flow`: one function for every optical flow method."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from ..contracts import check_call
from .estimator import open_flow
from .motion import Flow
from .raft_weights import FlowModel


def estimate_flow(
    frames: Tensor,  # [F, 3, H, W] in [0, 1]
    *,
    method: str | FlowModel = "dis_medium",
    on_frame: Callable[[int], None] | None = None,
    device: torch.device | str | None = None,
    download: bool = False,
) -> Flow:
    """Estimate the optical flow between neighbouring frames, in both directions.

    Args:
        frames: The video.
        method: One of `FLOW_METHODS`, or a model from `load_flow_model`.
        on_frame: Called with the number of finished frame pairs; may raise to interrupt.
        device: Where a model named by `method` runs; None is the frames' device.
        download: Whether to download a model's weights if they are missing.

    Returns:
        The flow of both directions and its confidence, float32, on the frames' device; that of one frame has
        length 0.

    Raises:
        InputError: If the frames break their rule (`contracts.TABLE`), the method is unknown, or a model
            cannot be loaded.
    """
    check_call("estimate_flow", frames=frames)
    estimator = open_flow(method, device=frames.device if device is None else device, download=download)
    pairs, (height, width) = len(frames) - 1, frames.shape[-2:]
    forward, backward = (torch.empty(pairs, 2, height, width, device=frames.device) for _ in range(2))
    forward_confidence, backward_confidence = (
        torch.empty(pairs, 1, height, width, device=frames.device) for _ in range(2)
    )
    following = estimator.prepare(frames[0])
    for first in range(0, pairs, estimator.batch):
        prepared = [following]
        for frame in frames[first + 1 : first + 1 + estimator.batch]:
            prepared.append(estimator.prepare(frame))
        following = prepared[-1]
        for t, pair in enumerate(estimator.between_pairs(list(pairwise(prepared))), start=first):
            forward[t : t + 1], backward[t : t + 1] = pair.forward, pair.backward
            forward_confidence[t : t + 1] = pair.forward_confidence
            backward_confidence[t : t + 1] = pair.backward_confidence
            if on_frame is not None:
                on_frame(t + 1)
    return Flow(forward, backward, forward_confidence, backward_confidence)
