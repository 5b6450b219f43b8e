"""Dense inverse search flow (Kroeger et al., ECCV 2016, arXiv 1603.03590) of a pair of frames, by OpenCV."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from ..checks import InputError, check_choice, check_picture
from .motion import Flow, join_flows
from .pictures import to_bytes

DIS_PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
DIS_PREFIX = "dis_"  # of the presets' names among the flow methods
_thread = threading.local()
_SMALLEST_SIDE = 32  # below this DIS has too few pyramid levels and patches


class DisFlow:
    """DIS flow as a `FlowEstimator`; each thread that works with it has buffers of its own.

    Args:
        preset: A key of `DIS_PRESETS`, from fast to accurate.
    """

    batch = 1

    def __init__(self, *, preset: str = "fast") -> None:
        check_choice("preset", preset, tuple(DIS_PRESETS))
        self._preset = preset

    def prepare(
        self,
        frame: Tensor,  # [3, H, W], float in [0, 1] or uint8
    ) -> np.ndarray:  # [H, W] uint8
        """Convert a frame to grey."""
        return cv2.cvtColor(to_bytes(frame), cv2.COLOR_RGB2GRAY)

    def between(self, first: np.ndarray, second: np.ndarray) -> Flow:
        """Estimate the flow between two frames in both directions."""
        there, back = (
            torch.from_numpy(np.stack(cv2.split(dis_flow(a, b, preset=self._preset))))[None]
            for a, b in ((first, second), (second, first))
        )
        return join_flows(there, back)

    def between_pairs(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Flow]:
        """Estimate the flow of several pairs, one by one."""
        return [self.between(*pair) for pair in pairs]


def dis_flow(
    first: np.ndarray,  # [H, W] uint8 grey
    second: np.ndarray,  # [H, W] uint8 grey
    *,
    preset: str = "fast",
) -> np.ndarray:  # [H, W, 2] float32
    """Estimate where each pixel of the first frame lies in the second one.

    Args:
        first: The frame whose pixels are followed.
        second: The frame in which they are found.
        preset: A key of `DIS_PRESETS`, from fast to accurate.

    Returns:
        (dx, dy) in pixels, pixel centres at integers.

    Raises:
        InputError: If the frames are no such arrays of one size, or the preset is unknown.
    """
    check_choice("preset", preset, tuple(DIS_PRESETS))
    check_picture("first", first, channels=None)
    check_picture("second", second, channels=None)
    if first.shape != second.shape:
        raise InputError(
            f"`second` must have the size of `first` ({first.shape[1]}x{first.shape[0]}), got "
            f"{second.shape[1]}x{second.shape[0]}; resize it first"
        )
    first, second = np.ascontiguousarray(first), np.ascontiguousarray(second)
    height, width = first.shape
    pad_bottom, pad_right = max(0, _SMALLEST_SIDE - height), max(0, _SMALLEST_SIDE - width)
    if pad_bottom or pad_right:
        padding = (0, pad_bottom, 0, pad_right, cv2.BORDER_REPLICATE)
        first, second = cv2.copyMakeBorder(first, *padding), cv2.copyMakeBorder(second, *padding)
    flow = _estimator(preset, first.shape).calc(first, second, None)
    return flow[:height, :width]


def _estimator(preset: str, size: tuple[int, ...]) -> cv2.DISOpticalFlow:
    """Return the calling thread's estimator, which keeps its buffers between frames of one size.

    Another size gets another estimator: small frames change its patches and scales for good.
    """
    if getattr(_thread, "made_for", None) != (preset, size):
        _thread.estimator = cv2.DISOpticalFlow_create(DIS_PRESETS[preset])
        _thread.made_for = preset, size
    return _thread.estimator
