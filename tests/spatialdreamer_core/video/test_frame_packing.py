"""The message of frame packing: bit for bit x264's own, and read back by FFmpeg from H.264 and HEVC."""

from __future__ import annotations

import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from spatialdreamer_core.video.frame_packing import (
    CHECKERBOARD,
    COLUMNS,
    FRAME_BY_FRAME,
    ROWS,
    SIDE_BY_SIDE,
    TOP_BOTTOM,
    FramePacking,
)

LAYOUTS = {SIDE_BY_SIDE: 1, TOP_BOTTOM: 2, FRAME_BY_FRAME: 3, CHECKERBOARD: 4, ROWS: 6, COLUMNS: 7}
"""AVStereo3DType by arrangement."""


def encode(codec, options=None, *, frames=3):
    """Encode grey frames; gives the packets."""
    context = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt, context.time_base = 128, 64, "yuv420p", Fraction(1, 25)
    context.options = options or {}
    packets = []
    for index in range(frames):
        frame = av.VideoFrame.from_ndarray(np.full((64, 128, 3), 40 * index, np.uint8)).reformat(
            format="yuv420p"
        )
        frame.pts = index
        packets += context.encode(frame)
    return packets + context.encode(None)


def decode(packets, codec):
    """Decode packets; gives layout, flags and view of each frame that FFmpeg tells them for."""
    context = av.CodecContext.create(codec, "r")
    frames = [frame for data in packets for frame in context.decode(av.Packet(data))]
    frames += context.decode(None)
    told = [frame.side_data.get("STEREO3D") for frame in frames]
    return [struct.unpack_from("3i", bytes(data)) for data in told if data is not None]


@pytest.mark.parametrize("arrangement", LAYOUTS)
def test_the_message_is_that_of_x264(arrangement):
    stream = b"".join(map(bytes, encode("libx264", {"x264-params": f"frame-packing={arrangement}"})))
    packing = FramePacking(arrangement)
    assert b"\0\0\1" + packing.message("libx264") in stream
    if arrangement == FRAME_BY_FRAME:
        assert b"\0\0\1" + packing.message("libx264", is_first_view=False) in stream


@pytest.mark.parametrize("left_first", [True, False])
@pytest.mark.parametrize("arrangement", LAYOUTS)
@pytest.mark.parametrize(("encoder", "codec"), [("libx264", "h264"), ("libx265", "hevc")])
def test_ffmpeg_reads_it_back(encoder, codec, arrangement, left_first):
    options = {"x265-params": "log-level=none:bframes=0"} if codec == "hevc" else {"x264-params": "bframes=0"}
    packing = FramePacking(arrangement, left_first=left_first)
    if codec == "hevc" and arrangement in (CHECKERBOARD, COLUMNS, ROWS):
        assert not packing.fits(encoder), "HEVC has no number for it"
        return
    marked = [
        packing.mark(bytes(packet), codec=encoder, is_first_view=index % 2 == 0)
        if packing.belongs(encoder, is_key=packet.is_keyframe)
        else bytes(packet)
        for index, packet in enumerate(encode(encoder, options))
    ]
    told = decode(marked, codec)
    assert {(layout, flags & 1) for layout, flags, _ in told} == {(LAYOUTS[arrangement], not left_first)}
    if arrangement == FRAME_BY_FRAME:
        assert [view for _, _, view in told] == [1, 2, 1], "the first, the second, the first"


@pytest.mark.parametrize("codec", ["libsvtav1", "libvpx-vp9", "prores_ks", "ffv1"])
def test_other_codecs_have_no_message(codec):
    assert not FramePacking(SIDE_BY_SIDE).belongs(codec, is_key=True)


@pytest.mark.parametrize(("nvenc", "software"), [("h264_nvenc", "libx264"), ("hevc_nvenc", "libx265")])
def test_nvenc_gets_the_same_message(nvenc, software):
    packet = b"".join(map(bytes, encode(software)[:1]))
    packing = FramePacking(SIDE_BY_SIDE)
    assert packing.belongs(nvenc, is_key=True)
    assert packing.mark(packet, codec=nvenc) == packing.mark(packet, codec=software) != packet
    assert not FramePacking(SIDE_BY_SIDE).belongs("av1_nvenc", is_key=True)


def test_it_comes_after_all_that_is_not_a_picture():
    packet = (
        b"\0\0\0\1\x09\xf0" + b"\0\0\0\1\x67abc" + b"\0\0\1\x68d" + b"\0\0\1\x65slice" + b"\0\0\1\x65more"
    )
    packing = FramePacking(TOP_BOTTOM)
    marked = packing.mark(packet, codec="libx264")
    place = packet.index(b"\0\0\1\x65")
    assert marked == packet[:place] + b"\0\0\0\1" + packing.message("libx264") + packet[place:]


def test_no_start_code_appears_within_it():
    for codec in ("h264", "hevc"):
        for arrangement in LAYOUTS:
            packing = FramePacking(arrangement)
            if packing.fits(codec):
                message = packing.message(codec)
                assert not any(bytes([0, 0, byte]) in message for byte in range(3)), message.hex()


def test_marking_keeps_the_pictures():
    packets = encode("libx264")
    packing = FramePacking(SIDE_BY_SIDE)
    assert packets[0].is_keyframe
    plain, marked = io.BytesIO(), io.BytesIO()
    for index, packet in enumerate(packets):
        plain.write(bytes(packet))
        marked.write(packing.mark(bytes(packet), codec="h264") if index == 0 else bytes(packet))
    pictures = []
    for stream in (plain, marked):
        stream.seek(0)
        with av.open(stream, format="h264") as container:
            pictures.append([bytes(frame.to_ndarray()) for frame in container.decode(video=0)])
    assert pictures[0] == pictures[1]
