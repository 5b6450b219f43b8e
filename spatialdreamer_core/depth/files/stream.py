"""A depth file as a film's depth: frame by frame, normalised by ranges that a first pass measured."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np

from ...checks import InputError
from ...flow import Motion
from ..scene_range import SceneRange
from .depth_file import DepthFile


class FileDepth:
    """A `DepthStream` that reads a depth file; the film's frames only pace it. Close it to close the file.

    Args:
        file: The depth file.
        skip: Number of its frames to leave out: that of the film's first frame.
        scenes: The range of each scene in order; None if the file is normalised.
        size: The film's (height, width); larger depth is reduced to it, smaller depth stays as it is.

    Attributes:
        scenes: As given.
    """

    def __init__(
        self,
        file: DepthFile,
        *,
        skip: int = 0,
        scenes: Sequence[SceneRange] | None,
        size: tuple[int, int],
    ) -> None:
        self._path = file.path
        self._frames = file.frames(skip)
        self.scenes = scenes
        self._coming = None if scenes is None else iter(scenes)
        self._size = size
        self._again = partial(FileDepth, file, skip=skip, scenes=scenes, size=size)

    def reset(self) -> None:
        """Go on to the next scene; to be called before its first frame."""
        if self._coming is not None:
            self._range = next(self._coming)

    def step(
        self,
        frame: np.ndarray,  # [h, w, 3] uint8 RGB
        to_next: Motion | None = None,
        to_previous: Motion | None = None,
    ) -> np.ndarray:  # [h', w'] float32, of the file's size or the film's, whichever is less
        """Return the next frame's inverse depth in [0, 1], 1 = near.

        Raises:
            InputError: If the file was changed since it was measured and has no more frames.
        """
        depth = next(self._frames, None)
        if depth is None:
            raise InputError(
                f"depth must stay as it is while it is read, got fewer frames than before in {self._path}; "
                "let the program that writes it finish first"
            )
        if self._coming is not None:
            depth = self._range.normalise(depth, in_place=True)
        plane = depth[0].numpy()
        height, width = self._size
        if plane.shape[0] > height or plane.shape[1] > width:
            plane = cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)
        return plane

    def again(self) -> FileDepth:
        """Return the same, from the first frame on."""
        return self._again()

    def close(self) -> None:
        """Close the file."""
        self._frames.close()
