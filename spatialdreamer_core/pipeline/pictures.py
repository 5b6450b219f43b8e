"""Films with black bars: the stage that cuts the picture out of each frame, and the scenes of what is left.

All that follows sees the picture alone, so disparity is in % of the picture's width, no hole is filled from a
bar, and floating windows stand at the picture's edges; packing puts the eyes' pictures back into the frame. A
first pass takes the same frames through the same stage, so both see the same pictures and scenes.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator

import numpy as np

from ..bars import PictureBox, PictureFinder, Surround
from ..flow import CutDetector
from ..video.reader import VideoFrame
from .clock import StageClock

_LOGGER = logging.getLogger(__name__)


def cut_pictures(
    frames: Iterator[VideoFrame], *, black_bars: str, clock: StageClock, report: bool = False
) -> Iterator[VideoFrame]:
    """Reduce each frame with black bars to its picture; other frames pass as they are.

    Args:
        frames: The film.
        black_bars: "auto", or "off" to let all frames pass.
        clock: Adds up the time that each stage takes.
        report: Whether to log a line the first time that the picture lies at a place.
    """
    if black_bars == "off":
        yield from frames
        return
    finder = PictureFinder()
    waiting: deque[VideoFrame] = deque()
    reported: set[PictureBox] = set()
    for frame in frames:
        waiting.append(frame)
        with clock("bars"):
            boxes = finder.step(frame.image)
        for box in boxes:
            yield _cut(waiting.popleft(), box, reported if report else None)
    for box in finder.finish():
        yield _cut(waiting.popleft(), box, reported if report else None)


def _cut(frame: VideoFrame, box: PictureBox, reported: set[PictureBox] | None) -> VideoFrame:
    """Cut out a frame's picture, without a copy."""
    if box.size == frame.image.shape[:2]:
        return frame
    if reported is not None and box not in reported:
        reported.add(box)
        _LOGGER.info(
            "black bars: from %.2f s on the picture is %s of %dx%d, and is converted alone",
            frame.time,
            box,
            *frame.image.shape[1::-1],
        )
    return frame._replace(image=frame.image[box.slices], surround=Surround(frame.image, box))


class SceneDetector:
    """Tells where scenes begin: at cuts, and where the picture takes another place in the frame."""

    def __init__(self) -> None:
        self._cuts = CutDetector()
        self._box: PictureBox | None = None

    def step(
        self,
        frame: VideoFrame,
        small: np.ndarray,  # [h, w, 3] uint8, its picture at working size
    ) -> bool:
        """Take the next frame; return whether a new scene begins with it (not said of the first one).

        A frame of a film whose scenes are known says so itself.
        """
        if frame.starts_scene is not None:
            return frame.starts_scene
        box = None if frame.surround is None else frame.surround.box
        if box == self._box:
            return self._cuts.step(small)
        self._cuts, self._box = CutDetector(), box  # frames of two sizes cannot be compared
        self._cuts.step(small)
        return True
