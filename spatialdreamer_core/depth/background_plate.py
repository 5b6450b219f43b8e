"""The background plate: what the resting part of a scene looked like where nothing stood before it.

Where a pixel looks like the plate again, the object that passed is gone, and its evidence is dropped.
"""

from __future__ import annotations

import cv2
import numpy as np

from .parallax import Parallax
from .pixels import largest_channel, look_up

_ALIKE = 0.05  # largest difference of a channel at which two pixels look the same


class BackgroundPlate:
    """Colours of the background as seen so far, moved with the camera; of fixed size."""

    def __init__(self) -> None:
        self._colours: np.ndarray | None = None  # [h, w, 3]
        self._known: np.ndarray | None = None  # [h, w] in [0, 1]

    def step(
        self,
        image: np.ndarray,  # [h, w, 3] float32 in [0, 1], blurred a little
        parallax: Parallax,
        evidence: np.ndarray,  # [h, w] in [0, 1], of objects
    ) -> np.ndarray:  # [h, w] in [0, 1], 1 = background is seen
        """Tell where the background is seen, then learn from the frame."""
        resting = np.clip(1.5 - parallax.claimed / 0.4, 0, 1)
        if self._colours is None or self._known is None:
            self._colours, self._known = image.copy(), 0.3 * resting
            return np.zeros_like(evidence)
        if float(np.abs(parallax.to_previous).max()) > 0.1:
            self._colours = look_up(self._colours, parallax.to_previous)
            self._known = look_up(self._known, parallax.to_previous)
        difference = cv2.blur(
            largest_channel(cv2.absdiff(image, self._colours)), (3, 3), borderType=cv2.BORDER_REFLECT
        )
        alike = np.clip(2 - difference / _ALIKE, 0, 1)
        moving = np.clip(parallax.amount / 0.6 - 0.5, 0, 1) * parallax.certain
        # What moves and yet looks like the plate was not background when the plate was learnt.
        self._known = self._known * (1 - 0.5 * moving * alike)
        seen = np.clip(2 * self._known - 0.5, 0, 1) * alike * (1 - moving)
        learn = resting * np.clip(1 - 3 * evidence * (1 - seen), 0, 1)
        rate = np.maximum(0.1, 1 - 2 * self._known) * learn
        self._colours = self._colours + rate[..., None] * (image - self._colours)
        self._known = np.minimum(1, self._known + 0.12 * learn)
        return seen
