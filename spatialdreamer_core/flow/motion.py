"""Optical flow as one value: that of a clip (`Flow`), and that of one frame towards one neighbour (`Motion`).

Both hold vectors (dx, dy) in pixels, pixel centres at integers, together with where they can be trusted. The
confidence of each direction is measured once, against the other one (`consistency.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import InputError, check_range
from ..contracts import check_call
from .consistency import compare_flows
from .sampling import resize_flow


@dataclass(frozen=True, eq=False)
class Motion:
    """One frame's flow towards one neighbour."""

    flow: Tensor  # [2, H, W] px
    confidence: Tensor  # [1, H, W] in [0, 1], see `flow_confidence`

    def to(self, device: torch.device | str) -> Motion:
        """Return the same on a device."""
        return Motion(self.flow.to(device), self.confidence.to(device))


@dataclass(frozen=True, eq=False)
class Flow:
    """A clip's flow between neighbouring frames, both ways; make it by `estimate_flow` or `Flow.between`."""

    forward: Tensor  # [F-1, 2, H, W] px; entry t follows frame t's pixels into frame t+1
    backward: Tensor  # [F-1, 2, H, W] px; entry t follows frame t+1's pixels into frame t
    forward_confidence: Tensor  # [F-1, 1, H, W] in [0, 1]
    backward_confidence: Tensor  # [F-1, 1, H, W] in [0, 1]

    @classmethod
    def between(
        cls,
        forward: Tensor,  # [F-1, 2, H, W] px, from each frame to the next one
        backward: Tensor,  # [F-1, 2, H, W] px, from each next frame back
    ) -> Flow:
        """Join the two directions, and measure where each of them can be trusted.

        Raises:
            InputError: If a flow breaks its rule (`contracts.TABLE`).
        """
        check_call("Flow.between", forward=forward, backward=backward)
        return join_flows(forward, backward)

    def to_next(self, t: int) -> Motion | None:
        """Return frame t's motion towards the next frame; None for the last one.

        Raises:
            InputError: If there is no frame t.
        """
        check_range("t", t, 0, len(self.forward), whole=True)
        return None if t == len(self.forward) else Motion(self.forward[t], self.forward_confidence[t])

    def to_previous(self, t: int) -> Motion | None:
        """Return frame t's motion towards the frame before; None for the first one.

        Raises:
            InputError: If there is no frame t.
        """
        check_range("t", t, 0, len(self.backward), whole=True)
        return None if t == 0 else Motion(self.backward[t - 1], self.backward_confidence[t - 1])

    def cut(self, first: int, end: int, rows: slice, columns: slice) -> Flow:
        """Return the flow of a part of the clip: some of its frames, and some of their pixels."""
        part = slice(first, end - 1), slice(None), rows, columns
        forward, backward = self.forward[part], self.backward[part]
        return self if forward.shape == self.forward.shape else join_flows(forward, backward)

    def resized(self, size: tuple[int, int]) -> Flow:
        """Return the flow of the same frames at another (height, width)."""
        return join_flows(resize_flow(self.forward, size), resize_flow(self.backward, size))

    def to(self, device: torch.device | str) -> Flow:
        """Return the same on a device."""
        parts = (self.forward, self.backward, self.forward_confidence, self.backward_confidence)
        return Flow(*(part.to(device) for part in parts))


def join_flows(forward: Tensor, backward: Tensor) -> Flow:
    """Like `Flow.between`, without checking its arguments."""
    if not len(forward):
        none = forward.new_zeros(0, 1, *forward.shape[-2:])
        return Flow(forward, backward, none, none)
    return Flow(forward, backward, compare_flows(forward, backward), compare_flows(backward, forward))


def check_flow(
    flow: object,
    *,
    like: Tensor,  # [F, C, H, W]
) -> None:
    """Check that an argument is the flow of a clip that is known to be right.

    Raises:
        InputError: If it is no `Flow`, has another length, size or device, or breaks its rule
            (`contracts.TABLE`).
    """
    if not isinstance(flow, Flow):
        raise InputError(
            f"`flow` must be a Flow, got {type(flow).__name__}; make one by estimate_flow(frames), or of two "
            "tensors by Flow.between(forward, backward)"
        )
    check_call(
        "Flow",
        frames=like,
        flow__forward=flow.forward,
        flow__backward=flow.backward,
        flow__forward_confidence=flow.forward_confidence,
        flow__backward_confidence=flow.backward_confidence,
    )


def check_motion(name: str, motion: object) -> None:
    """Check that an argument is one frame's motion; it may be smaller than the frame.

    Raises:
        InputError: If it is no `Motion`, or breaks its rule (`contracts.TABLE`).
    """
    if not isinstance(motion, Motion):
        raise InputError(
            f"`{name}` must be a Motion, got {type(motion).__name__}; take it from a Flow by to_previous(t) "
            "or to_next(t)"
        )
    check_call("Motion", motion__flow=motion.flow, motion__confidence=motion.confidence)
