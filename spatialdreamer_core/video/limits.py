"""Limits on the size of a picture, known from its header and checked before anything is decoded.

A file of some kilobytes may announce a picture that no memory holds. Photos are converted in strips, so the
limit on them is what keeps a conversion below 4 GB; films keep several whole frames.
"""

from __future__ import annotations

from pathlib import Path

from ..checks import InputError
from ..memory import require_memory

MAX_PHOTO_BYTES = 640_000_000  # of RGB: 213 megapixels of 8 bits, 106 of 16
MAX_FRAME_PIXELS = 8192 * 4352  # of a film: 8K, its sides rounded up to blocks
MAX_ASPECT = 100  # of the longer to the shorter side
_FRAME_BYTES = 450  # per pixel of a film's frame at the peak, all stages together
_PHOTO_BYTES = 6  # per byte of a photo's RGB at the peak, from decoding to encoding


def check_photo_size(width: int, height: int, path: Path, *, bits: int = 8) -> None:
    """Check, before a photo is decoded, that it can be converted.

    Raises:
        InputError: If it has too many pixels, is a mere line, or does not fit into memory.
    """
    _check_shape(width, height, path)
    limit = MAX_PHOTO_BYTES // (3 * (2 if bits > 8 else 1))
    if width * height > limit:
        raise InputError(
            f"a photo of {bits if bits > 8 else 8} bits must have at most {limit // 10**6} megapixels, got "
            f"{width}x{height} ({width * height / 1e6:.0f} megapixels) in {path}; make it smaller"
        )
    rgb_bytes = 3 * width * height * (2 if bits > 8 else 1)
    require_memory(rgb_bytes * _PHOTO_BYTES, what=f"{path} ({width}x{height})", remedy="make it smaller")


def check_frame_size(width: int, height: int, path: Path) -> None:
    """Check, before a film is decoded, that its frames are not larger than 8K.

    Raises:
        InputError: If they are, or are mere lines.
    """
    _check_shape(width, height, path)
    if width * height > MAX_FRAME_PIXELS:
        raise InputError(
            f"a film's frames must have at most {MAX_FRAME_PIXELS / 1e6:.0f} megapixels (8K), got "
            f"{width}x{height} ({width * height / 1e6:.0f} megapixels) in {path}; make it smaller"
        )


def require_film_memory(width: int, height: int, path: Path) -> None:
    """Check, before a film is converted, that the frames that its stages hold fit into memory.

    Raises:
        InputError: If they do not.
    """
    require_memory(
        width * height * _FRAME_BYTES,
        what=f"{path} ({width}x{height})",
        remedy="close other programs or make it smaller",
    )


def _check_shape(width: int, height: int, path: Path) -> None:
    """Check that a picture is not empty and not a mere line."""
    if not (width > 0 and height > 0):
        raise InputError(f"a picture must have pixels, got {width}x{height} in {path}; choose another file")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise InputError(
            f"a picture's longer side must be at most {MAX_ASPECT} times the shorter one, got "
            f"{width}x{height} in {path}; crop it"
        )
