"""Damaged depth files of every kind: depth in [0, 1] or an error of one line, never another exception."""

import random

import av
import cv2
import numpy as np
import OpenEXR
import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import DEPTH_KINDS, load_depth

from ..spatialdreamer_core.depth.depth_writers import HALF, ramp, write_exr, write_video

ROUNDS = 25  # files of each kind


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory):
    """Write depth files; returns their contents by suffix."""
    folder = tmp_path_factory.mktemp("whole")
    np.save(folder / "a.npy", ramp())
    np.savez(folder / "a.npz", depth=ramp())
    np.savez_compressed(folder / "b.npz", depth=ramp(), other=1)
    write_exr(folder / "a.exr", {"Z": ramp()[0], "R": ramp()[1]})
    write_exr(folder / "b.exr", dict.fromkeys("RGB", ramp()[0]), HALF)
    for name in ("ZIP", "PIZ", "DWAA", "B44", "RLE"):
        header = {"compression": getattr(OpenEXR, f"{name}_COMPRESSION"), "type": OpenEXR.scanlineimage}
        parts = [OpenEXR.Part({**header, "name": part}, {"Z": ramp()[0]}) for part in ("colour", "depth")]
        OpenEXR.File(parts).write(str(folder / f"{name}.exr"))
    grey = np.rint(ramp(1, 40, 60)[0] * 65535).astype(np.uint16)
    for name in ("a.png", "a.tif", "a.jpg", "a.webp", "a.bmp"):
        cv2.imwrite(str(folder / name), grey if name in ("a.png", "a.tif") else (grey >> 8).astype(np.uint8))
    cv2.imwrite(str(folder / "b.tif"), ramp(1, 40, 60)[0])
    pictures = [np.rint(values * 255).astype(np.uint8) for values in ramp(3, 64, 96)]
    for name, codec, pixel_format in (
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mkv", "ffv1", "gray16le"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("a.mov", "prores_ks", "yuv422p10le"),
    ):
        frames = [av.VideoFrame.from_ndarray(picture, format="gray") for picture in pictures]
        frames = [frame.reformat(format=pixel_format) for frame in frames]
        write_video(folder / name, frames, codec=codec, pixel_format=pixel_format)
    contents: dict[str, list[bytes]] = {}
    for path in sorted(folder.iterdir()):
        contents.setdefault(path.suffix, []).append(path.read_bytes())
    return contents


def damage(data: bytes, rng: random.Random) -> bytes:
    """Change, insert or remove some bytes, most of them in the header."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 10))):
        place = rng.randrange(min(len(damaged), rng.choice((64, 300, len(damaged)))) or 1)
        length = rng.choice((1, 2, 4, 8))
        how = rng.randrange(6)
        if how == 0 and damaged:
            damaged[min(place, len(damaged) - 1)] ^= 1 << rng.randrange(8)
        elif how == 1:
            damaged[place : place + length] = rng.choice((b"\xff", b"\0", b"\x7f")) * length
        elif how == 2:
            damaged[place : place + 4] = (2 ** rng.randrange(32) - 1).to_bytes(4, "little")
        elif how == 3:
            del damaged[place : place + rng.randrange(1, 40)]
        elif how == 4:
            damaged[place:place] = rng.randbytes(rng.randrange(1, 40))
        elif rng.random() < 0.3:
            del damaged[place:]
    return bytes(damaged)


def check(path, data, rng):
    path.write_bytes(data)
    try:
        depth = load_depth(path, kind=rng.choice(DEPTH_KINDS))
    except InputError as error:
        message = str(error)
    else:
        message = ""
        assert depth.isfinite().all()
        assert float(depth.min()) >= 0
        assert float(depth.max()) <= 1
    assert "\n" not in message


SUFFIXES = (".npy", ".npz", ".exr", ".png", ".tif", ".jpg", ".webp", ".bmp", ".mp4", ".mkv", ".avi", ".mov")


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4))])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_depth_files(whole_files, tmp_path, suffix, seed):
    rng = random.Random(f"{suffix} {seed}")
    for _ in range(ROUNDS):
        check(tmp_path / f"damaged{suffix}", damage(rng.choice(whole_files[suffix]), rng), rng)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_depth_files_under_another_suffix(whole_files, tmp_path, suffix):
    for others in whole_files.values():
        check(tmp_path / f"other{suffix}", others[0], random.Random(0))
