"""Read and write photos as 8-bit RGB."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Collection, Generator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from ..checks import InputError
from .output import OutputFile, write_error
from .reader import VideoFrame

_log = logging.getLogger(__name__)

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
WRITABLE_PHOTO_SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_SAVE_OPTIONS: dict[str, dict[str, int | str]] = {
    "PNG": {"compress_level": 4},
    "JPEG": {"quality": 95, "subsampling": 0},  # full colour resolution: anaglyphs need it
    "WEBP": {"quality": 95, "method": 4},
    "TIFF": {"compression": "tiff_lzw"},
}


def is_photo(path: str | Path) -> bool:
    """Tell by its suffix whether a file is a photo (an animated .gif is a video)."""
    return Path(path).suffix.lower() in PHOTO_SUFFIXES


def read_photo(path: str | Path) -> np.ndarray:  # [H, W, 3] uint8 RGB
    """Read a photo, turned upright as its EXIF tag says, in sRGB.

    Transparent pixels are composited over black, grey is repeated in three channels, 16 bits are reduced to
    8, and a colour profile other than sRGB is converted. Of an animation the first picture is read.

    Raises:
        InputError: If the file is missing, a folder, or no photo that can be decoded whole.
    """
    path = Path(path)
    if os.path.isdir(path):
        raise InputError(f"input must be a photo, got the folder {path}; give one file in it")
    if not os.path.exists(path):
        raise InputError(f"input must be an existing file, got {path}; check the name")
    try:
        with Image.open(path) as image:
            image.load()
            return np.array(_to_rgb(ImageOps.exif_transpose(image), path))
    except UnidentifiedImageError as error:
        raise InputError(
            f"input must be a photo ({', '.join(PHOTO_SUFFIXES)}), got {path}, which holds none; "
            "choose another file"
        ) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            f"input must be a photo that can be decoded whole, got {path} ({error}); "
            "copy or download it again"
        ) from error


def read_photo_as_film(path: str | Path) -> Generator[VideoFrame, None, None]:
    """Read a photo as a film of one frame."""
    yield VideoFrame(read_photo(path), 0, Fraction(1, 1))


def write_photo(
    path: str | Path,
    image: np.ndarray,  # [H, W, 3] uint8 RGB
    *,
    overwrite: bool = False,
    inputs: Collection[str | Path] = (),
) -> None:
    """Write a photo in the format of its suffix (a key of `WRITABLE_PHOTO_SUFFIXES`); it is whole or absent.

    Args:
        path: The file to be written.
        image: The picture.
        overwrite: Whether an existing file may be replaced.
        inputs: Files and folders that it was made from, and so must not be.

    Raises:
        InputError: If the file exists, is an input or cannot be written, or the image is not 8-bit RGB.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise InputError(f"`image` must be uint8 of shape [H, W, 3], got {image.dtype} {list(image.shape)}")
    with OutputFile(path, suffixes=WRITABLE_PHOTO_SUFFIXES, overwrite=overwrite, inputs=inputs) as output:
        save_photo(output.partial, image, suffix=output.path.suffix)
        output.commit()


def save_photo(
    path: Path,
    image: np.ndarray,  # [H, W, 3] uint8 RGB
    *,
    suffix: str,
) -> None:
    """Write a photo into a temporary file, in the format of a suffix.

    Raises:
        InputError: If the file cannot be written.
    """
    kind = WRITABLE_PHOTO_SUFFIXES[suffix.lower()]
    try:
        Image.fromarray(image).save(path, format=kind, **_SAVE_OPTIONS[kind])
    except OSError as error:
        raise write_error(path, error) from error


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    """Convert any mode to 8-bit RGB in sRGB."""
    if image.mode.startswith("I"):  # 16-bit grey; Pillow itself reduces 16-bit colour
        grey = np.asarray(image).astype(np.int64)
        image = Image.fromarray((grey.clip(0, 65535) // 257).astype(np.uint8))
    elif image.mode == "F":
        raise InputError(f"input must be a photo of 8 or 16 bits, got floats in {path}; save it as PNG first")
    profile = image.info.get("icc_profile")
    if image.mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    if profile and image.mode in ("RGB", "RGBA", "CMYK"):
        image = _to_srgb(image, profile, path)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image.convert("RGB")


def _to_srgb(image: Image.Image, profile: bytes, path: Path) -> Image.Image:
    """Convert from a colour profile to sRGB; a broken profile is ignored with a warning."""
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError) as error:
        _log.warning("%s: its colour profile is ignored (%s)", path, error)
        return image
    return converted or image
