"""Tell photos from films by what is in a file, whatever its name says.

The first bytes decide, and no decoder runs, so the question is cheap and safe to ask of any file. Only where
they say nothing, as in an old TGA file or in one that does not exist, the suffix does.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import BinaryIO

PHOTO_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".dib"),
    *(".avif", ".heic", ".heif", ".hif", ".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jxl", ".mpo", ".jps"),
    *(
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".pam",
        ".pfm",
        ".tga",
        ".targa",
        ".icb",
        ".vda",
        ".vst",
        ".dds",
        ".qoi",
    ),
    *(".pcx", ".sgi", ".rgb", ".psd", ".exr", ".hdr"),
    *(".dng", ".nef", ".nrw", ".arw", ".sr2", ".srw", ".pef", ".3fr", ".iiq", ".cr2", ".cr3", ".raf"),
    *(".orf", ".rw2"),
)
_RAW_TIFF_SUFFIXES = (".dng", ".nef", ".nrw", ".arw", ".sr2", ".srw", ".pef", ".3fr", ".iiq")
_TGA_SUFFIXES = (".tga", ".targa", ".icb", ".vda", ".vst")
_STREAM_SUFFIXES = (".mjpeg", ".mjpg")  # films that are nothing but one JPEG after another

FILM = "film"
_HEAD = 512  # bytes that decide
_MAX_PARTS = 1000  # chunks or boxes that are looked at before the first picture
_SIGNATURES = {  # names are Pillow's where it knows the format
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "JPEG": rb"\xff\xd8\xff",
    "GIF": rb"GIF8[79]a",
    "WEBP": rb"RIFF....WEBP",
    "RAW": rb"II\*\0.{4}CR|IIR[OS]\x08|IIU\0|FUJIFILMCCD-RAW|....ftypcrx ",  # Canon, Olympus, Panasonic, Fuji
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "BMP": rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    "JPEG2000": rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
    "PPM": rb"P[1-6][\s#]",
    "DDS": rb"DDS ",
    "QOI": rb"qoif",
    "PCX": rb"\n[\x00\x02\x03\x05]\x01[\x01\x02\x04\x08]",
    "SGI": rb"\x01\xda[\x00\x01][\x01\x02]",
    "PSD": rb"8BPS",
    "JXL": rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n",
    "PAM": rb"P7\n",
    "PFM": rb"P[fF]\s",
    "EXR": rb"\x76\x2f\x31\x01",
    "HDR": rb"#\?(RADIANCE|RGBE)\n",
    FILM: (
        rb"\x1aE\xdf\xa3|RIFF....AVI |....(moov|mdat|wide|free|skip|pnot)|\x00\x00\x01[\xb0\xb3\xba]|FLV|OggS"
        rb"|\x30\x26\xb2\x75|G.{187}G.{187}G|.{4}G.{191}G.{191}G|\.RMF|DKIF|YUV4MPEG2|\x06\x0e\x2b\x34"
    ),
}
_PATTERNS = {kind: re.compile(pattern, re.DOTALL) for kind, pattern in _SIGNATURES.items()}
_TGA_END = b"TRUEVISION-XFILE.\0"


def is_photo(path: str | Path) -> bool:
    """Tell whether a file is a photo rather than a film; animated GIF and PNG files are films.

    A file that is missing, or of which the content tells nothing, is told by its suffix.
    """
    kind = photo_kind(path)
    if kind is None:
        return Path(path).suffix.lower() in PHOTO_SUFFIXES
    return kind != FILM and not _is_animated(path, kind)


def photo_kind(path: str | Path) -> str | None:
    """Name a file's format by its content.

    Returns:
        `FILM`; a still format by Pillow's name, or one of RAW, JXL, PAM, PFM, EXR, HDR and HEIF, which
        includes AVIF; None if the file cannot be read or nothing is known about it.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    try:
        if not path.is_file():  # a pipe or a device would be emptied by reading it
            return None
        with open(path, "rb") as file:
            head = file.read(_HEAD)
            kind = next((name for name, pattern in _PATTERNS.items() if pattern.match(head)), None)
            if kind == "JPEG" and suffix in _STREAM_SUFFIXES:
                return FILM
            if kind == "TIFF" and suffix in _RAW_TIFF_SUFFIXES:
                return "RAW"
            if kind is not None:
                return kind
            if head[4:8] == b"ftyp":
                return "HEIF" if _holds_pictures(file) else FILM
            file.seek(max(0, path.stat().st_size - len(_TGA_END)))
            ends_as_tga = file.read() == _TGA_END
    except (
        OSError,
        ValueError,
        IndexError,
        struct.error,
    ):  # ValueError: a name that no system takes; the file is cut
        return None
    return "TGA" if ends_as_tga or (head and suffix in _TGA_SUFFIXES) else None


def _is_animated(path: str | Path, kind: str) -> bool:
    """Tell whether a file holds an animation that FFmpeg plays as a film."""
    if kind not in ("PNG", "GIF"):
        return False
    try:
        with open(path, "rb") as file:
            return _is_animated_png(file) if kind == "PNG" else _is_animated_gif(file)
    except (OSError, IndexError, struct.error):  # it is cut short
        return False


def _is_animated_png(file: BinaryIO) -> bool:
    """Find the chunk that announces an animation, which stands before the first picture's data."""
    offset = 8
    for _ in range(_MAX_PARTS):
        file.seek(offset)
        header = file.read(12)
        if len(header) < 12 or header[4:8] == b"IDAT":
            return False
        length, count = struct.unpack(">I4xI", header)
        if header[4:8] == b"acTL":
            return count > 1
        offset += 12 + length
    return False


def _is_animated_gif(file: BinaryIO) -> bool:
    """Walk over the blocks up to a second picture."""
    file.seek(10)
    file.seek(13 + _palette_bytes(file.read(1)[0]))
    pictures = 0
    while (block := file.read(1)) in (b"\x21", b"\x2c"):
        if block == b"\x21":
            file.seek(1, 1)
        else:
            pictures += 1
            if pictures > 1:
                return True
            file.seek(1 + _palette_bytes(file.read(9)[8]), 1)
        while size := file.read(1)[0]:
            file.seek(size, 1)
    return False


def _palette_bytes(flags: int) -> int:
    """Return the size of a GIF's palette."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _holds_pictures(file: BinaryIO) -> bool:
    """Tell whether an ISO base media file names a primary picture; a film has tracks alone."""
    offset = 0
    for _ in range(_MAX_PARTS):
        file.seek(offset)
        header = file.read(16)
        if len(header) < 8:
            return False
        size = struct.unpack(">I", header[:4])[0]
        if size == 1:
            size = struct.unpack(">Q", header[8:])[0]
        if header[4:8] == b"meta":
            return b"pict" in file.read(_HEAD)
        if size < 8 or offset > 2**62:
            return False
        offset += size
    return False
