"""Read HEIC and AVIF photos: HEIF's boxes are read here, FFmpeg decodes what is in them.

FFmpeg sees every tile of a photo as a stream of its own and old Pillow knows neither format, so the boxes say
how the tiles lie (ISO/IEC 23008-12). What they do not say for certain is refused: a part of a photo must not
pass for the whole.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np

from ..checks import InputError
from .color import ColorInfo
from .limits import MAX_PHOTO_BYTES, check_photo_size
from .still import luma_of, still_to_rgb

_LOGGER = logging.getLogger(__name__)

_MAX_META = 1 << 24  # bytes of boxes; those of real files have some kilobytes
_MAX_TOP_BOXES = 1000
_MAX_TILES = 4096  # a phone's photo has some dozens
_MAX_PIECES = 1 << 16  # in which the bytes of all items lie
_DECODERS = {"hvc1": ("hevc",), "av01": ("libdav1d", "libaom-av1", "av1")}
_CONFIGURATION = {"hvc1": "hvcC", "av01": "av1C"}
_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
_SRGB_PRIMARIES = (1, 2)  # BT.709 and unspecified
_SEQUENCE_BRANDS = {b"avis", b"hevc", b"hevx", b"msf1"}
_ALPHA = "urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", "urn:mpeg:hevc:2015:auxid:1"


@dataclass
class _Item:
    """A picture, or a part of one, or something that belongs to it."""

    kind: str = ""
    hidden: bool = False
    method: int = 0  # where its bytes lie: 0 in the file, 1 in the boxes
    extents: list[tuple[int, int]] = field(default_factory=list)  # offset, length
    properties: list[tuple[str, bytes]] = field(default_factory=list)

    def get(self, name: str) -> bytes | None:
        """Return a property's content, or None."""
        return next((content for kind, content in self.properties if kind == name), None)


@dataclass
class _Meta:
    """What the boxes say."""

    primary: int = 0
    items: dict[int, _Item] = field(default_factory=dict)
    references: list[tuple[str, int, list[int]]] = field(default_factory=list)  # kind, from, to
    idat: bytes = b""
    is_sequence: bool = False

    def parts(self, item: int) -> list[int]:
        """Return the items that a derived one is made from."""
        return next((to for kind, of, to in self.references if kind == "dimg" and of == item), [])


def read_heif(file: BinaryIO, path: Path) -> tuple[np.ndarray, bytes | None]:  # [H, W, 3] RGB
    """Decode a file's primary picture upright, transparency over black.

    Returns:
        The picture, and its colour profile if it has one.

    Raises:
        InputError: If it is too large, in HDR, or of a kind whose parts cannot be put together for certain.
        Exception: Whatever damaged boxes lead to; the caller has a boundary for it.
    """
    meta = _read_meta(file)
    item = meta.items[meta.primary]
    width, height = _size(item)
    check_photo_size(width, height, path)
    profile = _check_colours(meta, item, path)
    picture = _decode(file, meta, meta.primary, path)
    auxiliary = [of for kind, of, to in meta.references if kind == "auxl" and meta.primary in to]
    alpha = next((number for number in auxiliary if _is_alpha(meta, number)), None)
    if alpha is not None:
        opacity = _decode(file, meta, alpha, path, luma=True)
        if opacity.shape[:2] == picture.shape[:2]:
            picture = np.rint(picture * opacity).astype(picture.dtype)
    _say_if_one_of_several(meta, path)
    return _transform(picture, item, path), profile


def _read_meta(file: BinaryIO) -> _Meta:
    """Find and read the file's `meta` box."""
    meta, offset, found = _Meta(), 0, False
    for _ in range(_MAX_TOP_BOXES):
        file.seek(offset)
        header = file.read(16)
        if len(header) < 8:
            break
        size, kind = struct.unpack(">I4s", header[:8])
        start = 8
        if size == 1:
            size, start = struct.unpack(">Q", header[8:])[0], 16
        if kind in (b"ftyp", b"meta"):
            if size - start > _MAX_META:
                raise ValueError("its boxes are too large")
            file.seek(offset + start)
            content = file.read(size - start) if size else file.read(_MAX_META)
            if kind == b"ftyp":
                brands = {content[i : i + 4] for i in range(0, len(content), 4)}
                meta.is_sequence |= bool(brands & _SEQUENCE_BRANDS)
            else:
                _read_boxes(content[4:], meta)
                found = True
        if size < 8:
            break
        offset += size
    if not found:
        raise ValueError("it names no picture")
    return meta


def _boxes(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Iterate over the boxes in a box's content."""
    offset = 0
    while offset + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, offset)
        start = 8
        if size == 1:
            size, start = struct.unpack_from(">Q", data, offset + 8)[0], 16
        elif size == 0:
            size = len(data) - offset
        if size < start or offset + size > len(data):
            raise ValueError(f"box {kind!r} does not fit")
        yield kind.decode("latin-1"), data[offset + start : offset + size]
        offset += size


class _Reader:
    """Reads big-endian numbers one after another."""

    def __init__(self, data: bytes, offset: int = 0) -> None:
        self._data, self.offset = data, offset

    def take(self, size: int) -> int:
        """Read a number of `size` bytes; 0 bytes are 0."""
        end = self.offset + size
        if end > len(self._data):
            raise ValueError("its boxes are cut short")
        value = int.from_bytes(self._data[self.offset : end], "big")
        self.offset = end
        return value


def _read_boxes(data: bytes, meta: _Meta) -> None:
    """Read the boxes in `meta`."""
    boxes = dict(reversed(list(_boxes(data))))
    meta.idat = boxes.get("idat", b"")
    meta.primary = int.from_bytes(boxes["pitm"][4 : 6 if boxes["pitm"][0] == 0 else 8], "big")
    wide = boxes["iinf"][0] != 0
    for kind, entry in _boxes(boxes["iinf"][8 if wide else 6 :]):
        if kind == "infe" and entry[0] >= 2:
            reader = _Reader(entry, 4)
            number = reader.take(2 if entry[0] == 2 else 4)
            reader.take(2)
            name = entry[reader.offset : reader.offset + 4].decode("latin-1")
            meta.items[number] = _Item(kind=name, hidden=bool(entry[3] & 1))
    _read_places(boxes["iloc"], meta)
    _read_properties(boxes["iprp"], meta)
    if "iref" in boxes:
        size = 2 if boxes["iref"][0] == 0 else 4
        for kind, content in _boxes(boxes["iref"][4:]):
            reader = _Reader(content)
            of, count = reader.take(size), reader.take(2)
            meta.references.append((kind, of, [reader.take(size) for _ in range(count)]))


def _read_places(data: bytes, meta: _Meta) -> None:
    """Read `iloc`: where each item's bytes lie."""
    version = data[0]
    reader = _Reader(data, 4)
    sizes = reader.take(2)
    total = 0
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    for _ in range(reader.take(2 if version < 2 else 4)):
        item = meta.items.get(reader.take(2 if version < 2 else 4), _Item())
        item.method = reader.take(2) & 15 if version in (1, 2) else 0
        if reader.take(2):
            item.method = -1  # in another file
        base = reader.take(base_size)
        pieces = reader.take(2)
        total += pieces
        if total > _MAX_PIECES:
            raise ValueError("its pixels lie in too many pieces")
        for _ in range(pieces):
            if version in (1, 2):
                reader.take(index_size)
            offset = reader.take(offset_size)
            item.extents.append((base + offset, reader.take(length_size)))


def _read_properties(data: bytes, meta: _Meta) -> None:
    """Read `iprp`: each item's properties, in the order in which they apply."""
    boxes = list(_boxes(data))
    properties = list(_boxes(next(content for kind, content in boxes if kind == "ipco")))
    for kind, content in boxes:
        if kind != "ipma":
            continue
        reader = _Reader(content, 4)
        wide = bool(content[3] & 1)
        for _ in range(reader.take(4)):
            item = meta.items.get(reader.take(2 if content[0] == 0 else 4), _Item())
            for _ in range(reader.take(1)):
                index = reader.take(2) & 0x7FFF if wide else reader.take(1) & 0x7F
                if index:
                    item.properties.append(properties[index - 1])


def _content(file: BinaryIO, meta: _Meta, item: _Item) -> bytes:
    """Read an item's bytes."""
    parts, total = [], 0
    for offset, length in item.extents:
        if item.method == 1:
            part = meta.idat[offset : offset + length] if length else meta.idat[offset:]
        elif item.method == 0:
            file.seek(offset)
            part = file.read(min(length, MAX_PHOTO_BYTES) if length else MAX_PHOTO_BYTES + 1)
        else:
            raise ValueError("its pixels lie in another file")
        if len(part) < length:
            raise ValueError("it is cut short")
        parts.append(part)
        total += len(part)
        if total > MAX_PHOTO_BYTES:
            raise ValueError("its pixels take too many bytes")
    return b"".join(parts)


def _decode(
    file: BinaryIO, meta: _Meta, number: int, path: Path, *, luma: bool = False
) -> np.ndarray:  # [H, W, 3] RGB, or [H, W, 1] float32 in [0, 1]
    """Decode an item: one coded picture, or a grid of them."""
    item = meta.items[number]
    if item.kind == "grid":
        return _decode_grid(file, meta, number, path, luma=luma)
    if item.kind not in _DECODERS:
        raise InputError(
            f"a HEIF photo must be one picture or a grid of tiles, coded as HEVC or AV1, got {item.kind!r} "
            f"in {path}; save it as JPEG or PNG"
        )
    return _decode_picture(item, _content(file, meta, item), path, luma=luma)


def _decode_grid(file: BinaryIO, meta: _Meta, number: int, path: Path, *, luma: bool) -> np.ndarray:
    """Decode tiles and lay them out row by row; the last ones may reach over the right and lower border."""
    reader = _Reader(_content(file, meta, meta.items[number]), 1)
    size = 4 if reader.take(1) & 1 else 2
    rows, columns = reader.take(1) + 1, reader.take(1) + 1
    width, height = reader.take(size), reader.take(size)
    check_photo_size(width, height, path)
    tiles = meta.parts(number)
    picture: np.ndarray | None = None
    if len(tiles) == rows * columns <= _MAX_TILES and (width, height) == _size(meta.items[number]):
        for i, tile in enumerate(tiles):
            item = meta.items[tile]
            part_width, part_height = _size(item)
            fits = columns * part_width >= width > (columns - 1) * part_width
            fits = fits and rows * part_height >= height > (rows - 1) * part_height
            if not fits or item.kind not in _DECODERS or item.get("irot") or item.get("imir"):
                break
            part = _decode_picture(item, _content(file, meta, item), path, luma=luma)
            if picture is None:
                picture = np.zeros((height, width, part.shape[2]), part.dtype)
            top, left = i // columns * part_height, i % columns * part_width
            if part.dtype != picture.dtype:
                break
            target = picture[top : top + part_height, left : left + part_width]
            target[:] = part[: target.shape[0], : target.shape[1]]
        else:
            assert picture is not None, tiles
            return picture
    raise InputError(
        f"a tiled photo's tiles must make up the whole, got {len(tiles)} tiles for {columns}x{rows} "
        f"in {path}; save it as JPEG or PNG"
    )


def _decode_picture(item: _Item, content: bytes, path: Path, *, luma: bool) -> np.ndarray:
    """Decode one coded picture."""
    width, height = _size(item)
    check_photo_size(width, height, path)
    codec = next((name for name in _DECODERS[item.kind] if name in av.codecs_available), None)
    if codec is None:
        raise InputError(f"input must be decodable here, got {item.kind} in {path}; save it as JPEG or PNG")
    context = av.CodecContext.create(codec, "r")
    assert isinstance(context, av.VideoCodecContext), context
    context.options = {"max_pixels": str(MAX_PHOTO_BYTES // 3)}
    configuration = item.get(_CONFIGURATION[item.kind])
    if configuration:
        context.extradata = configuration
    frames = [*context.decode(av.Packet(content)), *context.decode(None)]
    if not frames or (frames[0].width, frames[0].height) != (width, height):
        raise ValueError("a picture has not the size that the boxes state")
    frame = frames[0]
    if luma:  # transparency, which is coded in full range
        return luma_of(frame)[..., None].astype(np.float32) / ((1 << frame.format.components[0].bits) - 1)
    return still_to_rgb(frame, _color(item, frame, context))


def _color(item: _Item, frame: av.VideoFrame, context: av.VideoCodecContext) -> ColorInfo:
    """Say how RGB is coded: the boxes overrule the codec."""
    color = ColorInfo.of_frame(frame, context)
    nclx = _nclx(item)
    if nclx is None:
        return color
    _, _, matrix, full_range = nclx
    known = replace(color, full_range=full_range and not frame.format.is_rgb)
    return replace(known, matrix=matrix) if matrix in (1, 4, 5, 6, 7, 9, 10) else known


def _nclx(item: _Item) -> tuple[int, int, int, bool] | None:
    """Return primaries, transfer and matrix by H.273, and whether the range is full."""
    for kind, content in item.properties:
        if kind == "colr" and content[:4] == b"nclx":
            return *struct.unpack_from(">3H", content, 4), bool(content[10] & 0x80)
    return None


def _check_colours(meta: _Meta, item: _Item, path: Path) -> bytes | None:
    """Refuse HDR; return the colour profile."""
    tagged = [item, *(meta.items[part] for part in meta.parts(meta.primary)[:1])]
    for nclx in filter(None, map(_nclx, tagged)):
        if nclx[1] in _HDR_TRANSFERS:
            raise InputError(
                f"input must be a photo of standard range, got HDR ({_HDR_TRANSFERS[nclx[1]]}) in {path}; "
                "save it as JPEG or PNG"
            )
    for one in tagged:
        for kind, content in one.properties:
            if kind == "colr" and content[:4] in (b"prof", b"rICC"):
                return content[4:]
    if any(nclx[0] not in _SRGB_PRIMARIES for nclx in filter(None, map(_nclx, tagged))):
        _LOGGER.warning("%s: its wide colours are taken as sRGB; they come out paler", path)
    return None


def _size(item: _Item) -> tuple[int, int]:
    """Return the width and height that an item states."""
    content = item.get("ispe")
    if content is None:
        raise ValueError("a picture states no size")
    width, height = struct.unpack_from(">2I", content, 4)
    return width, height


def _is_alpha(meta: _Meta, number: int) -> bool:
    """Tell whether an auxiliary picture holds transparency."""
    content = meta.items[number].get("auxC") if number in meta.items else None
    return content is not None and content[4:].split(b"\0")[0].decode("latin-1") in _ALPHA


def _transform(picture: np.ndarray, item: _Item, path: Path) -> np.ndarray:
    """Crop, turn and mirror a picture as its properties say, in their order."""
    for kind, content in item.properties:
        if kind == "clap":
            picture = _crop(picture, content)
        elif kind == "irot":
            picture = np.rot90(picture, content[0] & 3)  # anticlockwise
        elif kind == "imir":
            picture = picture[:, ::-1] if content[0] & 1 else picture[::-1]
    check_photo_size(picture.shape[1], picture.shape[0], path)
    return np.ascontiguousarray(picture)


def _crop(picture: np.ndarray, clap: bytes) -> np.ndarray:
    """Cut the clean aperture out: its size and its centre's distance from the picture's, as fractions."""
    numbers = struct.unpack_from(">4I", clap)  # signed ones follow
    offsets = struct.unpack_from(">iIiI", clap, 16)
    width, height = numbers[0] / numbers[1], numbers[2] / numbers[3]
    x = (picture.shape[1] - width) / 2 + offsets[0] / offsets[1]
    y = (picture.shape[0] - height) / 2 + offsets[2] / offsets[3]
    left, top, columns, rows = (round(value) for value in (x, y, width, height))
    if left < 0 or top < 0 or left + columns > picture.shape[1] or top + rows > picture.shape[0]:
        raise ValueError("its crop is not within the picture")
    return picture[top : top + rows, left : left + columns]


def _say_if_one_of_several(meta: _Meta, path: Path) -> None:
    """Log that a file holds other pictures that are no parts, thumbnails or maps of one."""
    if meta.is_sequence:
        _LOGGER.warning("%s is an animation: only its first picture is used", path)
        return
    parts = {part for kind, _, to in meta.references if kind == "dimg" for part in to}
    belonging = {of for kind, of, _ in meta.references if kind in ("thmb", "auxl")}
    pictures = [
        number
        for number, item in meta.items.items()
        if (item.kind in _DECODERS or item.kind == "grid")
        and not item.hidden
        and number not in parts
        and number not in belonging
    ]
    if len(pictures) > 1:
        _LOGGER.warning("%s holds %d pictures: only the main one is used", path, len(pictures))
