"""RAFT flow (Teed and Deng, ECCV 2020, arXiv 2003.12039) of a pair of frames, by torchvision.

RAFT compares each cell of 8x8 pixels of one frame with each of the other, so its memory grows with the
square of the number of pixels: for 16:9 frames 1024 pixels wide it compares within 0.5 GB a direction, for
1920 it would take 6 GB. Larger frames are therefore shrunk for the estimate, and the flow is brought back to
their size.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import InputError
from ..memory import is_out_of_memory, release_cached_memory
from .motion import Flow, join_flows
from .raft_weights import FlowModel
from .sampling import fit_size, resize_flow

_LOGGER = logging.getLogger(__name__)
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
        return _Frame(self._shrink(2 * image - 1, (height, width)), (height, width))

    @torch.no_grad()
    def between(self, first: _Frame, second: _Frame) -> Flow:
        """Estimate the flow between two frames in both directions at once.

        Raises:
            InputError: If not even the smallest working size fits into memory.
        """
        while True:
            flow = self._try(first, second)
            if flow is not None:
                return flow
            self._halve(first.size)

    def _try(self, first: _Frame, second: _Frame) -> Flow | None:
        """Estimate both flows; return None if the memory does not suffice."""
        try:
            a, b = (self._shrink(frame.image, frame.size) for frame in (first, second))
            height, width = a.shape[-2:]
            a, b = _pad(a), _pad(b)
            flow = self._model.module(torch.cat((a, b)), torch.cat((b, a)))[-1][..., :height, :width]
            there, back = resize_flow(flow, first.size).cpu().contiguous().split(1)
            return join_flows(there, back)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return None
        finally:  # torchvision keeps the correlations, most of the memory, until the next pair has its own
            correlations: Any = self._model.module.corr_block
            correlations.corr_pyramid = []

    def _shrink(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """Bring a frame of a full size, or one shrunk from it, to the working size."""
        working_size = fit_size(*size, longer_side=self._working_side)
        if image.shape[-2:] == working_size:
            return image
        return F.interpolate(image, working_size, mode="bilinear", align_corners=False, antialias=True)

    def _halve(self, size: tuple[int, int]) -> None:
        """Halve the working size, or give up."""
        failed = min(self._working_side, max(size))
        name = self._model.spec.name
        if failed < 2 * _SMALLEST_SIDE:
            raise InputError(
                f"a pair of frames must fit into memory, but flow method {name} ran out of it at a longer "
                f"side of {failed} pixels; free memory, or use a dis_ method"
            )
        self._working_side = failed // 2
        _LOGGER.info(
            "out of memory with %s at a longer side of %d pixels: trying %d",
            name,
            failed,
            self._working_side,
        )
        release_cached_memory()


def _pad(image: Tensor) -> Tensor:
    """Repeat the right and lower border up to a size that RAFT takes."""
    right, bottom = (
        max(_SMALLEST_SIDE, -(-side // _CELL) * _CELL) - side for side in (image.shape[-1], image.shape[-2])
    )
    return F.pad(image, (0, right, 0, bottom), mode="replicate")
