"""How far estimated flow can be relied on: there must be texture, and both flows of a pair must agree.

Flow of a wall of one colour is a guess spread in from its surroundings, and flow longer than the search finds
ends somewhere else than it began. Neither is told by the flow itself.
"""

from __future__ import annotations

import cv2
import numpy as np

from .pixels import length, look_up

_TEXTURE = 0.012  # root mean square of the gradient a pixel from which on flow has a hold; noise has less
_WINDOW = 7  # pixels
_NOWHERE = 1e3  # pixels; a vector that nothing undoes
_AGREEMENT, _AGREEMENT_SHARE = 0.25, 0.1  # pixels, and share of the length, that there and back may differ by


def texture_of(image: np.ndarray) -> np.ndarray:  # [h, w, 3] float32 in [0, 1] -> [h, w] in [0, 1]
    """Measure whether there is anything about a pixel that flow could follow."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    across, down = (cv2.Sobel(grey, -1, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    energy = cv2.blur(across * across + down * down, (_WINDOW, _WINDOW), borderType=cv2.BORDER_REFLECT)
    return np.clip(np.sqrt(np.maximum(energy, 0)) / _TEXTURE - 0.5, 0, 1)


def agreement_there_and_back(
    flow: np.ndarray,  # [h, w, 2] pixels, from this frame to another
    back: np.ndarray,  # [h, w, 2] pixels, from that frame to this one
) -> np.ndarray:  # [h, w] in [0, 1]
    """Measure how well each vector is undone by the other frame's flow at its end; outside, there is none."""
    tolerance = _AGREEMENT + _AGREEMENT_SHARE * length(flow)
    return 1 / (1 + (length(flow + look_up(back, flow, outside=_NOWHERE)) / tolerance) ** 2)
