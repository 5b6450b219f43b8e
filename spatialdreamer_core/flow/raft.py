"""RAFT flow (Teed and Deng, ECCV 2020, arXiv 2003.12039) of a pair of frames, by torchvision.

RAFT compares each cell of 8x8 pixels of one frame with each of the other, so its memory grows with the
square of the number of pixels: for 16:9 frames 1024 pixels wide it compares within 0.5 GB a direction, for
1920 it would take 6 GB. Larger frames are therefore shrunk for the estimate, and the flow is brought back to
their size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..memory import run_within_memory
from .motion import Flow, join_flows
from .raft_weights import FlowModel
from .sampling import fit_size, resize_flow

_WORKING_SIDE = 1024  # pixels, the longer side of the frames that RAFT sees
_SMALLEST_SIDE = 128  # pixels; RAFT's coarsest correlation needs 16x16 cells
_CELL = 8  # pixels


@dataclass(frozen=True)
class _Frame:
    """A frame as RAFT takes it."""

    image: Tensor  # [1, 3, h, w] in [-1, 1], at working size, on the model's device
    size: tuple[int, int]  # (height, width) of the frame as it was given


class RaftFlow:
    """A loaded RAFT model as a `FlowEstimator`; out of memory, it goes on at half the working size.

    Args:
        model: The model, on the device where it is to run.
    """

    def __init__(self, model: FlowModel) -> None:
        self._model = model
        self._working_side = _WORKING_SIDE

    @torch.no_grad()
    def prepare(
        self,
        frame: Tensor,  # [3, H, W], float in [0, 1] or uint8
    ) -> _Frame:
        """Bring a frame to the model's device, range and working size."""
        height, width = frame.shape[-2:]
        image = frame.to(next(self._model.module.parameters()).device)[None]
        image = image.float() / 255 if image.dtype == torch.uint8 else image.float().clamp(0, 1)
        return _Frame(_shrink(2 * image - 1, (height, width), self._working_side), (height, width))

    @torch.no_grad()
    def between(self, first: _Frame, second: _Frame) -> Flow:
        """Estimate the flow between two frames in both directions at once.

        Raises:
            InputError: If not even the smallest working size fits into memory.
        """
        name = self._model.spec.name
        side = min(self._working_side, max(first.size))
        flows, fitting = run_within_memory(
            partial(self._estimate, first, second),
            side,
            smaller=lambda side: side // 2 if side >= 2 * _SMALLEST_SIDE else None,
            task=f"flow method {name}",
            describe=lambda side: f"a longer side of {side} pixels",
            explain=lambda side: (
                f"a pair of frames must fit into memory, but flow method {name} ran out of it at a longer "
                f"side of {side} pixels; free memory, or use a dis_ method"
            ),
        )
        if fitting < side:
            self._working_side = fitting
        return flows

    def _estimate(self, first: _Frame, second: _Frame, side: int) -> Flow:
        """Estimate both flows at a working size with such a longer side."""
        try:
            a, b = (_shrink(frame.image, frame.size, side) for frame in (first, second))
            height, width = a.shape[-2:]
            a, b = _pad(a), _pad(b)
            flow = self._model.module(torch.cat((a, b)), torch.cat((b, a)))[-1][..., :height, :width]
            there, back = resize_flow(flow, first.size).cpu().contiguous().split(1)
            return join_flows(there, back)
        finally:  # torchvision keeps the correlations, most of the memory, until the next pair has its own
            correlations: Any = self._model.module.corr_block
            correlations.corr_pyramid = []


def _shrink(image: Tensor, size: tuple[int, int], side: int) -> Tensor:
    """Bring a frame of a full size, or one shrunk from it, to the working size of such a longer side."""
    working_size = fit_size(*size, longer_side=side)
    if image.shape[-2:] == working_size:
        return image
    return F.interpolate(image, working_size, mode="bilinear", align_corners=False, antialias=True)


def _pad(image: Tensor) -> Tensor:
    """Repeat the right and lower border up to a size that RAFT takes."""
    right, bottom = (
        max(_SMALLEST_SIDE, -(-side // _CELL) * _CELL) - side for side in (image.shape[-1], image.shape[-2])
    )
    return F.pad(image, (0, right, 0, bottom), mode="replicate")
