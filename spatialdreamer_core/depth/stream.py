"""Depth frame by frame, for films: every estimator behind `step` and `reset`."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from .builtin import BuiltinDepth
from .catalogue import BUILTIN, resolve_estimator
from .estimate import warn_preview_grade
from .loading import DepthModel, load_model
from .normalise import RunningRange


class DepthStream(Protocol):
    """An estimator whose state has a fixed size."""

    def step(
        self,
        frame: np.ndarray,  # [h, w, 3] uint8 RGB
        flow_to_next: np.ndarray | None,  # [h, w, 2] px; None at the scene's last frame
        flow_to_previous: np.ndarray | None,  # [h, w, 2] px; None at the scene's first frame
    ) -> np.ndarray:  # [h, w] float32
        """Take the scene's next frame; return its inverse depth in [0, 1], 1 = near."""
        ...

    def reset(self) -> None:
        """Forget the scene: the next frame begins a new one."""
        ...


class ModelDepth:
    """A depth model as a stream: each frame by itself, normalised by slow averages over the scene.

    Frames of the film's own size give finer edges than shrunk ones: the model resizes them as it needs.

    Args:
        model: The model, on the device where it is to run.
    """

    def __init__(self, model: DepthModel) -> None:
        self._model = model
        self._range = RunningRange()

    def reset(self) -> None:
        """Forget the scene: the next frame begins a new one."""
        self._range.reset()

    def step(
        self,
        frame: np.ndarray,  # [h, w, 3] uint8 RGB
        flow_to_next: np.ndarray | None = None,
        flow_to_previous: np.ndarray | None = None,
    ) -> np.ndarray:  # [h, w] float32
        """Take the scene's next frame; return its inverse depth in [0, 1], 1 = near. The flow is not used."""
        device = next(self._model.modules[0].parameters()).device
        image = torch.from_numpy(np.ascontiguousarray(frame)).to(device).permute(2, 0, 1)[None].float() / 255
        return self._range.step(self._model.inverse_depth(image))[0, 0].cpu().numpy()


def open_estimator(
    name: str,
    *,
    device: torch.device | str = "cpu",
) -> DepthStream:
    """Open an estimator for a film; `prepare_estimator` downloads its weights beforehand.

    Args:
        name: One of `estimator_names`.
        device: Where a model runs; the builtin estimator runs on the CPU.

    Raises:
        InputError: If the name is unknown, or see `load_model`.
    """
    name = resolve_estimator(name)
    if name == BUILTIN:
        warn_preview_grade()
        return BuiltinDepth()
    return ModelDepth(load_model(name, device=device))
