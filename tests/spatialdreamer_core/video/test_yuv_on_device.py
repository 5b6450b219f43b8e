"""RGB to YUV in torch and as a kernel, against libswscale: on the CPU, in Triton's interpreter, on CUDA.

Triton reads TRITON_INTERPRET when it is first imported, so the interpreter runs this file in a process of its
own.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from spatialdreamer_core import kernels
from spatialdreamer_core.checks import InputError
from spatialdreamer_core.video import ColorInfo, VideoWriter, read_frames
from spatialdreamer_core.video.color import ColorConverter
from spatialdreamer_core.video.yuv_on_device import LAYOUTS, frame_from_yuv, rgb_to_yuv

from ..interpreted import not_interpreted, run_interpreted
from ..triton_compile import compile_kernel

CLOCK = {"frame_rate": Fraction(25), "time_base": Fraction(1, 25)}
EIGHT, DEEP = ("yuv420p", "nv12"), ("yuv420p10le", "p010le")
COLORS = [
    *((matrix, full_range, 8) for matrix in (1, 4, 5, 6, 7, 9) for full_range in (False, True)),
    *((matrix, full_range, 10) for matrix in (1, 6, 9) for full_range in (False, True)),
]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def picture(height, width, color, seed=0):
    """Draw a ramp, noise, and the extremes of every channel, of the swing of the colour."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, (height, width, 3))
    values[: height // 2] = np.linspace(0, 255, width).astype(int)[None, :, None]
    corners = np.array([[255 * (k >> c & 1) for c in range(3)] for k in range(8)])
    values[height // 2, : min(8, width)] = corners[: min(8, width)]
    if color.bits == 8:
        return values.astype(np.uint8)
    black, white = color.swing
    return np.rint(black + values * (white - black) / 255).astype(np.uint16)


def by_libswscale(image, color, pixel_format):
    """Return the values of the planes as `ColorConverter` makes them, and the frame."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return values_of(ColorConverter(color).to_yuv(padded, pixel_format=pixel_format))


def values_of(frame):
    layout = LAYOUTS[frame.format.name]
    size = 1 if layout.bits == 8 else 2
    planes = []
    for index, plane in enumerate(frame.planes):
        row = plane.width * size * (2 if layout.interleaved and index else 1)
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, :row]
        planes.append(np.ascontiguousarray(rows).view(np.uint8 if size == 1 else np.uint16).ravel())
    return np.concatenate(planes)


def on_device(image, color, pixel_format, device="cpu"):
    tensor = torch.from_numpy(image).to(device).permute(2, 0, 1)
    return rgb_to_yuv(tensor, color=color, pixel_format=pixel_format).cpu().numpy()


@not_interpreted
def test_in_the_interpreter():
    pytest.importorskip("triton", reason="Triton is not installed")
    run_interpreted(Path(__file__), select="twin")


@not_interpreted
@pytest.mark.parametrize("pixel_format", LAYOUTS)
def test_it_compiles_for_old_and_new_gpus(pixel_format):
    pytest.importorskip("triton", reason="Triton is not installed")
    from spatialdreamer_core.video.yuv_triton import BLOCK, WARPS, _rgb_to_yuv_kernel

    layout = LAYOUTS[pixel_format]
    values = "*u8" if layout.bits == 8 else "*i16"
    types = {"image": values, "yuv": values}
    types |= dict.fromkeys(("plane_stride", "row_stride", "column_stride", "height", "width"), "i32")
    rows = [f"{code}_{factor}" for code in "yuv" for factor in ("red", "green", "blue", "offset")]
    types |= dict.fromkeys(rows, "fp32")
    constants = {"HIGHEST": 2**layout.bits - 1, "SHIFT": layout.shift, "BLOCK": BLOCK}
    constants |= {"DEEP": layout.bits > 8, "INTERLEAVED": layout.interleaved}
    compile_kernel(_rgb_to_yuv_kernel, types, constants, warps=WARPS)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("matrix", "full_range", "bits"), COLORS)
def test_it_is_what_libswscale_gives_within_one_code(matrix, full_range, bits, device):
    color = ColorInfo(matrix, full_range=full_range, bits=bits)
    image = picture(20, 70, color)
    for pixel_format in EIGHT if bits == 8 else DEEP:
        expected = by_libswscale(image, color, pixel_format).astype(int)
        got = on_device(image, color, pixel_format, device)
        assert got.dtype == (np.uint8 if bits == 8 else np.uint16)
        difference = np.abs(got.astype(int) - expected) >> LAYOUTS[pixel_format].shift
        assert difference.max() <= 1
        assert difference.mean() < 0.2, "no bias"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("pixel_format", LAYOUTS)
@pytest.mark.parametrize("size", [(7, 7), (19, 69), (8, 600)])
def test_odd_sizes_are_padded_as_for_libswscale(size, pixel_format, device):
    color = ColorInfo(1, bits=LAYOUTS[pixel_format].bits)
    image = picture(*size, color)
    expected = by_libswscale(image, color, pixel_format).astype(int)
    difference = np.abs(on_device(image, color, pixel_format, device).astype(int) - expected)
    assert (difference >> LAYOUTS[pixel_format].shift).max() <= 1


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("pixel_format", LAYOUTS)
@pytest.mark.parametrize("size", [(7, 69), (1, 1)])
def test_the_kernel_is_its_twin(monkeypatch, size, pixel_format, device):
    color = ColorInfo(9, bits=LAYOUTS[pixel_format].bits)
    image = picture(*size, color)
    if not kernels.kernels_run(torch.device(device)):
        pytest.skip("no kernels here: test_in_the_interpreter runs it")
    got = on_device(image, color, pixel_format, device)
    monkeypatch.setattr("spatialdreamer_core.video.yuv_on_device.use_kernels", lambda *_: False)
    twin = on_device(image, color, pixel_format, device)
    difference = np.abs(got.astype(int) - twin) >> LAYOUTS[pixel_format].shift
    assert difference.max() <= 1, "rounding, where a value lies between two codes"
    assert difference.mean() < 0.001


@pytest.mark.parametrize("pixel_format", LAYOUTS)
def test_a_frame_holds_what_was_made_for_it(pixel_format):
    color = ColorInfo(1, bits=LAYOUTS[pixel_format].bits)
    values = on_device(picture(20, 70, color), color, pixel_format)
    frame = frame_from_yuv(values, pixel_format=pixel_format, width=70, height=20)
    np.testing.assert_array_equal(values_of(frame), values)


@pytest.mark.parametrize("bits", [8, 10])
def test_a_film_of_prepared_planes_is_that_of_the_frames(tmp_path, bits):
    color = ColorInfo(1, bits=bits)
    images = [picture(65, 97, color, seed) for seed in range(3)]
    films = []
    for name in ("frames", "planes"):
        path = tmp_path / f"{name}.mkv"
        with VideoWriter(path, width=97, height=65, color=color, codec="ffv1", **CLOCK) as writer:
            for index, image in enumerate(images):
                planes = on_device(image, writer.color, writer.pixel_format)
                writer.write(image if name == "frames" else writer.prepare(planes), index)
        films.append([frame.image.astype(int) for frame in read_frames(path)])
    step = 1 if bits == 8 else 256
    for one, other in zip(*films, strict=True):
        assert np.abs(one - other).mean() < step
        assert np.abs(one - other).max() <= 4 * step


def test_frames_are_prepared_by_many_threads_at_once(tmp_path):
    images = [picture(64, 96, ColorInfo(1), seed) for seed in range(24)]
    films = []
    for name in ("here", "there"):
        path = tmp_path / f"{name}.mkv"
        writer = VideoWriter(path, width=96, height=64, codec="ffv1", **CLOCK)
        with writer, ThreadPoolExecutor(4) as pool:
            frames = pool.map(writer.prepare, images) if name == "there" else images
            for index, frame in enumerate(frames):
                writer.write(frame, index)
        films.append(np.stack([frame.image for frame in read_frames(path)]))
    np.testing.assert_array_equal(*films)


@pytest.mark.parametrize(
    ("image", "pixel_format"),
    [
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "p010le"),
        (torch.zeros(3, 4, 4, dtype=torch.uint16), "nv12"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "yuv444p"),
        (torch.zeros(4, 4, 3, dtype=torch.uint8), "nv12"),
        (torch.zeros(3, 4, 4), "yuv420p"),
    ],
)
def test_what_has_no_conversion_is_refused(image, pixel_format):
    with pytest.raises(InputError, match=r"`image` must be \[3, H, W\] of uint8 for yuv420p .* got"):
        rgb_to_yuv(image, color=ColorInfo(1), pixel_format=pixel_format)


def test_planes_of_another_film_are_refused(tmp_path):
    with (
        pytest.raises(InputError, match=r"must be the 9216 values of yuv420p at 96x64, .* got uint8 \[24\]"),
        VideoWriter(tmp_path / "out.mkv", width=96, height=64, **CLOCK) as writer,
    ):
        writer.write(np.zeros(24, np.uint8), 0)
    with (
        pytest.raises(InputError, match="`image` must be a frame of 96x64, got 4x4; prepare it with this"),
        VideoWriter(tmp_path / "out.mkv", width=96, height=64, **CLOCK) as writer,
    ):
        writer.write(frame_from_yuv(np.zeros(24, np.uint8), pixel_format="yuv420p", width=4, height=4), 0)
