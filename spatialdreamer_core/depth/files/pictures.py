"""Depth from one picture of 8 or 16 bits or of floats, with all of its bits."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ...checks import InputError

PICTURE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".webp", ".bmp")


def read_picture(path: Path) -> np.ndarray:  # [h, w]
    """Read a picture; of colours, their mean counts, and transparency does not.

    Raises:
        InputError: If the file is no picture.
    """
    try:
        # Decoded from memory: OpenCV cannot open every name on Windows.
        picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, OSError):
        picture = None
    if picture is None:
        raise InputError(
            f"depth must be a picture that can be decoded ({', '.join(PICTURE_SUFFIXES)}), got {path}, "
            "which cannot; save it again, 16-bit grey PNG for example"
        )
    return _mean_of_colours(picture)


def _mean_of_colours(
    picture: np.ndarray,  # [h, w] or [h, w, channels]
) -> np.ndarray:  # [h, w], of the same type
    """Reduce BGR or BGRA to one channel."""
    if picture.ndim == 2:
        return picture
    if picture.shape[2] in (1, 2):
        return picture[..., 0]
    mean = picture[..., :3].mean(2, dtype=np.float64)
    return (mean if picture.dtype.kind == "f" else np.rint(mean)).astype(picture.dtype)
