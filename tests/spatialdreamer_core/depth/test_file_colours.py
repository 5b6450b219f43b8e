"""Depth in colours is refused, in videos, pictures and EXR; lossy grey and watermarks pass."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import DepthFile, load_depth

from .depth_writers import ramp, write_video

SIZE = (96, 64)
COLOUR_MAPS = (
    "TURBO",
    "INFERNO",
    "VIRIDIS",
    "JET",
    "MAGMA",
    "PLASMA",
    "CIVIDIS",
    "HOT",
    "TWILIGHT",
    "RAINBOW",
)
SPECTRAL = np.array(
    [
        [158, 1, 66],
        [244, 109, 67],
        [254, 224, 139],
        [255, 255, 191],
        [230, 245, 152],
        [102, 194, 165],
        [94, 79, 162],
    ]
)


def scene(index=0):
    """A slope with a near disc, in 8 bits."""
    width, height = SIZE
    rows, columns = np.mgrid[:height, :width]
    depth = rows / height * 0.5
    depth[(rows - 32) ** 2 + (columns - 30 - 2 * index) ** 2 < 300] = 0.9
    return np.rint(depth * 255).astype(np.uint8)


def coloured(name, index=0):
    """The same in a colour map, RGB."""
    if name == "SPECTRAL":
        places = np.linspace(0, 255, len(SPECTRAL))
        channels = [np.interp(scene(index), places, SPECTRAL[:, channel]) for channel in range(3)]
        return np.rint(np.stack(channels, -1)).astype(np.uint8)
    return cv2.applyColorMap(scene(index), getattr(cv2, f"COLORMAP_{name}"))[..., ::-1].copy()


def normal_map():
    slopes = np.gradient(cv2.GaussianBlur(scene().astype(float) / 255, (9, 9), 0) * 10)
    normals = np.stack([-slopes[1], -slopes[0], np.ones(scene().shape)], -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.rint((normals * 0.5 + 0.5) * 255).astype(np.uint8)


def packed():
    """16 bits in red and green."""
    values = np.rint(np.outer(np.linspace(0, 1, SIZE[1]), np.linspace(0.2, 1, SIZE[0])) * 65535).astype(
        np.uint16
    )
    return np.stack([values >> 8, values & 255, 0 * values], -1).astype(np.uint8)


def as_video(path, pictures, *, codec="libx264", format="yuv420p", **options):
    frames = [
        av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=format) for picture in pictures
    ]
    return write_video(path, frames, codec=codec, pixel_format=format, options=options)


def grey(index=0):
    return np.repeat(scene(index)[..., None], 3, 2)


def read_all(path):
    return torch.stack(list(DepthFile(path, kind="normalised").frames()))


@pytest.mark.parametrize("name", [*COLOUR_MAPS, "SPECTRAL"])
def test_colour_maps_in_video(tmp_path, name):
    path = as_video(tmp_path / "d.mp4", [coloured(name, index) for index in range(2)], crf="30")
    with pytest.raises(
        InputError, match=r"must be grey, got colours in \d+% of frame 0 of .*d\.mp4; colour maps"
    ):
        load_depth(path)


@pytest.mark.parametrize(
    ("codec", "format"),
    [
        ("ffv1", "bgr0"),
        ("ffv1", "yuv444p10le"),
        ("mjpeg", "yuvj422p"),
        ("ffv1", "gbrp12le"),
        ("mpeg4", "yuv420p"),
    ],
)
def test_colour_maps_in_other_pixel_formats(tmp_path, codec, format):
    path = as_video(tmp_path / "d.mkv", [coloured("INFERNO")], codec=codec, format=format)
    with pytest.raises(InputError, match="must be grey"):
        load_depth(path)


def test_a_colour_map_that_begins_later(tmp_path):
    path = as_video(tmp_path / "d.mp4", [grey(), grey(), coloured("TURBO")])
    with pytest.raises(InputError, match="of frame 2 of"):
        load_depth(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif"])
@pytest.mark.parametrize(
    "make", [lambda: coloured("VIRIDIS"), lambda: coloured("SPECTRAL"), normal_map, packed]
)
def test_coloured_pictures(tmp_path, suffix, make):
    cv2.imwrite(str(tmp_path / f"d{suffix}"), make()[..., ::-1])
    with pytest.raises(InputError, match=r"must be grey, got colours in \d+% of .*d\.\w+; colour maps"):
        load_depth(tmp_path / f"d{suffix}")


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_coloured_pictures_of_more_bits(tmp_path, dtype):
    picture = coloured("TURBO")[..., ::-1].astype(dtype)
    cv2.imwrite(str(tmp_path / "d.tif"), picture * 257 if dtype == "uint16" else picture / 40)
    with pytest.raises(InputError, match="must be grey"):
        load_depth(tmp_path / "d.tif")


@pytest.mark.parametrize(
    ("codec", "format", "options"),
    [
        ("libx264", "yuv420p", {"crf": "42"}),
        ("libx264", "yuv444p", {"crf": "35"}),
        ("libx265", "yuv420p10le", {"crf": "40", "x265-params": "log-level=none"}),
        ("libvpx-vp9", "yuv420p", {"crf": "50", "b": "0", "deadline": "realtime"}),
        ("mjpeg", "yuvj420p", {"qmin": "20", "qmax": "31"}),
        ("mpeg4", "yuv420p", {"qmin": "20", "qmax": "31"}),
    ],
)
def test_lossy_grey_video(tmp_path, codec, format, options):
    path = as_video(
        tmp_path / "d.mkv", [grey(index) for index in range(2)], codec=codec, format=format, **options
    )
    depth = read_all(path)
    assert float((depth[0, 0] - torch.from_numpy(scene() / 255)).abs().mean()) < 0.03


@pytest.mark.parametrize("quality", [5, 50, 95])
@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_grey_pictures(tmp_path, suffix, quality):
    kind = cv2.IMWRITE_JPEG_QUALITY if suffix == ".jpg" else cv2.IMWRITE_WEBP_QUALITY
    noise = np.random.default_rng(0).integers(-2, 3, grey().shape)  # of an earlier codec
    picture = (grey().astype(int) + noise).clip(0, 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / f"d{suffix}"), picture, [kind, quality])
    assert read_all(tmp_path / f"d{suffix}").shape == (1, 1, 64, 96)


def test_a_coloured_watermark_passes(tmp_path):
    pictures = [grey(index) for index in range(2)]
    for picture in pictures:
        picture[50:60, 70:90] = (250, 80, 0)
    assert len(load_depth(as_video(tmp_path / "d.mp4", pictures))) == 2
    cv2.imwrite(str(tmp_path / "d.png"), pictures[0])
    assert len(load_depth(tmp_path / "d.png")) == 1


def test_grey_in_a_palette(tmp_path):
    from PIL import Image

    Image.fromarray(ramp_8_bit()).convert("P").save(tmp_path / "d.png")
    assert torch.equal(read_all(tmp_path / "d.png")[0, 0], torch.from_numpy(ramp_8_bit() / np.float32(255)))


def ramp_8_bit():
    return np.rint(ramp()[0] * 255).astype(np.uint8)


def test_of_several_videos_the_default_one_is_the_depth(tmp_path):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = []
        for size in ((48, 32), SIZE):
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = *size, "gray"
            streams.append(stream)
        streams[0].disposition, streams[1].disposition = 0, av.stream.Disposition.default
        for stream, values in zip(streams, (np.zeros((32, 48), np.uint8), scene()), strict=True):
            frame = av.VideoFrame.from_ndarray(values, format="gray")
            frame.pts, frame.time_base = 0, Fraction(1, 25)
            container.mux([*stream.encode(frame), *stream.encode()])
    assert read_all(path).shape == (1, 1, 64, 96)
