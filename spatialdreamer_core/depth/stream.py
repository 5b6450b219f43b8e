"""Depth frame by frame, for films: every estimator behind `step` and `reset`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Protocol

import cv2
import numpy as np
from torch import Tensor

from ..flow import Motion
from .builtin import BuiltinDepth
from .first_pass import MeasuredScene
from .inference import film_inference, infer_picture
from .loading import DepthModel
from .scene_range import measure_scenes
from .stabilise import DEFAULT_STRENGTH, DepthStabiliser


class DepthStream(Protocol):
    """An estimator whose state has a fixed size."""

    def step(
        self,
        frame: np.ndarray,  # [h, w, 3] uint8 RGB
        to_next: Motion | None,  # None at the scene's last frame
        to_previous: Motion | None,  # None at the scene's first frame
    ) -> np.ndarray:  # [h, w] float32
        """Take the scene's next frame; return its inverse depth in [0, 1], 1 = near."""
        ...

    def reset(self) -> None:
        """Forget the scene: the next frame begins a new one. Call it before the first frame, too."""
        ...


class BuiltinStream:
    """The builtin estimator as a stream. Its range is fixed, and it keeps its own state of a scene."""

    def __init__(self) -> None:
        self._builtin = BuiltinDepth()

    def reset(self) -> None:
        """Forget the scene, see `DepthStream`."""
        self._builtin.reset()

    def step(
        self,
        frame: np.ndarray,  # [h, w, 3] uint8 RGB
        to_next: Motion | None,
        to_previous: Motion | None,
    ) -> np.ndarray:  # [h, w] float32
        """Take the scene's next frame, see `DepthStream`."""
        return self._builtin.step(frame, _vectors(to_next), _vectors(to_previous))


class ModelStream:
    """A depth model as a stream: depth stabilised along the flow and normalised by the scene's range.

    Args:
        model: The model, on the device where it is to run.
        scenes: What `DepthFirstPass` found out about the scenes of the same frames, in order.
        strength: Of `DepthStabiliser`, 0 to 0.95; 0 leaves each frame as the model gives it.

    Attributes:
        batch: How many frames the model takes at once at most, see `look_ahead`.

    Raises:
        InputError: If `strength` is out of range.
    """

    def __init__(
        self, model: DepthModel, scenes: Iterable[MeasuredScene], *, strength: float = DEFAULT_STRENGTH
    ) -> None:
        self._model = model
        self._inference = film_inference(model)
        self._seen: deque[Tensor] = deque()  # raw depth of frames that `step` has not taken yet
        self.batch = self._inference.most
        self._scenes = iter(scenes)
        self._stabiliser = DepthStabiliser(strength=strength)
        self._stabilises = strength > 0

    def reset(self) -> None:
        """Go on to the next scene, see `DepthStream`."""
        scene = next(self._scenes, None)
        assert scene is not None, "the first pass must have seen the same frames"
        self._range = scene.range
        self._stabiliser.reset(scene.start_range)

    def look_ahead(
        self,
        frames: Sequence[np.ndarray],  # each [h, w, 3] uint8 RGB
    ) -> None:
        """Run the model on the frames that `step` takes next, of this scene or later ones, all at once.

        Raises:
            InputError: If one does not fit into memory.
        """
        self._seen.extend(self._inference.run_pictures(frames))

    def step(
        self,
        frame: np.ndarray,  # [h, w, 3] uint8 RGB
        to_next: Motion | None,
        to_previous: Motion | None,
    ) -> np.ndarray:  # [h, w] float32
        """Take the scene's next frame, see `DepthStream`.

        Raises:
            InputError: If it does not fit into memory.
        """
        if not self._seen:
            self.look_ahead([frame])
        depth = self._seen.popleft()[0]
        if self._stabilises:
            depth = self._stabiliser.step(depth, to_previous)
        return self._range.normalise(depth)[0].numpy()


class ModelPhoto:
    """A depth model for photos, each normalised by its own range."""

    def __init__(self, model: DepthModel) -> None:
        self._model = model

    def reset(self) -> None:
        """Do nothing: photos are independent of each other."""

    def step(
        self,
        frame: np.ndarray,  # [h, w, 3] uint8 RGB
        to_next: Motion | None,
        to_previous: Motion | None,
    ) -> np.ndarray:  # [h, w] float32
        """Take a photo, see `DepthStream`."""
        depth = infer_picture(self._model, frame)
        return measure_scenes([depth])[0].normalise(depth)[0, 0].numpy()


def _vectors(motion: Motion | None) -> np.ndarray | None:
    """Convert the flow to [h, w, 2], which the builtin estimator takes."""
    return None if motion is None else cv2.merge([*motion.flow.cpu().numpy()])
