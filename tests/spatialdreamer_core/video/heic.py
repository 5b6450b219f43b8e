"""Small HEIC files: pictures coded as HEVC, in the boxes of HEIF."""

from __future__ import annotations

import io
import struct

import av
import numpy as np


def box(kind: str, *content: bytes, version: int | None = None, flags: int = 0) -> bytes:
    body = b"".join(content)
    if version is not None:
        body = struct.pack(">I", version << 24 | flags) + body
    return struct.pack(">I4s", 8 + len(body), kind.encode()) + body


def encode(image, *, pixel_format="yuvj444p", options=None) -> tuple[bytes, bytes]:
    """Code a picture [H, W, 3]; returns its configuration and its bytes."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        parameters = {"x265-params": "crf=8:log-level=none", "preset": "ultrafast"}
        stream = container.add_stream("libx265", rate=1, options=parameters)
        stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], pixel_format
        stream.codec_context.color_range = 2
        stream.codec_context.codec_tag = "hvc1"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts = 0
        frame = frame.reformat(
            format=pixel_format, src_colorspace=5, dst_colorspace=5, src_color_range=0, dst_color_range=2
        )
        for packet in (*stream.encode(frame), *stream.encode(None)):
            packet.dts = packet.pts  # libx265 leaves it undefined where there is but one frame
            container.mux(packet)
    file.seek(0)
    with av.open(file) as container:
        packet = next(container.demux(video=0))
        return bytes(packet.stream.codec_context.extradata), bytes(packet)


def ispe(width, height):
    return box("ispe", struct.pack(">II", width, height), version=0)


def nclx(primaries=1, transfer=13, matrix=6):
    return box("colr", b"nclx", struct.pack(">HHHB", primaries, transfer, matrix, 0x80))


def heic(
    path,
    image,
    *,
    tile=None,
    pixel_format="yuvj444p",
    properties=(),
    references=(),
    extra=(),
    missing=0,
    color=None,
) -> None:
    """Write a picture, in tiles of (width, height) if they are given, with more properties of the whole.

    `extra` holds more pictures, each an image and the properties of its item, which get the numbers after the
    tiles'; `references` are (kind, from, to); `missing` tiles are left out.
    """
    height, width = image.shape[:2]
    items, payloads, ipco, associations = [], [], [], []

    def add(kind, payload, *own, hidden=False):
        items.append((kind, hidden))
        payloads.append(payload)
        ipco.extend(own)
        associations.append(list(range(len(ipco) - len(own) + 1, len(ipco) + 1)))

    color = color or nclx()
    references = list(references)
    if tile is None:
        configuration, payload = encode(image, pixel_format=pixel_format)
        add("hvc1", payload, ispe(width, height), box("hvcC", configuration), color, *properties)
    else:
        columns, rows = -(-width // tile[0]), -(-height // tile[1])
        grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
        add("grid", grid, ispe(width, height), *properties)
        padding = ((0, rows * tile[1] - height), (0, columns * tile[0] - width), (0, 0))
        padded = np.pad(image, padding, mode="edge")
        numbers = []
        for i in range(rows * columns - missing):
            top, left = i // columns * tile[1], i % columns * tile[0]
            configuration, payload = encode(padded[top : top + tile[1], left : left + tile[0]])
            own = (ispe(*tile), box("hvcC", configuration), color)
            add("hvc1", payload, *own, hidden=True)
            numbers.append(len(items))
        references.append(("dimg", 1, numbers))
    for picture, own in extra:
        configuration, payload = encode(picture)
        add("hvc1", payload, ispe(*picture.shape[1::-1]), box("hvcC", configuration), color, *own)

    entries = [
        box("infe", struct.pack(">HH4s", i, 0, kind.encode()), b"\0", version=2, flags=int(hidden))
        for i, (kind, hidden) in enumerate(items, start=1)
    ]
    iinf = box("iinf", struct.pack(">H", len(entries)), *entries, version=0)
    ipma = struct.pack(">I", len(items)) + b"".join(
        struct.pack(">HB", i, len(own)) + bytes(own) for i, own in enumerate(associations, start=1)
    )
    iprp = box("iprp", box("ipco", *ipco), box("ipma", ipma, version=0))
    iref = box(
        "iref",
        *(box(kind, struct.pack(f">HH{len(to)}H", of, len(to), *to)) for kind, of, to in references),
        version=0,
    )
    handler = box("hdlr", b"\0\0\0\0pict" + bytes(13), version=0)
    pitm = box("pitm", struct.pack(">H", 1), version=0)
    ftyp = box("ftyp", b"heic\0\0\0\0mif1heic")

    def meta(start):
        places, offset = [], start
        for i, payload in enumerate(payloads, start=1):
            places.append(struct.pack(">HHHHII", i, 0, 0, 1, offset, len(payload)))
            offset += len(payload)
        iloc = box("iloc", struct.pack(">BBH", 0x44, 0, len(items)), *places, version=1)
        return box("meta", handler, pitm, iloc, iinf, iprp, iref, version=0)

    start = len(ftyp) + len(meta(0)) + 8
    path.write_bytes(ftyp + meta(start) + box("mdat", *payloads))
