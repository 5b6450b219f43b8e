"""The first pass over a film: a depth model's range in each scene, measured on some of its frames.

Of each scene the model sees the first 8 frames, and from then on every 16th: one frame in seven where scenes
last 100 frames. Percentiles over these are the range that normalises the scene; the first frames' mean range
is the unit in which `DepthStabiliser` begins it. The second pass holds its output to the running range of its
input, so the percentiles of input as it comes stay valid. The same frames show where the scene's subject is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .alignment import typical_range
from .inference import film_inference
from .loading import DepthModel
from .scene_range import SceneRange, SceneRangeMeter
from .scene_statistics import SceneStatistics, SubjectMeter

START_FRAMES = 8  # of a scene, all of which are looked at
_EVERY = 16  # frames, one of which is looked at after those


@dataclass(frozen=True)
class MeasuredScene:
    """What the first pass found out about a scene, in the model's own unit."""

    range: SceneRange
    start_range: tuple[float, float]  # what frames at the start of the scene have on average
    statistics: SceneStatistics | None = None  # of its depth as it is normalised; None: they are not needed


class DepthFirstPass:
    """Takes a film's frames in order and measures its scenes; its memory does not grow with their length.

    Frames wait until the model takes them in a batch.

    Args:
        model: The model, on the device where it is to run.
    """

    def __init__(self, model: DepthModel) -> None:
        self._inference = film_inference(model)
        self._scenes: list[MeasuredScene] = []
        self._begin_scene()

    def step(
        self,
        frame: np.ndarray,  # [h, w, 3] uint8 RGB
        *,
        starts_scene: bool,
    ) -> None:
        """Take the next frame.

        Raises:
            InputError: If it does not fit into memory.
        """
        if starts_scene:
            self._finish_scene()
            self._begin_scene()
        if self._count < START_FRAMES or self._count % _EVERY == 0:
            self._waiting.append(frame)
        if len(self._waiting) == self._inference.most:
            self._measure()
        self._count += 1

    def finish(self) -> list[MeasuredScene]:
        """Return the scenes, in order."""
        self._finish_scene()
        return self._scenes

    def _begin_scene(self) -> None:
        """Forget the current scene."""
        self._meter, self._subject = SceneRangeMeter(), SubjectMeter()
        self._start: list[Tensor] = []
        self._waiting: list[np.ndarray] = []
        self._count = 0  # frames of the scene

    def _measure(self) -> None:
        """Look at the frames that wait."""
        for picture, depth in zip(self._waiting, self._inference.run_pictures(self._waiting), strict=True):
            weight = START_FRAMES  # it stands for as many frames as all those of the start do together
            if len(self._start) < START_FRAMES:
                self._start.append(depth)
                weight = 1
            self._meter.add(depth, weight=weight)
            self._subject.add(picture, depth[0, 0].numpy(), weight=weight)
        self._waiting = []

    def _finish_scene(self) -> None:
        """Note what was found out about the current scene, if there is one."""
        self._measure()
        if self._count:
            scene = self._meter.result()
            statistics = SceneStatistics.within(scene, self._subject.result())
            self._scenes.append(MeasuredScene(scene, typical_range(self._start), statistics))
