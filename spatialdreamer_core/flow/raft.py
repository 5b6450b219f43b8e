"""RAFT flow (Teed and Deng, ECCV 2020, arXiv 2003.12039) of pairs of frames, by torchvision.

RAFT compares each cell of 8x8 pixels of one frame with each of the other, so its memory grows with the
square of the number of pixels: for 16:9 frames 1024 pixels wide it compares within 0.5 GB a direction, for
1920 it would take 6 GB. Larger frames are therefore shrunk for the estimate, and the flow is brought back to
their size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..memory import run_within_memory
from .motion import Flow, join_flows
from .raft_weights import FlowModel
from .sampling import fit_size, resize_flow

_WORKING_SIDE = 1024  # pixels, the longer side of the frames that RAFT sees
_GPU_BATCH = 4  # pairs; at a film's working size they compare within 1 GB
_SMALLEST_SIDE = 128  # pixels; RAFT's coarsest correlation needs 16x16 cells
_CELL = 8  # pixels


@dataclass(frozen=True)
class _Frame:
    """A frame as RAFT takes it."""

    image: Tensor  # [1, 3, h, w] in [-1, 1], at working size, on the model's device
    size: tuple[int, int]  # (height, width) of the frame as it was given


class RaftFlow:
    """A loaded RAFT model as a `FlowEstimator`; its flow stays on the model's device.

    Out of memory, it goes on with fewer pairs at once, and then at half the working size.

    Args:
        model: The model, on the device where it is to run.

    Attributes:
        batch: How many pairs it takes at once at most.
    """

    def __init__(self, model: FlowModel) -> None:
        self._model = model
        self._working_side = _WORKING_SIDE
        self.batch = _GPU_BATCH if self._device.type == "cuda" else 1
        self._fitting = self.batch  # pairs that memory has taken so far

    @property
    def _device(self) -> torch.device:
        """Where the model runs."""
        return next(self._model.module.parameters()).device

    @torch.no_grad()
    def prepare(
        self,
        frame: Tensor,  # [3, H, W], float in [0, 1] or uint8
    ) -> _Frame:
        """Bring a frame to the model's device, range and working size."""
        height, width = frame.shape[-2:]
        if self._device.type == "cuda" and not frame.is_cuda:
            frame = frame.pin_memory()  # so that nothing waits for the device
        image = frame.to(self._device, non_blocking=True)[None]
        image = image.float() / 255 if image.dtype == torch.uint8 else image.float().clamp(0, 1)
        return _Frame(_shrink(2 * image - 1, (height, width), self._working_side), (height, width))

    def between(self, first: _Frame, second: _Frame) -> Flow:
        """Estimate the flow between two frames in both directions at once.

        Raises:
            InputError: If not even the smallest working size fits into memory.
        """
        return self.between_pairs([(first, second)])[0]

    @torch.no_grad()
    def between_pairs(self, pairs: Sequence[tuple[_Frame, _Frame]]) -> list[Flow]:
        """Estimate the flow of several pairs at once, as many as fit into memory.

        Raises:
            InputError: If not even one fits at the smallest working size.
        """
        flows: list[Flow] = []
        for _, of_one_size in groupby(pairs, key=lambda pair: pair[0].size):
            waiting = list(of_one_size)
            while waiting:
                some = self._estimate_some(waiting)
                flows += some
                waiting = waiting[len(some) :]
        return flows

    def _estimate_some(self, pairs: list[tuple[_Frame, _Frame]]) -> list[Flow]:
        """Estimate the flow of as many of the first pairs, all of one size, as fit into memory."""
        name = self._model.spec.name
        wanted = min(self._fitting, len(pairs)), min(self._working_side, max(pairs[0][0].size))
        flows, (count, side) = run_within_memory(
            lambda size: self._estimate(pairs[: size[0]], size[1]),
            wanted,
            smaller=_smaller,
            task=f"flow method {name}",
            describe=lambda size: (
                f"{size[0]} pairs of frames" if size[0] > 1 else f"a longer side of {size[1]} pixels"
            ),
            explain=lambda size: (
                f"a pair of frames must fit into memory, but flow method {name} ran out of it at a longer "
                f"side of {size[1]} pixels; free memory, or use a dis_ method"
            ),
        )
        if count < wanted[0]:
            self._fitting = count
        if side < wanted[1]:
            self._working_side = side
        return flows

    def _estimate(self, pairs: list[tuple[_Frame, _Frame]], side: int) -> list[Flow]:
        """Estimate both flows of pairs of one size, at a working size with such a longer side."""
        size = pairs[0][0].size
        try:
            first, second = (
                torch.cat([_shrink(frame.image, size, side) for frame in frames])
                for frames in zip(*pairs, strict=True)
            )
            height, width = first.shape[-2:]
            first, second = _pad(first), _pad(second)
            network = self._model.module
            flow = network(torch.cat((first, second)), torch.cat((second, first)))[-1][..., :height, :width]
            there, back = (resize_flow(flow, size) if size != (height, width) else flow).chunk(2)
            whole = join_flows(there.contiguous(), back.contiguous())
            parts = (whole.forward, whole.backward, whole.forward_confidence, whole.backward_confidence)
            return [Flow(*pair) for pair in zip(*(part.split(1) for part in parts), strict=True)]
        finally:  # torchvision keeps the correlations, most of the memory, until the next pair has its own
            correlations: Any = self._model.module.corr_block
            correlations.corr_pyramid = []


def _smaller(size: tuple[int, int]) -> tuple[int, int] | None:
    """Return the next smaller number of pairs, or for one pair the next smaller side, or None."""
    count, side = size
    if count > 1:
        return count // 2, side
    return (1, side // 2) if side >= 2 * _SMALLEST_SIDE else None


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
