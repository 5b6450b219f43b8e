"""Boxes of MP4: found, added, and all that they point at still found."""

from __future__ import annotations

import struct

import av
import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.video import boxes
from spatialdreamer_core.video.boxes import add_film_boxes, film_boxes, find_boxes, make_box, walk_boxes

MARK = make_box(b"st3d", b"\2", version=0)


def kinds(path):
    data = path.read_bytes()
    return [box.kind for box in walk_boxes(data)]


def pictures(path):
    with av.open(str(path)) as container:
        return [(frame.pts, bytes(frame.to_ndarray())) for frame in container.decode(video=0)]


def test_a_box_by_hand():
    inner = make_box(b"st3d", b"\2", version=0)
    assert inner == b"\0\0\0\x0dst3d\0\0\0\0\2"
    data = make_box(b"moov", inner, make_box(b"free")) + struct.pack(">I4sQ", 1, b"mdat", 19) + b"abc"
    moov, mdat = walk_boxes(data)
    assert (moov.kind, moov.start, moov.body, moov.end) == (b"moov", 0, 8, 29)
    assert (mdat.kind, data[mdat.body : mdat.end]) == (b"mdat", b"abc")
    assert [way[-1].kind for way in find_boxes(data, b"moov", b"free")] == [b"free"]
    to_the_end = struct.pack(">I4s", 0, b"mdat") + b"abcd"
    assert [box.end for box in walk_boxes(to_the_end)] == [12]


@pytest.mark.parametrize("head", [struct.pack(">I4s", 99, b"moov"), struct.pack(">I4s", 5, b"moov")])
def test_a_box_that_cannot_be_is_told(head):
    with pytest.raises(InputError, match="a box of MP4 must lie within its file, got b'moov'"):
        list(walk_boxes(head + b"\0" * 8))


@pytest.mark.parametrize("block", [8 * 2**20, 37], ids=["one block", "many blocks"])
@pytest.mark.parametrize("order", ["index behind", "index in front", "an empty box behind the index"])
def test_boxes_are_added_and_everything_is_still_found(
    make_video, packets, tmp_path, monkeypatch, order, block
):
    monkeypatch.setattr(boxes, "_BLOCK", block)
    path = make_video("clip.mp4", frames=12, audio=("aac",))
    if order == "index in front":
        add_film_boxes(path, make_box(b"free"))
        assert kinds(path).index(b"moov") < kinds(path).index(b"mdat")
    if order == "an empty box behind the index":
        path.write_bytes(path.read_bytes() + make_box(b"skip"))
    shown, sound = pictures(path), packets(path)
    before = film_boxes(path)
    add_film_boxes(path, MARK, replacing=(b"st3d",))
    assert film_boxes(path) == {**before, b"st3d": MARK[8:]}
    assert (pictures(path), packets(path)) == (shown, sound)
    assert kinds(path).count(b"moov") == 1
    assert kinds(path).index(b"moov") == 1, "where streaming wants it"
    add_film_boxes(path, MARK + make_box(b"hfov", b"\0\0\0\1"), replacing=(b"st3d",))
    assert list(film_boxes(path))[-2:] == [b"st3d", b"hfov"]
    assert (pictures(path), packets(path)) == (shown, sound)


def test_places_beyond_32_bits_get_the_wide_table(make_video, packets, monkeypatch):
    path = make_video("clip.mov", frames=8, audio=("aac",))
    shown, sound = pictures(path), packets(path)
    monkeypatch.setattr(boxes, "_MOST_SHORT", 100)
    add_film_boxes(path, MARK)
    data = path.read_bytes()
    moov = next(box for box in walk_boxes(data) if box.kind == b"moov")
    tables = (b"trak", b"mdia", b"minf", b"stbl")
    assert len(list(find_boxes(data, *tables, b"co64", start=moov.body, end=moov.end))) == 2
    assert not list(find_boxes(data, *tables, b"stco", start=moov.body, end=moov.end))
    assert (pictures(path), packets(path)) == (shown, sound)


def test_zeros_that_end_an_entry_stay_at_its_end(make_video):
    path = make_video("clip.mov", frames=2, codec="prores_ks", pixel_format="yuv422p10le")
    data = bytearray(path.read_bytes())
    at = data.index(b"apch") if b"apch" in data else data.index(b"apcn")
    (length,) = struct.unpack_from(">I", data, at - 4)
    data[at - 4 + length : at - 4 + length] = b"\0\0\0\0"
    moov = next(box for box in walk_boxes(bytes(path.read_bytes())) if box.kind == b"moov")
    ways = (b"trak", b"mdia", b"minf", b"stbl", b"stsd")
    for box in (moov, *next(find_boxes(bytes(path.read_bytes()), *ways, start=moov.body, end=moov.end))):
        struct.pack_into(">I", data, box.start, box.end - box.start + 4)
    struct.pack_into(">I", data, at - 4, length + 4)
    path.write_bytes(data)
    shown = pictures(path)
    add_film_boxes(path, MARK)
    assert pictures(path) == shown
    data = path.read_bytes()
    at = data.index(MARK)
    assert data[at + len(MARK) : at + len(MARK) + 4] == b"\0\0\0\0"


def test_what_is_no_film_is_told(make_video, tmp_path):
    fragmented = tmp_path / "fragmented.mp4"
    with av.open(str(fragmented), "w", options={"movflags": "frag_keyframe+empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode())
    content = fragmented.read_bytes()
    with pytest.raises(InputError, match="must not be fragmented"):
        add_film_boxes(fragmented, MARK)
    assert fragmented.read_bytes() == content
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(make_box(b"ftyp", b"isom"))
    with pytest.raises(InputError, match="must hold moov"):
        film_boxes(cut)
    cut.write_bytes(make_box(b"ftyp", b"isom") + make_box(b"moov", make_box(b"trak")))
    with pytest.raises(InputError, match="must hold a track of pictures"):
        film_boxes(cut)
