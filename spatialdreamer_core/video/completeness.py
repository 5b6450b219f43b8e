"""Whether a file is as long as its own structure says, from a few of its bytes, before anything is decoded.

A download or copy that broke off leaves a file whose containers reach beyond its end: boxes of MP4 and MOV,
the segment of Matroska and WebM, chunks of AVI, pages of Ogg, sizes in the headers of ASF and MXF. Transport
and program streams say nothing of the kind. Durations in headers do not count here: they are often wrong.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..checks import InputError

_BOXES = set(b"ftyp styp moov moof mdat free skip wide sidx mfra uuid meta pnot".split())
_SEGMENT = 0x18538067
_SEGMENT_PARTS = (  # first bytes of the elements in a segment
    *(b"\x11\x4d\x9b\x74", b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75", b"\xec"),
    *(b"\x1c\x53\xbb\x6b", b"\x19\x41\xa4\x69", b"\x10\x43\xa7\x70", b"\x12\x54\xc3\x67", b"\xbf"),
)
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_MXF_HEADER = bytes.fromhex("060e2b34020501010d01020101")
_TAIL = 2**16 + 2**10  # bytes; an Ogg page is shorter
_MAX_PARTS = 200_000  # of a file that are looked at; hostile files have millions


class IncompleteInput(InputError):
    """The input holds less than it should; what could be read of it may have been used."""


def check_whole(path: Path) -> None:
    """Check that a file was not cut short, as far as its structure tells.

    Raises:
        IncompleteInput: If it was.
    """
    if is_whole(path) is False:
        raise IncompleteInput(
            f"input must be a whole file, got {path}, whose end is missing; copy or download it again, "
            "or convert what is there with --allow-incomplete (`allow_incomplete`)"
        )


def is_whole(path: Path) -> bool | None:
    """Tell whether a file is as long as its own structure says; None where that cannot be known."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        check = _find_check(file.read(16))
        if check is None:
            return None
        try:
            return check(file, size)
        except (struct.error, IndexError):  # a header that is itself cut off
            return False


def _find_check(start: bytes) -> Callable[[BinaryIO, int], bool | None] | None:
    """Choose the check by a file's first bytes."""
    if start[4:8] in _BOXES:
        return _check_boxes
    signatures: dict[bytes, Callable[[BinaryIO, int], bool | None]] = {
        b"\x1a\x45\xdf\xa3": _check_matroska,
        b"RIFF": _check_riff,
        b"OggS": _check_ogg,
        b"FLV": _check_flash,
        b"DKIF": _check_ivf,
        b"GIF8": _check_gif,
        b"\x89PNG": _check_png,
        _ASF_HEADER: _check_asf,
        _MXF_HEADER: _check_mxf,
    }
    return next((check for signature, check in signatures.items() if start.startswith(signature)), None)


def _check_boxes(file: BinaryIO, size: int) -> bool | None:
    """MP4 and MOV: a row of boxes, each with its size in front."""
    position = 0
    for _ in range(_MAX_PARTS):
        if position + 8 > size:
            return position == size or (position < size and not any(_read_at(file, position, 8)))
        header = _read_at(file, position, 16)
        length, kind = struct.unpack(">I4s", header[:8])
        if length == 0 or kind not in _BOXES:
            return True  # the last box, or what players ignore
        if length == 1:
            (length,) = struct.unpack(">Q", header[8:])
        if length < 8:
            return None
        position += length
    return None


def _check_matroska(file: BinaryIO, size: int) -> bool | None:
    """Matroska and WebM: the segment has a size, or its clusters have."""
    kind, start, length = _element(file, 0)
    if length is None:
        return None
    kind, position, length = _element(file, start + length)
    if kind != _SEGMENT:
        return None
    if length:
        return position + length <= size
    for _ in range(_MAX_PARTS):  # written without a way back, but its parts may have sizes
        if position >= size:
            return position == size
        head = _read_at(file, position, 4)
        if not any(head) or (len(head) == 4 and not head.startswith(_SEGMENT_PARTS)):
            return True  # what players ignore
        kind, position, length = _element(file, position)
        if length is None:
            return None
        position += length
    return None


def _element(file: BinaryIO, position: int) -> tuple[int, int, int | None]:
    """Read the head of an EBML element: its kind, where its content begins, and its size if that is known."""
    head = _read_at(file, position, 12)
    width = 9 - head[0].bit_length() if head[0] else 9
    digits = 9 - head[width].bit_length() if head[width] else 9
    if width > 4 or digits > 8 or len(head) < width + digits:
        raise IndexError(position)
    length = int.from_bytes(head[width : width + digits], "big") & ((1 << 7 * digits) - 1)
    unknown = length == (1 << 7 * digits) - 1
    return int.from_bytes(head[:width], "big"), position + width + digits, None if unknown else length


def _check_riff(file: BinaryIO, size: int) -> bool | None:
    """AVI and WebP: chunks in RIFF chunks; where an AVI's index lies, all before it is there."""
    position = 0
    while position + 12 <= size:
        kind, length = struct.unpack("<4sI", _read_at(file, position, 8))
        if kind != b"RIFF":
            return True  # what players ignore
        if length in (0, 0xFFFFFFFF):
            return None  # of a recorder that did not come to its end
        end = position + 8 + length
        if end > size + 1:
            return _has_index(file, position + 12, size)
        position = end + length % 2
    return True


def _has_index(file: BinaryIO, position: int, size: int) -> bool | None:
    """Tell whether a whole index is among an AVI's chunks, whatever the size of all of them is said to be."""
    for _ in range(_MAX_PARTS):
        if position + 8 > size:
            return False
        kind, length = struct.unpack("<4sI", _read_at(file, position, 8))
        position += 8 + length + length % 2
        if kind == b"idx1":
            return position <= size + 1
    return None


def _check_ogg(file: BinaryIO, size: int) -> bool | None:
    """Ogg: pages with their size in front, the last one of a stream marked."""
    tail = _read_at(file, max(0, size - _TAIL), _TAIL)
    for found in reversed(list(re.finditer(b"OggS\x00", tail))):
        page = tail[found.start() :]
        if len(page) < 27 or len(page) < 27 + page[26]:
            return False
        length = 27 + page[26] + sum(page[27 : 27 + page[26]])
        if length > len(page):
            return False
        return True if page[5] & 4 else None  # streams sent live end without the mark
    return None


def _check_flash(file: BinaryIO, size: int) -> bool | None:
    """FLV: each tag is followed by its size; the file's size may be in the first tag, and out of date."""
    (length,) = struct.unpack(">I", _read_at(file, size - 4, 4))
    if 11 <= length <= size - 4:
        head = _read_at(file, size - 4 - length, 4)
        if int.from_bytes(head[1:], "big") == length - 11:
            return True
    head = _read_at(file, 0, 2**14)
    place = head.find(b"filesize\0")
    if place < 0:
        return None
    return False if struct.unpack(">d", head[place + 9 : place + 17])[0] > size else None


def _check_mxf(file: BinaryIO, size: int) -> bool | None:
    """MXF: the first partition says where the last one begins, once the file is finished."""
    head = _read_at(file, 16, 64)
    start = 1 + (head[0] & 0x7F if head[0] & 0x80 else 0)  # of the partition, behind its length
    (footer,) = struct.unpack(">Q", head[start + 24 : start + 32])
    return None if footer == 0 else footer < size


def _check_ivf(file: BinaryIO, size: int) -> bool | None:
    """IVF: each frame has its size in front."""
    (position,) = struct.unpack("<H", _read_at(file, 6, 2))
    for _ in range(_MAX_PARTS):
        if position + 12 > size:
            return position == size
        (length,) = struct.unpack("<I", _read_at(file, position, 4))
        position += 12 + length
    return None


def _check_gif(file: BinaryIO, size: int) -> bool | None:
    """GIF: the last byte is a semicolon; if it is not, the blocks lead to one, and more may follow."""
    if _read_at(file, max(0, size - _TAIL), _TAIL).rstrip(b"\0")[-1:] == b";":
        return True
    position = 13 + _color_table(_read_at(file, 10, 1)[0])
    in_block = False
    for _ in range(_MAX_PARTS):
        kind = _read_at(file, position, 1)
        if in_block:  # which is made of parts with their length in front, the last one empty
            position += 1 + kind[0]
            in_block = kind != b"\0"
        elif kind == b";":
            return True
        elif kind == b",":
            position += 11 + _color_table(_read_at(file, position + 9, 1)[0])
            in_block = True
        elif kind == b"!":
            position += 2
            in_block = True
        else:
            return False
    return None


def _color_table(flags: int) -> int:
    """Return the bytes of a GIF's colour table."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _check_png(file: BinaryIO, size: int) -> bool | None:
    """APNG: the last chunk is IEND."""
    return b"IEND" in _read_at(file, max(0, size - _TAIL), _TAIL)


def _check_asf(file: BinaryIO, size: int) -> bool | None:
    """ASF and WMV: the header states the file's size, unless it was sent live."""
    head = _read_at(file, 0, 2**16)
    place = head.find(_ASF_FILE)
    if place < 0:
        return None
    (stated,) = struct.unpack("<Q", head[place + 40 : place + 48])
    (flags,) = struct.unpack("<I", head[place + 88 : place + 92])
    return None if flags & 1 or stated == 0 else stated <= size


def _read_at(file: BinaryIO, position: int, count: int) -> bytes:
    """Read some bytes, fewer at the end of the file."""
    file.seek(position)
    return file.read(count)
