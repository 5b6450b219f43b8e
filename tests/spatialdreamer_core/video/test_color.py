from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from spatialdreamer_core.pipeline import ConvertConfig, convert
from spatialdreamer_core.video import ColorInfo, VideoWriter, probe, read_frames, to_8_bit
from spatialdreamer_core.video.color import ColorConverter

PATCH = 16
COLORS = np.random.default_rng(0).integers(20, 236, (4, 6, 3)).astype(np.uint8)
COLORS[0, :5] = (255, 255, 255), (0, 0, 0), (200, 30, 30), (30, 200, 30), (30, 30, 200)
LUMA_WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}


def patches(colors):
    return np.repeat(np.repeat(colors, PATCH, 0), PATCH, 1)


def reference_yuv(colors, *, matrix, full_range):
    """Apply the definition of Y'CbCr to RGB colours."""
    red, green, blue = np.moveaxis(colors / 255.0, -1, 0)
    weight_red, weight_blue = LUMA_WEIGHTS[matrix]
    luma = weight_red * red + (1 - weight_red - weight_blue) * green + weight_blue * blue
    chroma = (blue - luma) / (2 - 2 * weight_blue), (red - luma) / (2 - 2 * weight_red)
    if full_range:
        return [255 * luma, *(128 + 255 * c for c in chroma)]
    return [16 + 219 * luma, *(128 + 224 * c for c in chroma)]


def exact_frame(pixel_format, *, matrix, full_range):
    """Build a frame of colour patches from the definition, past any converter."""
    frame = av.VideoFrame(COLORS.shape[1] * PATCH, COLORS.shape[0] * PATCH, pixel_format)
    deep = "10" in pixel_format
    for plane, values in zip(
        frame.planes, reference_yuv(COLORS, matrix=matrix, full_range=full_range), strict=True
    ):
        values = np.clip(np.rint(values * (4 if deep else 1)), 0, 1023 if deep else 255)
        repeats = plane.height // values.shape[0]
        block = np.repeat(np.repeat(values, repeats, 0), repeats, 1).astype(np.uint16 if deep else np.uint8)
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        rows[:, : block.shape[1] * block.itemsize] = np.ascontiguousarray(block).view(np.uint8)
        plane.update(rows.tobytes())
    return frame


def assert_colors(image, *, tolerance):
    middle = image[PATCH // 2 :: PATCH, PATCH // 2 :: PATCH].astype(int)
    assert np.abs(middle - COLORS).max() <= tolerance


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 5, 9])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuv420p10le"])
def test_rgb_is_right_for_each_matrix_and_range(make_video, pixel_format, matrix, full_range):
    path = make_video(
        "clip.mkv",
        frames=1,
        size=(COLORS.shape[1] * PATCH, COLORS.shape[0] * PATCH),
        codec="ffv1",
        pixel_format=pixel_format,
        matrix=matrix,
        color_range=2 if full_range else 1,
        picture=lambda index: exact_frame(pixel_format, matrix=matrix, full_range=full_range),
    )
    info = probe(path)
    assert (info.color.matrix, info.color.full_range) == (matrix, full_range)
    frame = next(read_frames(path))
    assert_colors(to_8_bit(frame.image, frame.color), tolerance=3)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_writing_and_reading_keeps_colors_and_tags(tmp_path, codec, matrix, full_range):
    color = ColorInfo(matrix=matrix, full_range=full_range, primaries=1, transfer=1)
    image = patches(COLORS)
    path = tmp_path / "out.mp4"
    height, width = image.shape[:2]
    clock = {"frame_rate": Fraction(25), "time_base": Fraction(1, 25)}
    with VideoWriter(path, width=width, height=height, color=color, crf=4, codec=codec, **clock) as writer:
        writer.write(image, 0)
    assert probe(path).color == color
    assert_colors(next(read_frames(path)).image, tolerance=3)


@pytest.mark.parametrize("size", [(96, 64), (1280, 720)])
def test_an_untagged_source_keeps_its_colors_and_the_output_is_tagged(make_video, tmp_path, size):
    width, height = size

    def picture(index):
        image = np.zeros((height, width, 3), np.uint8)
        image[:64, :96] = patches(COLORS)
        return av.VideoFrame.from_ndarray(image, format="rgb24")

    source = make_video(frames=1, size=size, options={"crf": "4"}, picture=picture)
    info = probe(source)
    before = next(read_frames(source))
    doubled = np.concatenate([before.image, before.image], axis=1)  # would be guessed HD by its own width
    out = tmp_path / "out.mp4"
    with VideoWriter(out, width=2 * width, height=height, source=info, crf=4) as writer:
        writer.write(doubled, before.pts)
    assert probe(out).color.matrix == info.color.matrix
    with av.open(str(out)) as container:
        assert container.streams.video[0].codec_context.colorspace == info.color.matrix
    after = next(read_frames(out)).image.astype(int)
    middle = np.abs(after - doubled)[:64, :96][PATCH // 2 :: PATCH, PATCH // 2 :: PATCH]
    assert middle.max() <= 3


def test_rgb_sources_need_no_matrix(make_video):
    path = make_video(
        "clip.mkv",
        frames=1,
        codec="ffv1",
        pixel_format="bgr0",
        picture=lambda index: av.VideoFrame.from_ndarray(patches(COLORS), format="rgb24"),
    )
    np.testing.assert_array_equal(next(read_frames(path)).image, patches(COLORS))


GREY_SOURCES = {  # suffix, codec, pixel format, tag of the range, options
    "MJPEG": ("avi", "mjpeg", "yuvj420p", 2, {"qmin": "1", "qmax": "1"}),
    "MJPEG 4:4:4": ("mov", "mjpeg", "yuvj444p", 2, {"qmin": "1", "qmax": "1"}),
    "H.264, full": ("mp4", "libx264", "yuv420p", 2, {"crf": "1"}),
    "H.264, yuvj": ("mp4", "libx264", "yuvj420p", 2, {"crf": "1"}),
    "H.264, limited": ("mp4", "libx264", "yuv420p", 1, {"crf": "1"}),
    "H.264, untagged": ("mp4", "libx264", "yuv420p", 0, {"crf": "1"}),
    "H.264, RGB": ("mkv", "libx264rgb", "rgb24", 0, {"crf": "0"}),
    "H.264, grey, full": ("mkv", "libx264", "gray", 2, {"crf": "1"}),
    "H.264, grey, limited": ("mkv", "libx264", "gray", 1, {"crf": "1"}),
    "H.264, 4:2:2, full": ("mkv", "libx264", "yuv422p", 2, {"crf": "1"}),
    "H.265, full": ("mp4", "libx265", "yuv420p", 2, {"crf": "1", "x265-params": "log-level=error"}),
    "VP9, 4:4:4": ("webm", "libvpx-vp9", "yuv444p", 2, {"crf": "1"}),
    "FFV1, alpha, full": ("mkv", "ffv1", "yuva420p", 2, {}),
    "Ut Video, GBR": ("avi", "utvideo", "gbrp", 2, {}),
    "FFV1, BGR0": ("mkv", "ffv1", "bgr0", 0, {}),
    "FFV1, grey": ("mkv", "ffv1", "gray", 0, {}),
    "PNG": ("mov", "png", "rgb24", 0, {}),
    "PNG, alpha": ("mov", "png", "rgba", 0, {}),
    "PNG, grey": ("mov", "png", "gray", 0, {}),
    "PNG, grey and alpha": ("mov", "png", "ya8", 0, {}),
    "QuickTime Animation": ("mov", "qtrle", "argb", 0, {}),
}


@pytest.mark.parametrize("matrix", [9, None])
@pytest.mark.parametrize("name", GREY_SOURCES)
def test_neutral_grey_stays_neutral_in_both_views(make_video, tmp_path, name, matrix):
    suffix, codec, pixel_format, color_range, options = GREY_SOURCES[name]
    size = (254, 63) if suffix == "mkv" else (256, 64)  # odd, too
    grey = np.linspace(0, 255, size[0]).round().astype(np.uint8)
    image = np.repeat(np.tile(grey, (size[1], 1))[..., None], 3, 2)

    def picture(index):
        frame = av.VideoFrame(*size, pixel_format)
        if frame.format.is_rgb:
            return av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pixel_format)
        limited = color_range == 1 or (codec == "libx264" and color_range == 0)
        luma = np.rint(16 + grey * (219 / 255)) if limited else grey
        for plane_index, plane in enumerate(frame.planes):
            rows = np.full((plane.height, plane.line_size), 128, np.uint8)
            if pixel_format == "ya8":
                rows[:, : 2 * size[0]] = np.stack([luma, np.full_like(luma, 255)], -1).ravel()
            elif plane_index == 0:
                rows[:, : size[0]] = luma
            elif plane_index == 3:
                rows[:] = 255
            plane.update(rows.tobytes())
        return frame

    path = make_video(
        f"clip.{suffix}",
        frames=3,
        size=size,
        codec=codec,
        pixel_format=pixel_format,
        color_range=color_range,
        matrix=None if codec in ("mjpeg", "libx264rgb") else matrix,
        options=options,
        picture=picture,
    )
    read = next(read_frames(path)).image.astype(int)
    assert np.ptp(read, axis=2).max() == 0
    assert np.abs(read - image).max() <= 4
    out = tmp_path / "out.mkv"
    convert(path, out, ConvertConfig(crf=1))
    written = next(read_frames(out)).image.astype(int)
    assert np.ptp(written, axis=2).max() <= 1
    assert np.abs(written[: size[1], : size[0]] - image).max() <= 5


def test_frames_with_metadata_that_pyav_does_not_know_are_read(tmp_path):
    """PyAV 18 raises ValueError for the side data of a JPEG picture with EXIF."""
    photo = Image.new("RGB", (64, 32), (100, 100, 100))
    exif = photo.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    content, path = io.BytesIO(), tmp_path / "clip.mov"
    photo.save(content, "JPEG", exif=exif)
    content.seek(0)
    with av.open(content, format="jpeg_pipe") as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    info, image = probe(path), next(read_frames(path)).image
    assert image.shape == (info.height, info.width, 3)
    assert (info.width, info.height) == ((32, 64) if info.rotation else (64, 32))
    assert np.abs(image.astype(int) - 100).max() <= 1


@pytest.mark.parametrize("width", [98, 854])
def test_films_of_10_bits_are_the_same_at_each_reading_and_writing(width):
    """With several threads libswscale spoils rows where the width is no multiple of 8."""
    color = ColorInfo(1, bits=10)
    ramp = np.linspace(*color.swing, width)[None, :, None] * np.linspace(1, 0.2, 66)[:, None, None]
    image = np.clip(ramp * [1, 0.9, 0.8], *color.swing).astype(np.uint16)
    converter = ColorConverter(color)
    frame = converter.to_yuv(image, pixel_format="yuv420p10le")
    first = converter.to_rgb(frame, width=width, height=66)
    for _ in range(30):
        again = ColorConverter(color)
        np.testing.assert_array_equal(again.to_rgb(frame, width=width, height=66), first)
        written = again.to_yuv(image, pixel_format="yuv420p10le")
        np.testing.assert_array_equal(converter.to_rgb(written, width=width, height=66), first)
