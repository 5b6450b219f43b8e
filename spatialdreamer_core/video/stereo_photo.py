"""Write stereoscopic photos: packed ones like any photo, and MPO, JPS and animations, which hold two views.

- MPO (CIPA DC-007, "Multi-Picture Format"): two JPEG files, one after the other, left first. An APP2 segment
  in the first one lists both as a multi-frame image of the type Disparity, one in the second one counts it.
  3D cameras, televisions and the Nintendo 3DS write and read it.
- JPS: one JPEG file, side by side with the *right* eye's view on the left, for crossed eyes, as its readers
  expect it. An APP3 segment says so ("JPEG Stereoscopic Format Specification", VRex 2004).
- PNG: side by side with the chunk `sTER`, which says whether the left view is the left half, where the views'
  width is a multiple of 8 px, as the chunk's definition wants it ("Extensions to the PNG 1.2 Specification",
  1.3.0, sTER).
- Wiggle: a GIF or WebP that shows left and right in turn.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from ..atomic import write_error
from ..checks import InputError, check_picture
from ..options import Option
from .color import to_8_bit
from .output import OutputFile
from .photo import WRITABLE_PHOTO_SUFFIXES, check_photo_target, save_photo

PHOTO_TYPE = Option(
    default="png",
    choices=("png", "jpg", "webp", "tif", "mpo", "jps", "gif"),
    name="file_type",
    help="Kind of file. mpo: both views by themselves, for 3D televisions and cameras. jps: side by side "
    "with the right view on the left, as its readers expect it; both take the format full_sbs. gif: the "
    "format wiggle, which webp takes, too.",
)
WIGGLE_SUFFIXES = (".gif", ".webp")
STEREO_PHOTO_SUFFIXES = (*WRITABLE_PHOTO_SUFFIXES, ".mpo", ".jps", ".gif")

_VIEWS = {".mpo": ("full_sbs",), ".jps": ("full_sbs", "cross_eyed")}  # formats that go with what holds both
_STER = {"cross_eyed": 0, "full_sbs": 1}  # modes of PNG's chunk
_JPEG = {"quality": 95, "subsampling": 0}
_WIGGLE_PERIOD = 150  # ms that each view is shown
_DISPARITY = 0x020002  # type of an image in DC-007's table 4
_REPRESENTATIVE = 1 << 29
_UNDEFINED, _LONG = 7, 4  # types of TIFF values
_SIDE_BY_SIDE, _STEREO = 2, 1  # layout and media type of JPS


def packing_format(suffix: str, format: str) -> str:
    """Return the format in which a photo's views are packed to be written by `save_stereo_photo`.

    Args:
        suffix: Of the file.
        format: The format that is asked for.

    Raises:
        InputError: If a file of that kind does not go with the format.
    """
    suffix = suffix.lower()
    if suffix in _VIEWS and format not in _VIEWS[suffix]:
        raise InputError(
            f"format must be {' or '.join(_VIEWS[suffix])} for a {suffix} file, which holds both views "
            f"whole, got {format}; leave it out, or write a .png or .jpg file"
        )
    if (format == "wiggle" and suffix not in WIGGLE_SUFFIXES) or (format != "wiggle" and suffix == ".gif"):
        raise InputError(
            f"the format wiggle goes with {' and '.join(WIGGLE_SUFFIXES)} files, and .gif with it alone, got "
            f"the format {format} for a {suffix} file; choose another suffix or format"
        )
    return "full_sbs" if suffix in _VIEWS or format == "wiggle" else format


def check_stereo_photo(path: Path, height: int, width: int, *, format: str) -> None:
    """Check, before any work, that a photo's file holds a packed picture of a size.

    Args:
        path: The file.
        height: Height of what `save_stereo_photo` gets.
        width: Its width.
        format: The format that is asked for.

    Raises:
        InputError: If a side is too long for it, or the format does not go with it.
    """
    suffix = path.suffix.lower()
    alone = (suffix == ".mpo" or format == "wiggle") and packing_format(suffix, format) == "full_sbs"
    check_photo_target(path, height, width // 2 if alone else width)


def write_stereo_photo(
    path: str | Path,
    packed: np.ndarray,  # [H, W, 3] uint8 or uint16 RGB
    *,
    format: str,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a packed photo to a new file, which is whole or absent; its suffix tells the kind.

    Args:
        path: The file.
        packed: The views, packed as `packing_format` says.
        format: The format that is meant.
        metadata: Texts by name, which PNG of 8 bits keeps.

    Returns:
        The path of the file: not `path` if something else took that name meanwhile.

    Raises:
        InputError: If the file exists or cannot be written, does not go with the format, or the picture is no
            RGB of 8 or 16 bits or too large.
    """
    check_picture("packed", packed, allow_16_bit=True)
    with OutputFile(path, suffixes=STEREO_PHOTO_SUFFIXES) as output:
        suffix = output.path.suffix
        check_stereo_photo(output.path, *packed.shape[:2], format=format)
        save_stereo_photo(output.partial, packed, suffix=suffix, format=format, metadata=metadata)
        output.commit()
    return output.path


def save_stereo_photo(
    path: Path,
    packed: np.ndarray,  # [H, W, 3] uint8 or uint16 RGB
    *,
    suffix: str,
    format: str,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a packed photo into a temporary file.

    Args:
        path: The file.
        packed: The views, packed as `packing_format` says.
        suffix: Of the file's name in the end.
        format: The format that is asked for.
        metadata: Texts by name, which PNG of 8 bits keeps.

    Raises:
        InputError: If the file cannot be written.
    """
    suffix = suffix.lower()
    if suffix not in _VIEWS and format != "wiggle":
        chunks = {}
        if format in _STER and packed.shape[1] % 16 == 0:
            chunks["sTER"] = bytes([_STER[format]])
        save_photo(path, packed, suffix=suffix, metadata=metadata, chunks=chunks)
        return
    pictures = to_8_bit(packed, None)
    left, right = np.split(pictures, 2, axis=1)
    try:
        if suffix == ".mpo":
            path.write_bytes(_multi_picture(left, right))
        elif suffix == ".jps":
            path.write_bytes(_stereo_jpeg(left, right))
        else:
            _save_wiggle(path, pictures, suffix)
    except OSError as error:
        raise write_error(path, error) from error


def _multi_picture(left: np.ndarray, right: np.ndarray) -> bytes:
    """Encode two views as one MPO file."""
    first, second = _jpeg(left), _jpeg(right)
    second = _insert(second, 0xE2, b"MPF\0" + _second_header())
    place = _after_first_segment(first)
    length = len(first) + 4 + len(b"MPF\0" + _first_header(0, 0, 0))
    offset = length - (place + 4 + len(b"MPF\0"))  # counted from the header in the first picture
    return _insert(first, 0xE2, b"MPF\0" + _first_header(length, len(second), offset)) + second


def _first_header(first: int, second: int, offset: int) -> bytes:
    """Write the index of both pictures, and what the first one is.

    Args:
        first: Bytes of the first picture.
        second: Bytes of the second one.
        offset: Where the second one begins, from the beginning of this header.
    """
    entries = struct.pack("<IIIHH", _REPRESENTATIVE | _DISPARITY, first, 0, 0, 0)
    entries += struct.pack("<IIIHH", _DISPARITY, second, offset, 0, 0)
    attributes_at = 8 + 2 + 3 * 12 + 4  # after the header and the index
    entries_at = attributes_at + 2 + 2 * 12 + 4
    index = _directory(
        (0xB000, _UNDEFINED, 4, b"0100"),
        (0xB001, _LONG, 1, struct.pack("<I", 2)),
        (0xB002, _UNDEFINED, len(entries), struct.pack("<I", entries_at)),
        next_at=attributes_at,
    )
    return b"II*\0" + struct.pack("<I", 8) + index + _viewpoint(1) + entries


def _second_header() -> bytes:
    """Write what the second picture is."""
    return b"II*\0" + struct.pack("<I", 8) + _viewpoint(2, (0xB000, _UNDEFINED, 4, b"0100"))


def _viewpoint(number: int, *before: tuple[int, int, int, bytes]) -> bytes:
    """Write a picture's place among the viewpoints, counted from the left, of which the first is the base."""
    numbers = ((0xB101, _LONG, 1, struct.pack("<I", number)), (0xB204, _LONG, 1, struct.pack("<I", 1)))
    return _directory(*before, *numbers)


def _directory(*entries: tuple[int, int, int, bytes], next_at: int = 0) -> bytes:
    """Write a TIFF directory of tags, types, counts and values (or their places)."""
    body = b"".join(struct.pack("<HHI4s", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + body + struct.pack("<I", next_at)


def _stereo_jpeg(left: np.ndarray, right: np.ndarray) -> bytes:
    """Encode two views as one JPS file."""
    separation = flags = 0  # flag 4 would say that the left view is the left half
    descriptor = struct.pack(">HBBBB", 4, separation, flags, _SIDE_BY_SIDE, _STEREO)
    no_comment = struct.pack(">H", 0)
    return _insert(_jpeg(np.hstack([right, left])), 0xE3, b"_JPSJPS_" + descriptor + no_comment)


def _jpeg(picture: np.ndarray) -> bytes:
    """Encode a picture as JPEG."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "JPEG", **_JPEG)
    return file.getvalue()


def _after_first_segment(jpeg: bytes) -> int:
    """Return where the segment after JFIF's begins, which has to be the first one."""
    return 4 + struct.unpack_from(">H", jpeg, 4)[0]


def _insert(jpeg: bytes, marker: int, content: bytes) -> bytes:
    """Put an application's segment behind JFIF's."""
    place = _after_first_segment(jpeg)
    segment = struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
    return jpeg[:place] + segment + jpeg[place:]


def _save_wiggle(path: Path, pictures: np.ndarray, suffix: str) -> None:
    """Write a side-by-side picture's halves as an animation."""
    both = Image.fromarray(pictures)
    options: dict[str, int] = {"quality": 95}
    if suffix == ".gif":  # with one palette for both views, or still parts would flicker
        both, options = both.quantize(256), {}
    width = both.width // 2
    left, right = both.crop((0, 0, width, both.height)), both.crop((width, 0, 2 * width, both.height))
    left.save(
        path,
        format=suffix[1:].upper(),
        save_all=True,
        append_images=[right],
        duration=_WIGGLE_PERIOD,
        loop=0,
        **options,
    )
