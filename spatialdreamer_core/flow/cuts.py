"""Scene cuts, found frame by frame with PySceneDetect's content detector; across a cut there is no flow."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
from scenedetect import ContentDetector, FrameTimecode
from torch import Tensor

from ..checks import check_picture, check_range
from ..contracts import check_call
from .pictures import to_bytes

_DETECTION_WIDTH = 256  # pixels; PySceneDetect itself downscales to about this width


class CutDetector:
    """Tells for each frame of a stream whether a new scene begins with it.

    Args:
        threshold: PySceneDetect's content threshold: mean change of hue, saturation and brightness, 0 to 255.

    Raises:
        InputError: If `threshold` is out of range.
    """

    def __init__(self, *, threshold: float = 27.0) -> None:
        check_range("threshold", threshold, 0, 255)
        self._detector = ContentDetector(threshold=threshold, min_scene_len=1)
        self._index = 0

    def step(self, frame: np.ndarray) -> bool:
        """Take the next frame, [H, W, 3] uint8 RGB; return True if a new scene starts with it.

        Raises:
            InputError: If the frame is no such array.
        """
        check_picture("frame", frame)
        height, width = frame.shape[:2]
        if width > _DETECTION_WIDTH:
            size = (_DETECTION_WIDTH, max(1, round(height * _DETECTION_WIDTH / width)))
            frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        timecode = FrameTimecode(self._index, Fraction(25))
        cuts = self._detector.process_frame(timecode, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self._index += 1
        return bool(cuts)


def find_cuts(
    frames: Tensor,  # [F, 3, H, W] in [0, 1]
    *,
    threshold: float = 27.0,
) -> list[int]:
    """Find the frames with which a new scene begins; frame 0 is never among them.

    Raises:
        InputError: If the frames break their rule (`contracts.TABLE`) or `threshold` is out of range.
    """
    check_call("find_cuts", frames=frames)
    detector = CutDetector(threshold=threshold)
    cuts = []
    for t, frame in enumerate(frames):
        if detector.step(to_bytes(frame)):
            cuts.append(t)
    return cuts
