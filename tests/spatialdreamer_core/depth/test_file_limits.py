"""Depth files that lie, are huge or change: an error before memory is taken, and constant memory."""

import io
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import DepthFile, FileDepth, load_depth

from .depth_writers import ramp


def header(shape, dtype="<f4", *, fortran=False, **more):
    """Write the header of an .npy file."""
    fields = {"descr": dtype, "fortran_order": fortran, "shape": shape} | more
    text = repr(fields).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def as_npz(path, data, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("depth.npy", data)
    return path


HEADERS = {
    "huge": header((1, 10**6, 10**6)),
    "many": header((10**12, 4, 4)),
    "negative": header((-3, -4, 5)),
    "one negative": header((3, -4, 5)),
    "zero": header((3, 0, 5)),
    "beyond 64 bits": header((2**70, 2**70)),
    "object": header((3, 4), "|O"),
    "structured": header((3, 4), [("z", "<f4"), ("n", "<f4")]),
    "nested objects": header((3, 4), [("z", "|O")]),
    "sub-array": header((3, 4), ("<f4", (2,))),
    "bool": header((3, 4), "|b1"),
    "complex": header((3, 4), "<c8"),
    "text": header((3, 4), "<U7"),
    "void": header((3, 4), "|V0"),
    "time": header((3, 4), "<M8[s]"),
    "unknown type": header((3, 4), "<q99"),
    "fractions": header((3.5, 4)),
    "text as shape": header("many"),
    "no shape": b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4'}",
    "other keys": header((3, 4), evil=1),
    "nested": b"\x93NUMPY\x01\x00\x00\x20" + b"(" * 8192,
    "code": b"\x93NUMPY\x01\x00\x40\x00" + b"__import__('os').getcwd()".ljust(63) + b"\n",
    "long": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 2000,
    "version": b"\x93NUMPY\x09\x09" + header((3, 4))[8:],
    "version 3": b"\x93NUMPY\x03\x00" + header((3, 4))[8:],
    "only magic": b"\x93NUMPY",
    "nothing": b"",
}


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_lie(tmp_path, name, suffix):
    data = HEADERS[name] + bytes(80)
    path = tmp_path / f"d{suffix}"
    path.write_bytes(data) if suffix == ".npy" else as_npz(path, data)
    with pytest.raises(InputError, match=r"depth must .*d\.np"):
        load_depth(path)


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: data + data]
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_data_of_another_length_than_the_header_states(tmp_path, change, suffix):
    buffer = io.BytesIO()
    np.save(buffer, ramp())
    path = tmp_path / f"d{suffix}"
    data = change(buffer.getvalue())
    path.write_bytes(data) if suffix == ".npy" else as_npz(path, data)
    with pytest.raises(InputError, match=r"whole NumPy file .*it has \d+ bytes, and its header states \d+"):
        load_depth(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_archive_is_found_by_its_checksum(tmp_path, compression):
    buffer = io.BytesIO()
    np.save(buffer, np.random.default_rng(0).random((3, 12, 20), np.float32))
    path = as_npz(tmp_path / "d.npz", buffer.getvalue(), compression)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(InputError, match="whole NumPy file"):
        load_depth(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_that_numpy_does_not_write(tmp_path, compression):
    path = as_npz(tmp_path / "d.npz", header((3, 4)) + bytes(48), compression)
    with pytest.raises(InputError, match="its compression is"):
        load_depth(path)


def test_an_encrypted_archive(tmp_path):
    path = as_npz(tmp_path / "d.npz", header((3, 4)) + bytes(48))
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="encrypted"):
        load_depth(path)


@pytest.mark.parametrize("dtype", [">f4", "<f8", ">u2", "<i4", "<f2"])
def test_other_types_and_byte_orders(tmp_path, dtype):
    values = (ramp() * 100).astype(dtype)
    np.save(tmp_path / "d.npy", values)
    frames = torch.stack(list(DepthFile(tmp_path / "d.npy").frames()))[:, 0]
    assert np.array_equal(frames.numpy(), values.astype(np.float32))


def test_an_array_that_is_cut_while_it_is_read(tmp_path):
    path = tmp_path / "d.npy"
    np.save(path, np.zeros((50, 200, 200), np.float32))
    frames = DepthFile(path).frames()
    next(frames)
    os.truncate(path, 200_000)
    with pytest.raises(InputError, match="it ends early"):
        list(frames)


def test_a_folder_that_shrinks_between_two_passes(tmp_path):
    for index in range(3):
        np.save(tmp_path / f"{index}.npy", ramp()[index])
    file = DepthFile(tmp_path)
    os.remove(tmp_path / "2.npy")
    with pytest.raises(InputError, match=r"whole NumPy file .*2\.npy"):
        list(file.frames())
    stream = FileDepth(DepthFile(tmp_path), skip=1, scenes=None, size=(12, 20))
    stream.step(np.zeros((12, 20, 3), np.uint8))
    with pytest.raises(InputError, match="must stay as it is while it is read"):
        stream.step(np.zeros((12, 20, 3), np.uint8))


def test_more_frames_than_the_video_has_are_not_loaded(tmp_path):
    """Their number is in the header."""
    with (
        zipfile.ZipFile(tmp_path / "d.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("depth.npy", "w", force_zip64=True) as member,
    ):
        member.write(header((400, 50, 50)))
        for _ in range(400):
            member.write(bytes(10**4))
    loaded = []
    with pytest.raises(InputError, match=r"as many frames as the video \(2\), got 400 in"):
        load_depth(tmp_path / "d.npz", frames=torch.zeros(2, 3, 50, 50), on_frame=loaded.append)
    assert loaded == [1, 2]


def test_a_clip_that_does_not_fit_into_memory(tmp_path):
    """A sparse file of 4 TB."""
    path = tmp_path / "d.npy"
    with path.open("wb") as file:
        file.write(header((10**6, 1000, 1000)))
        try:
            file.truncate(file.tell() + 4 * 10**12)
        except OSError:
            pytest.skip("this file system holds no such file")
    with pytest.raises(InputError, match=r"1000000 frames or more of 1000x1000\) needs about .* GB"):
        load_depth(path)


_PEAK = """
import json, resource, sys
from spatialdreamer_core.depth import DepthFile
import spatialdreamer_core.video
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(1 for _ in DepthFile(sys.argv[1]).frames())
print(json.dumps([count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="measures as Linux does")
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_memory_does_not_grow_with_the_length(tmp_path, suffix):
    """500 MB of depth in 500 frames."""
    path = tmp_path / f"d{suffix}"
    if suffix == ".npy":
        with path.open("wb") as file:
            file.write(header((500, 500, 500)))
            file.truncate(file.tell() + 5 * 10**8)
    else:
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("depth.npy", "w", force_zip64=True) as member,
        ):
            member.write(header((500, 500, 500)))
            for _ in range(500):
                member.write(bytes(10**6))
    result = subprocess.run(
        [sys.executable, "-c", _PEAK, str(path)], capture_output=True, text=True, check=True
    )
    count, grown = json.loads(result.stdout)
    assert count == 500
    assert grown < 50e6


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_pictures_that_are_too_large(tmp_path, suffix):
    Image.new("1", (20000, 8000)).save(tmp_path / f"d{suffix}")
    with pytest.raises(InputError, match=r"at most 67 megapixels, got 20000x8000 in .*d\."):
        load_depth(tmp_path / f"d{suffix}")


def test_a_damaged_picture_is_told_of_once(tmp_path, capfd):
    path = tmp_path / "d.tif"
    Image.fromarray(np.zeros((50, 60), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(InputError, match="it is damaged"):
        load_depth(path)
    assert capfd.readouterr().err == ""


def test_a_picture_too_large_for_pillow_to_open(tmp_path):
    path = tmp_path / "d.png"
    Image.new("1", (1, 1)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">2I", 30000, 30000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"at most 67 megapixels, got more in .*save it smaller"):
        load_depth(path)


@pytest.mark.parametrize("suffix", [".tif", ".webp", ".png"])
def test_several_pictures_in_a_file(tmp_path, suffix):
    pages = [Image.fromarray(np.full((8, 9), value, np.uint8)) for value in (9, 90)]
    pages[0].save(tmp_path / f"d{suffix}", save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match=r"must be a single one, got 2 in .*d\."):
        load_depth(tmp_path / f"d{suffix}")


def test_pixels_that_pillow_does_not_know(tmp_path):
    values = np.repeat(ramp()[0][..., None] * 5, 3, 2)
    cv2.imwrite(str(tmp_path / "d.tif"), values)
    (frame,) = DepthFile(tmp_path / "d.tif").frames()
    assert np.allclose(frame[0], values[..., 0])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp", ".bmp"])
@pytest.mark.parametrize("share", [0.2, 0.6])
def test_pictures_that_are_cut(tmp_path, suffix, share):
    noise = np.random.default_rng(0).integers(0, 255, (40, 60), np.uint8)
    cv2.imwrite(str(tmp_path / f"d{suffix}"), noise)
    data = (tmp_path / f"d{suffix}").read_bytes()
    (tmp_path / f"d{suffix}").write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=r"depth must be a picture that can be decoded"):
        load_depth(tmp_path / f"d{suffix}")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders")
@pytest.mark.parametrize("name", ["d.npy", "d.npz", "d.png", "d.exr", "d.mp4"])
def test_a_pipe_is_refused(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="regular file"):
        DepthFile(tmp_path / name)


@pytest.mark.parametrize("value", [3.4e38, -1e38, np.inf])
def test_values_that_mark_pixels_without_depth(tmp_path, value):
    values = ramp().astype(np.float64)
    values[1, 2, 3] = value * 10
    np.save(tmp_path / "d.npy", values)
    with pytest.raises(InputError, match="must be finite, got 1 NaN or infinite values in frame 1"):
        load_depth(tmp_path / "d.npy")
    assert load_depth(tmp_path / "d.npy", kind="metres").isfinite().all()


def save_numbered(folder, names):
    for index, name in enumerate(names):
        np.save(folder / name, np.full((4, 6), index, np.float32))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("f1.npy", "f2.npy", "f4.npy", "f5.npy"), r"no number 3 after f2\.npy"),
        (("0008.npy", "0009.npy", "0011.npy", "0012.npy"), r"no number 10 after 0009\.npy"),
        (("1_depth.npy", "2_depth.npy", "5_depth.npy", "6_depth.npy"), r"no number 3 after 2_depth\.npy"),
        (("f1.npy", "f2.npy", "f4.npy"), r"no number 3 after f2\.npy"),
        (("1.npy", "01.npy", "2.npy"), r"two of the same number after"),
    ],
)
def test_folders_that_lack_a_frame(tmp_path, names, message):
    save_numbered(tmp_path, names)
    with pytest.raises(InputError, match=f"one file for each frame, got {message}"):
        DepthFile(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("f7.npy", "f8.npy", "f9.npy", "f10.npy"),
        ("a.npy", "b.npy", "d.npy"),
        ("t0033.npy", "t0066.npy", "t0101.npy"),  # times
        ("s1_8.npy", "s1_9.npy", "s2_1.npy"),
        ("f2.npy", "f4.npy", "f6.npy"),
        ("1_v2.npy", "2_v2.npy", "3_v2.npy"),
    ],
)
def test_folders_that_lack_none(tmp_path, names):
    save_numbered(tmp_path, names)
    (tmp_path / "._f3.npy").write_bytes(b"of a Mac")
    assert [float(frame.mean()) for frame in DepthFile(tmp_path).frames()] == list(range(len(names)))


def test_a_dead_link_in_a_folder(tmp_path):
    save_numbered(tmp_path, ("1.npy", "3.npy"))
    try:
        (tmp_path / "2.npy").symlink_to(tmp_path / "absent")
    except OSError:
        pytest.skip("links need a right here")
    with pytest.raises(InputError, match=r"whole NumPy file .*2\.npy"):
        load_depth(tmp_path)


def test_two_spellings_are_one_kind(tmp_path):
    for index, name in enumerate(("1.jpg", "2.JPEG", "3.jpeg")):
        Image.fromarray(np.full((8, 8), index * 50, np.uint8)).save(tmp_path / name)
    assert len(list(DepthFile(tmp_path).frames())) == 3
