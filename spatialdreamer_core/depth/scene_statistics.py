"""What is to be known of a scene's depth before its first frame is placed before or behind the screen.

Its subject is the median of its frames' subjects (`find_subject`): one value holds for the scene, so nothing
breathes and nothing jumps. Its range is p1 to p99 over the pixels of all of its frames. What edges of depth
will gain by being snapped and dilated before the warp (`shaping.py`) is counted with it, so that the range
holds for what is warped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from ..checks import check_cuts
from ..contracts import check_call
from ..flow.pictures import to_bytes
from .quantiles import Quantiles
from .scene_range import SceneRange
from .shaping import DepthShaping
from .subject import find_subject

_LOW, _HIGH = 0.01, 0.99  # shares of the pixels


class SceneStatistics(NamedTuple):
    """A scene's inverse depth in [0, 1], 1 = near, before it is shaped."""

    subject: float  # where viewers look
    low: float  # 1 % of all pixels are farther
    high: float  # 1 % of all pixels are nearer

    @classmethod
    def within(cls, scene: SceneRange, subject: float) -> SceneStatistics:
        """Say it of depth that is normalised by its range, which it then fills.

        Args:
            scene: The range.
            subject: The subject's depth, in the unit of the range.
        """
        values = torch.tensor([subject, scene.low, scene.high], dtype=torch.float64)
        return cls(*scene.normalise(values).tolist())


class SubjectMeter:
    """Follows a scene's subject in constant memory."""

    def __init__(self) -> None:
        self._subjects = Quantiles()

    def add(
        self,
        picture: np.ndarray,  # [h, w, 3] uint8 RGB
        depth: np.ndarray,  # [h', w'] float32, in any unit
        *,
        weight: int = 1,
    ) -> None:
        """Look at a frame that stands for `weight` frames."""
        self._subjects.add(torch.tensor([find_subject(picture, depth)]), weight=weight)

    def result(self) -> float:
        """Return the subject's depth; there must have been a frame."""
        return self._subjects.quantile(0.5)


class StatisticsMeter:
    """Measures a scene of depth that is in [0, 1] already, frame by frame, in constant memory.

    Args:
        shaping: How the depth will be shaped.
        scale: Width of the measured depth over that of the depth which will be shaped.
    """

    def __init__(self, shaping: DepthShaping, *, scale: float = 1.0) -> None:
        self._subject = SubjectMeter()
        self._lows, self._highs = Quantiles(), Quantiles()
        self._shrinking = math.ceil(scale * shaping.edge_width)
        self._growth = math.ceil(scale * (shaping.edge_width + shaping.edge_dilation))

    def step(
        self,
        picture: np.ndarray,  # [h, w, 3] uint8 RGB
        depth: np.ndarray,  # [h', w'] float32 in [0, 1], of the same shape
    ) -> None:
        """Take the scene's next frame."""
        depth = depth.astype(np.float32, copy=False).clip(0, 1)
        self._subject.add(picture, depth)
        self._lows.add(_flat(cv2.erode(depth, _square(self._shrinking))))
        self._highs.add(_flat(cv2.dilate(depth, _square(self._growth))))

    def result(self) -> SceneStatistics:
        """Return what was measured; there must have been a frame."""
        values = self._subject.result(), self._lows.quantile(_LOW), self._highs.quantile(_HIGH)
        return SceneStatistics(*(min(max(value, 0.0), 1.0) for value in values))  # bins end beyond


def measure_statistics(
    frames: Tensor,  # [F, 3, H, W] in [0, 1]
    depth: Tensor,  # [F, 1, h, w] in [0, 1], 1 = near
    *,
    cuts: Sequence[int] = (),
    shaping: DepthShaping | None = None,
) -> list[SceneStatistics]:
    """Measure each scene of a clip.

    Args:
        frames: The clip.
        depth: Inverse depth of its frames, of any size of the same shape.
        cuts: Frames with which a new scene begins, as `find_cuts` gives them.
        shaping: How the depth will be shaped at full size; None: not at all.

    Raises:
        InputError: If a tensor breaks its rule (`contracts.TABLE`), or a cut is no frame of the clip.
    """
    check_call("measure_statistics", frames=frames, depth=depth)
    check_cuts(cuts, len(frames))
    scale, shaping = depth.shape[-1] / frames.shape[-1], shaping or DepthShaping()
    shaping.check()
    scenes: list[StatisticsMeter] = []
    for t, (frame, plane) in enumerate(zip(frames, depth, strict=True)):
        if t == 0 or t in cuts:
            scenes.append(StatisticsMeter(shaping, scale=scale))
        scenes[-1].step(to_bytes(frame), plane[0].detach().float().cpu().numpy())
    return [scene.result() for scene in scenes]


def _flat(plane: np.ndarray) -> Tensor:
    """Bring a map to what is counted."""
    return torch.from_numpy(plane).flatten()


def _square(radius: int) -> np.ndarray:
    """Make the neighbourhood of a pixel up to a distance."""
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
