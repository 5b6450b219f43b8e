"""Depth maps that are given with frames in memory, as a stream."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import Tensor

from ..checks import InputError
from ..contracts import check_call
from ..depth import is_size_of_film
from ..flow import Motion


class GivenMaps:
    """A `DepthStream` that takes a map for each frame; the frames only pace it.

    Args:
        maps: Inverse depth of each whole frame, [1, h, w] in [0, 1], 1 = near, of the frame's shape.
        size: The frames' (height, width).
    """

    def __init__(self, maps: Iterable[Tensor], size: tuple[int, int]) -> None:
        self._maps = iter(maps)
        self._size = size
        self._count = 0

    def reset(self) -> None:
        """Do nothing: the maps are normalised already."""

    def step(
        self,
        frame: np.ndarray,  # [h, w, 3] uint8 RGB
        to_next: Motion | None,
        to_previous: Motion | None,
    ) -> np.ndarray:  # [h', w'] float32
        """Return the next frame's inverse depth.

        Raises:
            InputError: If there is none, it breaks its rule (`contracts.TABLE`), or it has another shape.
        """
        try:
            depth = next(self._maps)
        except StopIteration:
            raise InputError(
                f"`depth` must have a map for each frame, got {self._count} for more frames; give one per "
                "frame"
            ) from None
        self._count += 1
        check_call("convert_frames: depth", depth=depth)
        (height, width), (rows, columns) = self._size, depth.shape[-2:]
        if not is_size_of_film(columns, rows, film_width=width, film_height=height):
            raise InputError(
                f"`depth` must have the aspect ratio of the frames ({width}x{height}), got {columns}x{rows}; "
                "make it from the uncropped frames"
            )
        return depth[0].detach().float().cpu().numpy()
