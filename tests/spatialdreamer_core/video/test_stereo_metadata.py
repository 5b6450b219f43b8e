"""What files say about their two views: for each format and container written, then read back in three ways.

By FFmpeg through PyAV, by our own walk through the boxes, and by `probe`, which refuses such a file as input.
"""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.video import VideoWriter, probe, read_frames
from spatialdreamer_core.video.boxes import film_boxes
from spatialdreamer_core.video.matroska import _walk
from spatialdreamer_core.video.stereo_metadata import (
    STEREO_METADATA,
    add_stereo_boxes,
    read_stereo_boxes,
    stereo_metadata,
)
from spatialdreamer_core.video.stereo_source import stated_format

SIDE, ABOVE, ALTERNATING, CHECKERS, ROWS, COLUMNS = 1, 2, 3, 4, 6, 7
INVERTED = 1
_SIDE_BOXES = {"st3d": "left-right", "eyes": "left first", "packing": "side"}
_ABOVE_BOXES = {"st3d": "top-bottom", "eyes": "left first", "packing": "over"}
BOXES = {
    "full_sbs": _SIDE_BOXES,
    "half_sbs": _SIDE_BOXES,
    "full_tb": _ABOVE_BOXES,
    "half_tb": _ABOVE_BOXES,
    "cross_eyed": {"st3d": "right-left", "eyes": "right first", "packing": "side"},
    "vr180": {**_SIDE_BOXES, "projection": "hequ", "bounds": "0 0 0.25 0.25", "hfov": "180"},
}
STEREO_MODES = {
    "full_sbs": "left_right",
    "half_sbs": "left_right",
    "vr180": "left_right",
    "full_tb": "top_bottom",
    "half_tb": "top_bottom",
    "cross_eyed": "right_left",
    "anaglyph": "anaglyph_cyan_red",
    "checkerboard": "checkerboard_lr",
    "row_interlaced": "row_interleaved_lr",
    "column_interlaced": "col_interleaved_lr",
}
MESSAGES = {  # type and flags as FFmpeg reads them from H.264
    "full_sbs": (SIDE, 0),
    "half_sbs": (SIDE, 0),
    "full_tb": (ABOVE, 0),
    "half_tb": (ABOVE, 0),
    "cross_eyed": (SIDE, INVERTED),
    "checkerboard": (CHECKERS, 0),
    "row_interlaced": (ROWS, 0),
    "column_interlaced": (COLUMNS, 0),
    "frame_sequential": (ALTERNATING, 0),
}
FORMATS = (*MESSAGES, "anaglyph", "vr180", "rgbd", "quilt")


def write(path, format, *, choice="auto", codec="libx264", frames=3, aspect=None):
    """Write frames whose left half is red and whose right half is blue."""
    image = np.zeros((64, 128, 3), np.uint8)
    image[:, :64, 0] = image[:, 64:, 2] = 200
    clock = {"frame_rate": Fraction(25), "time_base": Fraction(1, 25)}
    said = stereo_metadata(format, choice=choice)
    options = {"preset": "ultrafast", "sample_aspect_ratio": aspect, "stereo": said}
    with VideoWriter(path, width=128, height=64, codec=codec, **clock, **options) as writer:
        for index in range(frames):
            writer.write(image, index)
    return path


def told(path):
    """Return what FFmpeg tells of a film: StereoMode, type and flags of its first frame, and the sphere."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        packing, sphere = (frame.side_data.get(kind) for kind in ("STEREO3D", "SPHERICAL"))
        return (
            stream.metadata.get("stereo_mode"),
            None if packing is None else struct.unpack_from("2i", bytes(packing)),
            None if sphere is None else struct.unpack_from("i", bytes(sphere))[0],
        )


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("format", FORMATS)
def test_each_format_is_written_and_read_back(tmp_path, format, suffix):
    path = write(tmp_path / f"film{suffix}", format)
    mode, packing, _ = told(path)
    assert mode == (STEREO_MODES.get(format) if suffix == ".mkv" else None)
    if format in MESSAGES:
        assert packing == MESSAGES[format]
    if suffix != ".mkv":
        assert read_stereo_boxes(path) == BOXES.get(format, {})
    frames = [frame.image for frame in read_frames(path)]
    assert len(frames) == 3
    for image in frames:
        assert image[:, :60, 0].min() > 180 > 30 > image[:, :60, 2].max()
        assert image[:, 68:, 2].min() > 180 > 30 > image[:, 68:, 0].max()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    "format", ["full_sbs", "half_tb", "cross_eyed", "frame_sequential", "row_interlaced"]
)
def test_hevc_says_what_it_has_words_for(tmp_path, format, suffix):
    path = write(tmp_path / f"film{suffix}", format, codec="libx265", frames=4)
    in_stream = {"row_interlaced": None}.get(format, MESSAGES[format])
    expected = MESSAGES[format] if suffix == ".mkv" else in_stream
    assert told(path)[1] == expected


def test_views_that_alternate_are_told_apart_frame_by_frame(tmp_path):
    path = write(tmp_path / "film.mp4", "frame_sequential", frames=9)
    with av.open(str(path)) as container:
        views = [
            struct.unpack_from("3i", bytes(frame.side_data["STEREO3D"]))[2]
            for frame in container.decode(video=0)
        ]
    assert views == [1, 2, 1, 2, 1, 2, 1, 2, 1]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_vr180_is_half_a_sphere(tmp_path, suffix):
    path = write(tmp_path / f"film{suffix}", "vr180")
    mode, packing, sphere = told(path)
    assert mode == ("left_right" if suffix == ".mkv" else None)
    assert (packing, sphere) == ((SIDE, 0), 2 if suffix == ".mkv" else 3), "a part of a sphere, or its half"
    if suffix != ".mkv":
        equi = film_boxes(path)[b"sv3d"]
        assert equi.endswith(b"equi" + struct.pack(">5I", 0, 0, 0, 2**30, 2**30))
    with av.open(str(path)) as container:
        mapping = bytes(next(container.decode(video=0)).side_data["SPHERICAL"])
    left, top, right, bottom = struct.unpack_from("4I", mapping, 16)
    if suffix == ".mkv":
        assert (left, top, right, bottom) == (2**30, 0, 2**30, 0)


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
@pytest.mark.parametrize(
    ("format", "aspect", "tags"), [("half_sbs", Fraction(2), 0), ("vr180", None, 0), ("vr180", None, 5)]
)
def test_what_is_changed_in_matroska_keeps_its_sums_and_places(tmp_path, format, aspect, tags, suffix):
    clock = {"frame_rate": Fraction(25), "time_base": Fraction(1, 25)}
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    metadata = {f"tag{index}": "x" * 50 for index in range(tags)}
    options = {"stereo": stereo_metadata(format), "sample_aspect_ratio": aspect, "metadata": metadata}
    path = tmp_path / f"film{suffix}"
    options["codec_options"] = {"g": "5"}
    with VideoWriter(path, width=128, height=64, codec=codec, **clock, **options) as writer:
        for index in range(30):
            writer.write(np.full((64, 128, 3), 8 * index, np.uint8), index)
    data = path.read_bytes()
    segment = next(part for part in _walk(data, 0, len(data)) if part.kind == 0x18538067)
    parts = list(_walk(data, segment.body, segment.end))
    assert parts[-1].end == len(data)
    for part in parts:
        first = next(_walk(data, part.body, part.end), None)
        if first is not None and first.kind == 0xBF:
            total = zlib.crc32(data[first.end : part.end])
            assert data[first.body : first.end] == total.to_bytes(4, "little")
    found = {part.start - segment.body for part in parts}
    head = next(part for part in parts if part.kind == 0x114D9B74)
    seeks = [part for part in _walk(data, head.body, head.end) if part.kind == 0x4DBB]
    places = [list(_walk(data, seek.body, seek.end)) for seek in seeks]
    assert {int.from_bytes(data[place.body : place.end], "big") for _, place in places} <= found
    with av.open(str(path)) as container:
        container.seek(800_000)
        assert next(container.decode(video=0)).pts > 0
        assert all(container.metadata[name.upper()] == value for name, value in metadata.items())


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_message_can_be_left_out_and_so_can_all(tmp_path, suffix):
    said = told(write(tmp_path / f"all{suffix}", "half_sbs"))
    without = write(tmp_path / f"no_sei{suffix}", "half_sbs", choice="no_sei")
    assert told(without) == said, "by the container alone"
    message = stereo_metadata("half_sbs").packing.message("libx264")
    assert message in (tmp_path / f"all{suffix}").read_bytes()
    assert message not in without.read_bytes()
    assert told(write(tmp_path / f"off{suffix}", "half_sbs", choice="off")) == (None, None, None)
    if suffix == ".mp4":
        assert read_stereo_boxes(without) == BOXES["half_sbs"]
        assert read_stereo_boxes(tmp_path / f"off{suffix}") == {}


def test_apple_and_google_say_the_same_as_ffmpeg(tmp_path):
    """FFmpeg writes `eyes` and `st3d`, too, from Matroska's tag, where a build is new enough."""
    source = write(tmp_path / "film.mkv", "full_tb", choice="no_sei")
    copied = tmp_path / "copied.mp4"
    with av.open(str(source)) as read, av.open(str(copied), "w", options={"strict": "unofficial"}) as written:
        stream = written.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(video=0):
            if packet.size:
                packet.stream = stream
                written.mux(packet)
    theirs, ours = film_boxes(copied), film_boxes(write(tmp_path / "film.mp4", "full_tb"))
    assert theirs.get(b"st3d", ours[b"st3d"]) == ours[b"st3d"]
    assert ours[b"vexu"].startswith(theirs.get(b"vexu", b"")), "and pack after it"


def test_a_film_joined_of_parts_says_it_again(tmp_path):
    parts = [write(tmp_path / f"part{index}.mp4", "cross_eyed") for index in range(2)]
    joined = tmp_path / "joined.mp4"
    with av.open(str(joined), "w") as written:
        stream = None
        for index, part in enumerate(parts):
            with av.open(str(part)) as read:
                stream = stream or written.add_stream_from_template(read.streams.video[0])
                for packet in read.demux(video=0):
                    if packet.size:
                        shift = round(index * 3 / 25 / packet.time_base)
                        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                        packet.stream = stream
                        written.mux(packet)
    add_stereo_boxes(joined, stereo_metadata("cross_eyed"))
    assert read_stereo_boxes(joined) == BOXES["cross_eyed"]
    assert told(joined)[1] == (SIDE, INVERTED)
    message = stereo_metadata("cross_eyed").packing.message("libx264")
    assert joined.read_bytes().count(message) == 2, "in the packets of each part"
    assert len(list(read_frames(joined))) == 6


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("choice", ["auto", "no_sei"])
@pytest.mark.parametrize("format", BOXES)
def test_such_a_film_is_known_as_input(tmp_path, format, choice, suffix):
    aspect = {"half_sbs": Fraction(2), "half_tb": Fraction(1, 2)}.get(format)
    info = probe(write(tmp_path / f"film{suffix}", format, choice=choice, aspect=aspect))
    assert stated_format(info.stereo, aspect=info.sample_aspect_ratio) == format
    assert info.sample_aspect_ratio == (aspect or 1)


@pytest.mark.parametrize(
    "format", ["row_interlaced", "column_interlaced", "checkerboard", "frame_sequential"]
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pictures_of_two_views_dot_by_dot_are_known_too(tmp_path, format, suffix):
    info = probe(write(tmp_path / f"film{suffix}", format))
    assert stated_format(info.stereo, aspect=info.sample_aspect_ratio) == format
    assert info.sample_aspect_ratio == 1


def test_an_unknown_choice_is_refused():
    with pytest.raises(InputError, match="stereo_metadata must be one of auto, no_sei, off, got 'sei'"):
        stereo_metadata("full_sbs", choice="sei")
    assert STEREO_METADATA.default == "auto"
