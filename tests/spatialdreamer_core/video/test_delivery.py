"""Every format in every kind of file: a test card is packed, written, and read back with all that it says."""

from __future__ import annotations

import struct

import av
import numpy as np
import pytest
import torch

from spatialdreamer_core.stereo import FORMATS, pack
from spatialdreamer_core.video import probe, read_frames, to_8_bit, write_clip
from spatialdreamer_core.video.stereo_metadata import read_stereo_boxes, stereo_metadata

SHIFT = 12  # px of disparity
PAIRS = 3


def views(width=96, height=64):
    """Draw both eyes' views: the left red, the right blue, a white square 12 px apart in them."""
    left, right = (torch.zeros(PAIRS, 3, height, width) for _ in range(2))
    left[:, 0], right[:, 2] = 0.8, 0.8
    top, start = height // 4, width // 2
    left[..., top : 3 * top, start : start + 16] = 1
    right[..., top : 3 * top, start - SHIFT : start - SHIFT + 16] = 1
    return left, right


def told(path):
    """Return StereoMode, the layout in the first frame's side data, and what the boxes say."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        tags = {key.lower(): value for key, value in (stream.metadata | container.metadata).items()}
        packing = next(container.decode(stream)).side_data.get("STEREO3D")
    layout = None if packing is None else struct.unpack_from("2i", bytes(packing))
    return tags, layout, read_stereo_boxes(path) if path.suffix in (".mp4", ".mov") else {}


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize("format", [name for name in FORMATS if name != "wiggle"])
def test_what_is_packed_comes_back_with_what_it_means(tmp_path, format, suffix):
    left, right = views()
    depth = torch.linspace(0, 1, 96).expand(PAIRS, 1, 64, 96)
    packed = pack(left, right, format=format, depth=depth if format == "rgbd" else None)
    path = tmp_path / f"film{suffix}"
    write_clip(packed, path, frame_rate=25, format=format, crf=8, preset="ultrafast")
    info = probe(path)
    assert (info.height, info.width) == packed.shape[-2:]
    frames = [to_8_bit(frame.image, info.color) for frame in read_frames(path)]
    assert len(frames) == len(packed) == (2 * PAIRS if format == "frame_sequential" else PAIRS)
    for frame, given in zip(frames, packed, strict=True):
        error = frame / 255 - given.permute(1, 2, 0).numpy()
        if suffix == ".webm" and format in ("row_interlaced", "column_interlaced", "checkerboard"):
            error = error.mean((0, 1))  # AV1 has one colour for 2x2 pixels here, which mixes the two eyes
        assert np.sqrt(np.mean(error**2)) < 0.06, "the picture is the packed one"
    said = stereo_metadata(format)
    tags, layout, boxes = told(path)
    expected = said.stream_tags({".mkv": "matroska", ".webm": "webm"}.get(suffix, "mp4")) if said else {}
    assert tags.get("stereo_mode") == expected.get("stereo_mode")
    assert (boxes != {}) == (suffix in (".mp4", ".mov") and said is not None and bool(said.boxes))
    in_stream = suffix != ".webm" and said is not None and said.packing is not None
    assert (layout is not None) == bool(in_stream or boxes or (expected and format != "anaglyph"))
    if suffix in (".mkv", ".webm"):
        assert tags["spatialdreamer_stereo"].startswith(f"{format} ")
    known = suffix in (".mkv", ".webm") or bool(in_stream or boxes)
    assert (info.stereo is not None) == known, "as input it is refused, or taken apart"
