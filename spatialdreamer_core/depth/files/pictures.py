"""Depth from one picture of 8 or 16 bits or of floats, with all of its bits."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from ...checks import InputError, one_line
from ...parsing import parsing
from .colours import check_equal_channels
from .sizes import MAX_PIXELS, check_frame_size

PICTURE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".webp", ".bmp")
_FORMATS = ("PNG", "TIFF", "JPEG", "WEBP", "BMP")  # Pillow's names of them
_BYTES_PER_PIXEL = 16  # four channels of 32 bits
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257  # tags


def read_picture(path: Path) -> np.ndarray:  # [h, w]
    """Read a picture of grey, be it stored as colours; transparency does not count.

    Raises:
        InputError: If the file is no picture, holds several or one in colour, or is too large.
    """
    with parsing(
        path,
        rule=f"depth must be a picture that can be decoded ({', '.join(PICTURE_SUFFIXES)})",
        remedy="save it again, 16-bit grey PNG for example",
    ):
        with path.open("rb") as file:
            width, height, pages = _measure(file)
        check_frame_size(path, width=width, height=height, bytes_per_pixel=_BYTES_PER_PIXEL)
        if pages != 1:
            raise InputError(
                f"a picture of depth must be a single one, got {pages} in {path}; save each as a file of its "
                "own in one folder"
            )
        # Decoded from memory: OpenCV cannot open every name on Windows.
        with _no_log_of_opencv():
            picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
        if picture is None:
            raise ValueError("it is damaged, or of a kind that OpenCV cannot decode")
        return _mean_of_colours(picture, path)


@contextmanager
def _no_log_of_opencv() -> Iterator[None]:
    """Keep OpenCV from telling on the console what the error tells anyway."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def _measure(file: BinaryIO) -> tuple[int, int, int]:
    """Read from a picture's header its width, its height and how many pictures there are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large pictures, for which we have a limit, and of damage
        try:
            with Image.open(file, formats=_FORMATS) as image:
                # A photo's second picture in a JPEG is no picture of depth: a preview or a gain map.
                pages = 1 if image.format in ("JPEG", "MPO") else getattr(image, "n_frames", 1)
                return *image.size, pages
        except Image.DecompressionBombError as error:
            raise InputError(
                f"frames of depth must have at most {MAX_PIXELS / 1e6:.0f} megapixels, got more in "
                f"{file.name} ({one_line(error)}); save it smaller: depth is enlarged to the film's size by "
                "itself"
            ) from error
        except UnidentifiedImageError:
            # Some pixels of TIFF, such as colours of 32 bits, are unknown to Pillow, but not to OpenCV.
            file.seek(0)
            header = file.read(8)
            if header[2:3] == b"\x2b":  # BigTIFF
                header += file.read(8)
            directory = TiffImagePlugin.ImageFileDirectory_v2(header)
            file.seek(directory.next)
            directory.load(file)
            return int(directory[_TIFF_WIDTH]), int(directory[_TIFF_HEIGHT]), 1


def _mean_of_colours(
    picture: np.ndarray,  # [h, w] or [h, w, channels]
    path: Path,
) -> np.ndarray:  # [h, w], of the same type
    """Reduce BGR or BGRA to one channel."""
    if picture.ndim == 2:
        return picture
    if picture.shape[2] in (1, 2):
        return picture[..., 0]
    check_equal_channels(
        picture[..., 2::-1],
        path,
        white=np.iinfo(picture.dtype).max if picture.dtype.kind in "ui" else None,
    )
    if picture.dtype in (np.uint8, np.uint16):
        weights = np.array([[1 / 3] * 3 + [0] * (picture.shape[2] - 3)])
        return cv2.transform(picture, weights)  # rounded
    mean = picture[..., :3].mean(2, dtype=np.float64)
    return (mean if picture.dtype.kind == "f" else np.rint(mean)).astype(picture.dtype)
