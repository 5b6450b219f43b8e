"""Boxes of MP4 and MOV (ISO 14496-12): walk through them, and add some to the film's description.

A file is a row of boxes: length, name, content, which may be boxes again. `moov` describes the file, and its
tables `stco` or `co64` say where in the file each chunk of `mdat` lies; so whatever moves `mdat` has to
correct them. What is read into memory is `moov` alone, which FFmpeg holds whole, too: some megabytes for a
long film.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..checks import InputError

_BLOCK = 8 * 2**20  # bytes moved at once
_MOST_SHORT = 2**32 - 1  # the farthest place that stco can tell
_ENTRY = 86  # bytes of a picture's sample entry before the boxes in it
_TABLE = (b"trak", b"mdia", b"minf", b"stbl")  # the way to a track's tables


class Box(NamedTuple):
    """Where a box lies."""

    kind: bytes  # four letters
    start: int  # of its length
    body: int  # of its content
    end: int


def walk_boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Give the boxes that lie one after the other in some bytes; what is left over at the end is none.

    Raises:
        InputError: If a box is said to be longer than there are bytes.
    """
    end = len(data) if end is None else end
    while start + 8 <= end:
        box = _read_head(data[start : min(start + 16, end)], start, end)
        yield box
        start = box.end


def find_boxes(
    data: bytes, *path: bytes, start: int = 0, end: int | None = None
) -> Iterator[tuple[Box, ...]]:
    """Give each box at a path, such as b"trak", b"mdia", b"hdlr", together with those that it lies in."""
    for box in walk_boxes(data, start, end):
        if box.kind == path[0]:
            if len(path) == 1:
                yield (box,)
            else:
                for inner in find_boxes(data, *path[1:], start=box.body, end=box.end):
                    yield (box, *inner)


def make_box(kind: bytes, *content: bytes, version: int | None = None) -> bytes:
    """Return a box; with a version, one that begins with it and with flags, which are 0."""
    body = b"".join(content)
    head = b"" if version is None else struct.pack(">I", version << 24)
    return struct.pack(">I4s", 8 + len(head) + len(body), kind) + head + body


def film_boxes(path: str | Path) -> dict[bytes, bytes]:
    """Return the boxes in the sample entry of a file's film, such as avcC and st3d: their content by name.

    Raises:
        InputError: If the file holds no film.
    """
    moov = _read_moov(Path(path))
    entry = _find_film_entry(moov, Path(path))[-1]
    return {box.kind: moov[box.body : box.end] for box in walk_boxes(moov, entry.start + _ENTRY, entry.end)}


def add_film_boxes(path: str | Path, boxes: bytes, *, replacing: tuple[bytes, ...] = ()) -> None:
    """Add boxes to the sample entry of a file's film, and put `moov` in front, where streaming wants it.

    The file is changed where it is, and nearly all of it is moved: call it for a file without its name yet.

    Args:
        path: The file, closed.
        boxes: What is added, whole boxes.
        replacing: Kinds of boxes that leave the entry before.

    Raises:
        InputError: If the file holds no film, or is fragmented.
    """
    path = Path(path)
    moov = _read_moov(path)
    way = _find_film_entry(moov, path)
    moov = _replace(moov, way, _extended(moov[way[-1].start : way[-1].end], boxes, replacing))
    with open(path, "r+b") as file:
        found = list(_walk_file(file))
        if any(box.kind == b"moof" for box in found):
            raise InputError(f"an MP4 file must not be fragmented, got {path}; write it again as a whole one")
        old = next(box for box in found if box.kind == b"moov")
        place = found[0].end if found[0].kind == b"ftyp" else 0
        if old is found[-1]:
            file.truncate(old.start)
        else:
            file.seek(old.start + 4)
            file.write(b"free")
        _insert(file, place, make_box(b"moov", _moved(moov, place)))


def _read_head(head: bytes, start: int, end: int) -> Box:
    """Read the head of a box that begins at `start` and lies before `end`."""
    size, kind = struct.unpack_from(">I4s", head)
    body = start + 8
    if size == 1 and len(head) >= 16:
        (size,) = struct.unpack_from(">Q", head, 8)
        body += 8
    elif size == 0:
        size = end - start
    if size < body - start or start + size > end:
        raise InputError(
            f"a box of MP4 must lie within its file, got {kind!r} of {size} bytes at {start}; write it again"
        )
    return Box(kind, start, body, start + size)


def _walk_file(file: BinaryIO) -> Iterator[Box]:
    """Give the boxes of a file."""
    start, end = 0, file.seek(0, os.SEEK_END)
    while start + 8 <= end:
        file.seek(start)
        box = _read_head(file.read(16), start, end)
        yield box
        start = box.end


def _read_moov(path: Path) -> bytes:
    """Read the content of a file's moov."""
    with open(path, "rb") as file:
        moov = next((box for box in _walk_file(file) if box.kind == b"moov"), None)
        if moov is None:
            raise InputError(f"an MP4 or MOV file must hold moov, got {path} without; write it again")
        file.seek(moov.body)
        return file.read(moov.end - moov.body)


def _find_film_entry(moov: bytes, path: Path) -> tuple[Box, ...]:
    """Find the sample entry of the first track of pictures, a box such as avc1, and those that it lies in."""
    for trak in walk_boxes(moov):
        handlers = find_boxes(moov, *_TABLE[:2], b"hdlr", start=trak.start, end=trak.end)
        if any(moov[box.body + 8 : box.body + 12] == b"vide" for *_, box in handlers):
            for way in find_boxes(moov, *_TABLE, b"stsd", start=trak.start, end=trak.end):
                return (*way, next(walk_boxes(moov, way[-1].body + 8, way[-1].end)))
    raise InputError(f"an MP4 or MOV file must hold a track of pictures, got {path} without; write it again")


def _extended(entry: bytes, boxes: bytes, replacing: tuple[bytes, ...]) -> bytes:
    """Add boxes to a sample entry, before the zeros with which MOV may end it."""
    kept, end = [entry[8:_ENTRY]], _ENTRY
    for box in walk_boxes(entry, _ENTRY):
        end = box.end
        if box.kind not in replacing:
            kept.append(entry[box.start : box.end])
    return make_box(entry[4:8], *kept, boxes, entry[end:])


def _replace(data: bytes, way: tuple[Box, ...], box: bytes) -> bytes:
    """Put a box in the place of the last one of a way, and correct the length of those that it lies in."""
    *around, old = way
    result = bytearray(data)
    for outer in around:
        struct.pack_into(
            ">I", result, outer.start, outer.end - outer.start + len(box) - (old.end - old.start)
        )
    result[old.start : old.end] = box
    return bytes(result)


def _moved(moov: bytes, place: int) -> bytes:
    """Correct the tables of chunks in the content of a moov that is inserted at a place in the file."""
    if _farthest(moov) + 2 * len(moov) > _MOST_SHORT:  # its tables may become twice as long
        for way in list(find_boxes(moov, *_TABLE, b"stco"))[::-1]:  # from the end, so that places stay right
            offsets = _offsets(moov, way[-1])
            table = struct.pack(f">I{len(offsets)}Q", len(offsets), *offsets)
            moov = _replace(moov, way, make_box(b"co64", table, version=0))
    by = len(make_box(b"moov", moov))
    result = bytearray(moov)
    for kind, letter in ((b"stco", "I"), (b"co64", "Q")):
        for way in find_boxes(moov, *_TABLE, kind):
            moved = [offset + by if offset >= place else offset for offset in _offsets(moov, way[-1])]
            struct.pack_into(f">{len(moved)}{letter}", result, way[-1].body + 8, *moved)
    return bytes(result)


def _farthest(moov: bytes) -> int:
    """Return the highest place in the tables of 32 bits."""
    tables = (_offsets(moov, way[-1]) for way in find_boxes(moov, *_TABLE, b"stco"))
    return max((max(offsets, default=0) for offsets in tables), default=0)


def _offsets(moov: bytes, table: Box) -> tuple[int, ...]:
    """Read a table of chunks."""
    (count,) = struct.unpack_from(">I", moov, table.body + 4)
    return struct.unpack_from(f">{count}{'I' if table.kind == b'stco' else 'Q'}", moov, table.body + 8)


def _insert(file: BinaryIO, place: int, content: bytes) -> None:
    """Insert bytes into a file; what lies behind is moved back, block by block."""
    waiting, read, written = bytearray(content), place, place
    file.seek(read)
    while block := file.read(_BLOCK):
        read += len(block)
        waiting += block
        file.seek(written)
        file.write(waiting[: read - written])  # never beyond what was read
        del waiting[: read - written]
        written = read
        file.seek(read)
    file.seek(written)
    file.write(waiting)
