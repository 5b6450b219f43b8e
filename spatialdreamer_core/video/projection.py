"""Whether a source is a panorama or a fisheye picture, which would be warped as if it were flat (nunif #333).

Metadata is certain: Spherical Video V1 (the `uuid` box with XML) and V2 (`sv3d`) of MP4, Projection of
Matroska, and GPano in a photo's XMP. Of names only those marks count that nobody gives to a flat film.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

import av

from ..checks import InputError
from .hdr import side_data

_PROJECTIONS = {  # AVSphericalProjection; 4 is rectilinear, which is flat
    0: "an equirectangular panorama",
    1: "a cube map",
    2: "a part of an equirectangular panorama",
    3: "half an equirectangular panorama",
    5: "a fisheye picture",
    6: "an immersive picture",
}
_GPANO = re.compile(rb"GPano:ProjectionType\W{1,4}(equirectangular|cylindrical)")
_XMP_BYTES = 1 << 18  # of a photo in which XMP is looked for
_MARKS = re.compile(  # words of names: degrees, lenses and projections, as VR players read them
    r"180x180|360x180|vr180|vr360|mono360|360vr|180vr|equirect(angular)?|fisheye\d{3}|mkx2[02]0|rf52|vrca220"
)


def check_flat(path: str | Path, *, stated: str | None) -> None:
    """Check that a film or photo is flat.

    Args:
        path: The file, of which the name is looked at.
        stated: What its metadata says, from `stated_projection` or `photo_projection`.

    Raises:
        InputError: If its metadata or its name says that it is not.
    """
    path = Path(path)
    reason = None if stated is None else f"whose metadata says that it is {stated}"
    mark = next((word for word in re.split(r"[^a-z0-9]+", path.stem.lower()) if _MARKS.fullmatch(word)), None)
    if reason is None and mark is not None:
        reason = f"whose name says so ({mark})"
    if reason is not None:
        raise InputError(
            f"input must be a flat picture, no panorama or fisheye, got {path}, {reason}; cut a flat view "
            "out of it first, or set projection to flat if it is one"
        )


def stated_projection(frame: av.VideoFrame) -> str | None:
    """Return what a film's metadata says of its projection, None if nothing, or that it is flat.

    Args:
        frame: A frame of it.
    """
    spherical = side_data(frame, "SPHERICAL")  # AVSphericalMapping begins with the projection
    return None if spherical is None else _PROJECTIONS.get(struct.unpack_from("i", spherical)[0])


def photo_projection(path: str | Path) -> str | None:
    """Return what a photo's XMP says of its projection, None if nothing."""
    try:
        with open(path, "rb") as file:
            found = _GPANO.search(file.read(_XMP_BYTES))
    except OSError:  # its reader says why
        return None
    return None if found is None else f"{_article(found[1].decode())} panorama"


def _article(word: str) -> str:
    """Put the article before a word."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
