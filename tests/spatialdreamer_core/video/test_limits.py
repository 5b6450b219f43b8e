"""Pictures of absurd sizes are refused by their headers, quickly and in little memory."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from fractions import Fraction
from pathlib import Path

import av
import pytest
from PIL import Image

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.video import probe, read_frames
from spatialdreamer_core.video.limits import check_frame_size, check_photo_size, require_film_memory

EIGHT_K = (7680, 4320)


def png(width, height):
    """Make a PNG file that announces a size; its pixels are those of 64x64."""
    file = io.BytesIO()
    Image.new("1", (64, 64)).save(file, "PNG")
    content = file.getvalue()
    header = content[12:16] + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


def film(path, sizes):
    """Write a film of PNG pictures; its header states the first one's size."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = *sizes[0], "monob"
        for i, size in enumerate(sizes):
            packet = av.Packet(png(*size))
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, i, i, Fraction(1, 25)
            packet.is_keyframe = True
            container.mux(packet)
    return path


def test_a_film_larger_than_8k_is_refused_by_its_header(tmp_path):
    check_frame_size(*EIGHT_K, tmp_path)
    path = film(tmp_path / "a.mov", [(8192, 8192)])
    message = r"at most 36 megapixels \(8K\), got 8192x8192 \(67 megapixels\) in .*a.mov; make it smaller"
    with pytest.raises(InputError, match=message):
        probe(path)
    with pytest.raises(InputError, match=message):
        next(read_frames(path))


def test_a_frame_that_grows_too_large_is_not_decoded(tmp_path):
    path = film(tmp_path / "a.mov", [(64, 64), (64, 64), (9000, 9000), (64, 64)])
    with pytest.raises(InputError, match=r"breaks off at 0\.08 s"):
        list(read_frames(path))


def test_a_mere_line_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"at most 100 times the shorter one, got 3000x2 in .*; crop it"):
        check_frame_size(3000, 2, tmp_path)
    with pytest.raises(InputError, match=r"must have pixels, got 0x2"):
        check_photo_size(0, 2, tmp_path)


def test_memory_is_asked_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("spatialdreamer_core.memory.free_memory", lambda device: 2**28)
    with pytest.raises(InputError, match=r"\(3840x2160\) needs about .* GB of memory, got 0\.2 GB free"):
        require_film_memory(3840, 2160, tmp_path)
    with pytest.raises(InputError, match=r"\(8000x6000\) needs about"):
        check_photo_size(8000, 6000, tmp_path)
    check_photo_size(800, 600, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.png", "a.mov"])
def test_a_refusal_takes_little_memory(tmp_path, name):
    if name == "a.png":
        (tmp_path / name).write_bytes(png(30_000, 30_000))
    else:
        film(tmp_path / name, [(8192, 8192)])
    resource = pytest.importorskip("resource")
    arguments = ("convert", str(tmp_path / name), "-o", str(tmp_path / "out"))
    command = (sys.executable, "-m", "spatialdreamer_core.cli", *arguments)
    root = Path(__file__).parents[3]
    process = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert process.returncode == 2, process.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 1.5e6  # kB, of all children so far
