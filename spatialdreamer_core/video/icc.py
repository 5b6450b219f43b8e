"""Colour profiles (ICC) to sRGB.

Little CMS, through Pillow, converts 8 bits. For 16 bits Pillow offers nothing, so profiles of three primaries
and three curves, which cameras and editors write (Adobe RGB, Display P3, ProPhoto), are computed here:

    rgb' = encode(clip(M_sRGB⁻¹ · M · curve(rgb)))      with the primaries of both relative to D50
"""

from __future__ import annotations

import io
import logging
import struct
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from ..checks import one_line

_LOGGER = logging.getLogger(__name__)

_STRIP_PIXELS = 1 << 20
_SAME = 2  # of 255: a profile that changes no colour by more is sRGB, written by another program
# Columns are sRGB's primaries adapted to D50, the ICC's white point (IEC 61966-2-1, Bradford).
_SRGB_TO_XYZ = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)


def srgb_transform(profile: bytes | None, mode: str, path: Path) -> ImageCms.ImageCmsTransform | None:
    """Make the conversion of 8-bit pictures from a profile to sRGB.

    Args:
        profile: The file's profile, or None.
        mode: Pillow's mode of the pictures: RGB, RGBA or CMYK; the results are RGB or RGBA.
        path: The file, for the log.

    Returns:
        None if there is nothing to be converted, or the profile is broken, which is logged.
    """
    if not profile or mode not in ("RGB", "RGBA", "CMYK"):
        return None
    try:
        return _transform(profile, mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        _LOGGER.warning("%s: its colour profile is ignored (%s)", path, one_line(error))
        return None


def to_srgb(
    image: np.ndarray,  # [H, W, 3] uint8 or uint16 RGB
    profile: bytes | None,
    path: Path,
) -> np.ndarray:  # [H, W, 3]
    """Convert RGB from a profile to sRGB, in place where the type stays.

    16 bits stay 16 bits unless the profile is one of tables, which is converted in 8 bits and logged.
    """
    transform = srgb_transform(profile, "RGB", path)
    if transform is None or profile is None or _changes_little(transform):
        return image
    if image.dtype == np.uint16:
        deep = _primaries_and_curves(profile)
        if deep is not None:
            return _convert_deep(image, *deep)
        _LOGGER.warning("%s: its colour profile is one of tables, so it is converted in 8 bits", path)
        image = (image // 257).astype(np.uint8)
    rows = max(1, _STRIP_PIXELS // image.shape[1])
    for top in range(0, len(image), rows):
        strip = Image.fromarray(image[top : top + rows])
        image[top : top + rows] = np.asarray(ImageCms.applyTransform(strip, transform) or strip)
    return image


@lru_cache(maxsize=4)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    """Build Little CMS's transform."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    target = ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(source, target, mode, "RGBA" if mode == "RGBA" else "RGB")


def _changes_little(transform: ImageCms.ImageCmsTransform) -> bool:
    """Tell by a cube of colours whether a profile is sRGB in all but name."""
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    converted = ImageCms.applyTransform(Image.fromarray(cube), transform)
    return bool(np.abs(np.asarray(converted).astype(int) - cube).max() <= _SAME)


def _primaries_and_curves(profile: bytes) -> tuple[np.ndarray, list[np.ndarray]] | None:
    """Read a profile's primaries, [3, 3] columns in XYZ, and curves, 65,536 values each; None if it has none.

    Offsets and sizes are those of ICC.1:2022, sections 7.3 and 10.
    """
    try:
        count = struct.unpack_from(">I", profile, 128)[0]
        tags = {}
        for i in range(min(count, 100)):
            name, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * i)
            tags[name] = profile[offset : offset + size]
        if b"A2B0" in tags or profile[20:24] != b"XYZ ":
            return None
        columns = [np.array(struct.unpack_from(">3i", tags[name], 8)) / 65536 for name in _PRIMARIES]
        return np.stack(columns, axis=1), [_curve(tags[name]) for name in _CURVES]
    except (struct.error, KeyError, ValueError):
        return None


_PRIMARIES = (b"rXYZ", b"gXYZ", b"bXYZ")
_CURVES = (b"rTRC", b"gTRC", b"bTRC")
_PARAMETERS = ("g", "gab", "gabc", "gabcd", "gabcdef")  # of ICC's parametric curves 0 to 4


def _curve(tag: bytes) -> np.ndarray:  # [65536] float32, linear light of each 16-bit value
    """Evaluate a curve of type `curv` (a table or one exponent) or `para`."""
    x = np.linspace(0, 1, 65536)
    if tag[:4] == b"curv":
        count = struct.unpack_from(">I", tag, 8)[0]
        table = np.frombuffer(tag, ">u2", count, 12)
        if count == 0:
            return x.astype(np.float32)
        if count == 1:
            return (x ** (table[0] / 256)).astype(np.float32)
        return np.interp(x, np.linspace(0, 1, count), table / 65535).astype(np.float32)
    if tag[:4] != b"para":
        raise ValueError(tag[:4])
    kind = struct.unpack_from(">H", tag, 8)[0]
    if kind >= len(_PARAMETERS):
        raise ValueError(kind)
    names = _PARAMETERS[kind]
    p = dict(zip(names, np.array(struct.unpack_from(f">{len(names)}i", tag, 12)) / 65536, strict=True))
    a, b, c, d, e, f = (p.get(name, 1.0 if name == "a" else 0.0) for name in "abcdef")
    base = np.maximum(a * x + b, 0) ** p["g"]
    if kind == 0:
        result = base
    elif kind in (1, 2):
        result = np.where(x >= -b / a, base + c, c)
    elif kind == 3:
        result = np.where(x >= d, base, c * x)
    else:
        result = np.where(x >= d, base + e, c * x + f)
    return result.clip(0, 1).astype(np.float32)


def _convert_deep(image: np.ndarray, primaries: np.ndarray, curves: list[np.ndarray]) -> np.ndarray:
    """Convert 16 bits, a strip at a time."""
    matrix = (np.linalg.inv(_SRGB_TO_XYZ) @ primaries).T.astype(np.float32)
    rows = max(1, _STRIP_PIXELS // image.shape[1])
    for top in range(0, len(image), rows):
        strip = image[top : top + rows]
        linear = np.stack([curve[strip[..., i]] for i, curve in enumerate(curves)], axis=-1) @ matrix
        linear.clip(0, 1, out=linear)
        encoded = np.where(
            linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
        )
        strip[:] = np.rint(encoded * 65535)
    return image
