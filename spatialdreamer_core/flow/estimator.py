"""One interface for all optical flow methods, for clips and films."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ..checks import check_choice, check_flag
from .catalogue import FLOW_METHODS
from .dis import DIS_PREFIX, DisFlow
from .motion import Flow
from .raft import RaftFlow
from .raft_weights import FlowModel, load_flow_model


class FlowEstimator(Protocol):
    """Estimates the flow of pairs of frames.

    Attributes:
        batch: How many pairs it takes at once at most; 1: it works on them one by one, in any thread.
    """

    batch: int

    def prepare(
        self,
        frame: Tensor,  # [3, H, W], float in [0, 1] or uint8
    ) -> Any:
        """Convert a frame to what `between` takes, once for the two pairs that it is in."""
        ...

    def between(self, first: Any, second: Any) -> Flow:
        """Estimate the flow between two frames in both directions, where it works: on the CPU or a GPU."""
        ...

    def between_pairs(self, pairs: Sequence[tuple[Any, Any]]) -> list[Flow]:
        """Estimate the flow of several pairs, see `between`."""
        ...


def open_flow(
    method: str | FlowModel,
    *,
    device: torch.device | str = "cpu",
    download: bool = False,
) -> FlowEstimator:
    """Open a flow method.

    Args:
        method: One of `FLOW_METHODS`, or a model from `load_flow_model`.
        device: Where a model named by `method` runs; DIS runs on the CPU.
        download: Whether to download a model's weights if they are missing.

    Raises:
        InputError: If the name is unknown, or see `load_flow_model`.
    """
    check_flag("download", download)
    if isinstance(method, FlowModel):
        return RaftFlow(method)
    check_choice("method", method, FLOW_METHODS)
    if method.startswith(DIS_PREFIX):
        return DisFlow(preset=method.removeprefix(DIS_PREFIX))
    return RaftFlow(load_flow_model(method, device=device, download=download))
