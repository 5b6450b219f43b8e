"""Sources with more than 8 bits a component, and the metadata of HDR."""

from __future__ import annotations

import logging
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.pipeline import ConvertConfig, convert
from spatialdreamer_core.pipeline.bits import pack_bits
from spatialdreamer_core.pipeline.preview import to_image
from spatialdreamer_core.pipeline.stages import to_tensor
from spatialdreamer_core.stereo import FORMATS, StereoLayout
from spatialdreamer_core.video import ColorInfo, VideoWriter, probe, read_frames, read_photo, to_8_bit
from spatialdreamer_core.video.color import ColorConverter
from spatialdreamer_core.video.encoders import choose_pixel_format
from spatialdreamer_core.video.hdr import HdrMetadata

HDR10 = HdrMetadata((34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450), (10_000_000, 1), (1000, 400))
LOSSLESS = "lossless=1:log-level=error:"
X265_HDR10 = LOSSLESS + HDR10.encoder_options("libx265")["x265-params"]
SIZE = (1024, 32)
LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}


def ramp_frame(pixel_format, *, size=SIZE):
    """Draw each code of 10 bits once a row, in all of a deeper format's range; chroma is neutral."""
    width, height = size
    bits = av.VideoFormat(pixel_format).components[0].bits
    values = (np.arange(width) * ((1 << bits) - 1) / (width - 1)).round().astype(np.uint16)
    if pixel_format.startswith("rgb48"):
        return av.VideoFrame.from_ndarray(
            np.repeat(np.tile(values, (height, 1))[..., None], 3, 2), pixel_format
        )
    frame = av.VideoFrame(width, height, pixel_format)
    all_alike = frame.format.is_rgb
    for index, plane in enumerate(frame.planes):
        rows = np.zeros((plane.height, plane.line_size // 2), np.uint16)
        rows[:, : plane.width] = values[: plane.width] if index == 0 or all_alike else 1 << (bits - 1)
        plane.update(rows.tobytes())
    return frame


def write_clip(path, *, frame, codec, options=None, frames=3, tags=(9, 9, 16), color_range=1):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = frame.width, frame.height, frame.format.name
        context.colorspace, context.color_primaries, context.color_trc = tags
        context.color_range = color_range
        for index in range(frames):
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def ramp_clips(tmp_path_factory):
    """HDR10 clips of all 1,024 codes, by whether their range is full."""
    folder = tmp_path_factory.mktemp("ramps")
    options = {"preset": "ultrafast", "x265-params": X265_HDR10}
    return {
        full: write_clip(
            folder / f"{full}.mp4",
            frame=ramp_frame("yuv420p10le"),
            codec="libx265",
            options=options,
            color_range=2 if full else 1,
        )
        for full in (False, True)
    }


def luma(path):
    """Return the first frame's luma and pixel format."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        kind = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
        rows = np.frombuffer(bytes(frame.planes[0]), kind).reshape(frame.height, -1)
        return rows[:, : frame.width], frame.format.name


@pytest.mark.parametrize("full_range", [False, True])
def test_a_film_of_10_bits_keeps_its_levels_tags_and_metadata(ramp_clips, tmp_path, full_range):
    out = tmp_path / "out.mp4"
    convert(ramp_clips[full_range], out, ConvertConfig(crf=1))
    codes, pixel_format = luma(out)
    assert pixel_format == "yuv420p10le"
    for half in np.split(codes, 2, axis=1):
        assert len(np.unique(half)) >= 1000
    assert np.abs(codes[:, : SIZE[0]].astype(int) - np.arange(1024)).max() <= 3  # the source's own view
    info = probe(out)
    assert info.codec == "hevc"
    assert info.color == ColorInfo(9, full_range, primaries=9, transfer=16, bits=10, hdr=HDR10)


def test_h264_asked_for_keeps_10_bits_and_metadata(ramp_clips, tmp_path):
    out = tmp_path / "out.mkv"
    convert(ramp_clips[False], out, ConvertConfig(codec="libx264", crf=4))
    codes, pixel_format = luma(out)
    assert pixel_format == "yuv420p10le"
    assert len(np.unique(codes[:, : SIZE[0]])) >= 900
    assert probe(out).color == ColorInfo(9, primaries=9, transfer=16, bits=10, hdr=HDR10)


@pytest.mark.parametrize("suffix", [".webm", ".mkv", ".mp4"])
def test_av1_keeps_10_bits_and_metadata(ramp_clips, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    convert(ramp_clips[False], out, ConvertConfig(codec="av1", crf=4, preset="ultrafast"))
    codes, pixel_format = luma(out)
    assert pixel_format == "yuv420p10le"
    assert len(np.unique(codes[:, : SIZE[0]])) >= 900
    color = probe(out).color
    assert (color.matrix, color.primaries, color.transfer, color.bits) == (9, 9, 16, 10)
    assert color.hdr.light_level == HDR10.light_level
    assert color.hdr.primaries == pytest.approx(HDR10.primaries, abs=1)  # AV1 counts in 65,536ths
    assert color.hdr.luminance == pytest.approx(HDR10.luminance, rel=1e-3, abs=1)


def test_an_encoder_without_10_bits_gets_8_with_one_line(caplog):
    assert choose_pixel_format("mpeg4", 12) == "yuv420p"
    assert caplog.messages == ["mpeg4 takes 8 bits a component only; the source's 12 are reduced"]
    assert choose_pixel_format("libx264", 8) == "yuv420p"


@pytest.mark.parametrize("tags", [(9, 9, 18), (1, 1, 1), (5, 5, 6)], ids=["HLG", "SDR of 709", "SDR of 601"])
def test_other_tags_come_through(tmp_path, tags):
    clip = write_clip(
        tmp_path / "clip.mkv", frame=ramp_frame("yuv420p10le", size=(64, 32)), codec="ffv1", tags=tags
    )
    out = tmp_path / "out.mp4"
    convert(clip, out)
    matrix, primaries, transfer = tags
    assert probe(out).color == ColorInfo(matrix, primaries=primaries, transfer=transfer, bits=10)


@pytest.mark.parametrize(
    ("pixel_format", "codec", "suffix"),
    [
        ("yuv422p10le", "ffv1", "mkv"),
        ("yuv444p10le", "ffv1", "mkv"),
        ("yuv420p12le", "ffv1", "mkv"),
        ("yuv444p16le", "ffv1", "mkv"),
        ("gray10le", "ffv1", "mkv"),
        ("gray12le", "ffv1", "mkv"),
        ("gray16le", "ffv1", "mkv"),
        ("gbrp10le", "ffv1", "mkv"),
        ("gbrp12le", "ffv1", "mkv"),
        ("yuv422p10le", "prores_ks", "mov"),
        ("yuv444p10le", "prores_ks", "mov"),
        ("yuv422p10le", "v210", "mov"),
        ("rgb48be", "png", "mov"),
    ],
)
@pytest.mark.parametrize("color_range", [1, 2])
def test_deep_formats_are_read_with_all_their_levels(tmp_path, pixel_format, codec, suffix, color_range):
    frame = ramp_frame("rgb48le" if codec == "png" else pixel_format)
    if codec == "png":
        frame = frame.reformat(format=pixel_format)
    path = write_clip(tmp_path / f"clip.{suffix}", frame=frame, codec=codec, color_range=color_range)
    read = next(read_frames(path))
    assert read.image.dtype == np.uint16
    row = read.image[16].astype(int)
    black, white = read.color.swing
    if read.color.full_range or "gb" in pixel_format:
        expected = np.linspace(black, white, 1024)
    else:
        expected = np.linspace(0, 65535, 1024)  # with what is below black and above white
    # ProRes cuts off at 4 codes from the ends and is lossy.
    tolerance = 600 if codec in ("prores_ks", "v210") else 66
    assert np.abs(row - expected[:, None]).max() <= tolerance
    assert np.ptp(row, axis=1).max() <= (64 if codec == "prores_ks" else 1)  # grey is neutral
    assert len(np.unique(row[:, 0])) >= 850


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 4, 6, 7, 9])
def test_16_bit_rgb_is_that_of_h273_and_its_way_back_is_exact(matrix, full_range, bits):
    """The definition: luma is weights @ RGB, chroma the scaled differences to blue and red."""
    red, blue = {
        1: (0.2126, 0.0722),
        4: (0.30, 0.11),
        6: (0.299, 0.114),
        7: (0.212, 0.087),
        9: (0.2627, 0.0593),
    }[matrix]
    rgb = np.random.default_rng(0).random((8, 64, 3))
    y = rgb @ [red, 1 - red - blue, blue]
    cb, cr = (rgb[..., 2] - y) / (2 - 2 * blue), (rgb[..., 0] - y) / (2 - 2 * red)
    highest, unit = (1 << bits) - 1, 1 << (bits - 8)
    if full_range:
        codes = [y * highest, cb * highest + 128 * unit, cr * highest + 128 * unit]
    else:
        codes = [(16 + 219 * y) * unit, (128 + 224 * cb) * unit, (128 + 224 * cr) * unit]
    codes = np.stack([code.round() for code in codes]).clip(0, highest).astype(np.uint16)
    frame = av.VideoFrame(64, 8, f"yuv444p{bits}le")
    for plane, code in zip(frame.planes, codes, strict=True):
        rows = np.zeros((8, plane.line_size // 2), np.uint16)
        rows[:, :64] = code
        plane.update(rows.tobytes())
    color = ColorInfo(matrix, full_range, bits=bits)
    converter = ColorConverter(color)
    image = converter.to_rgb(frame, width=64, height=8)
    black, white = color.swing
    assert np.abs(image - (black + (white - black) * rgb)).max() <= 1.5 * 65536 / (1 << bits)
    back = converter.to_yuv(image, pixel_format=frame.format.name)
    for plane, code in zip(back.planes, codes, strict=True):
        rows = np.frombuffer(bytes(plane), np.uint16).reshape(8, -1)[:, :64].astype(int)
        assert np.abs(rows - code).max() <= 1


def test_pictures_for_a_standard_screen():
    limited = ColorInfo(9, bits=10)
    values = np.array([[[0, 4096, 60160]], [[65535, 32128, 4160]]], np.uint16)
    np.testing.assert_array_equal(to_8_bit(values, limited), [[[0, 0, 255]], [[255, 128, 0]]])
    np.testing.assert_array_equal(to_8_bit(values, None)[1], [[255, 125, 16]])
    eight_bits = values.astype(np.uint8)
    assert to_8_bit(eight_bits, limited) is eight_bits
    # PQ: 58 % of the signal is graphics white (203 cd/m²), which the curve brings to half of the light.
    pq = ColorInfo(9, full_range=True, transfer=16, bits=10)
    shown = to_8_bit((np.array([[[0, 0.58, 1]]]) * 65535).astype(np.uint16), pq)
    assert shown[0, 0].tolist() == [0, 186, 255]


def test_16_bits_go_through_tensors_unchanged():
    image = np.arange(65536, dtype=np.uint16).reshape(128, 512)[..., None].repeat(3, 2)
    tensor = to_tensor(image, torch.device("cpu"))
    assert tensor.dtype == torch.float32
    assert tensor.max() == 1
    np.testing.assert_array_equal(to_image(tensor, np.uint16), image)


@pytest.mark.parametrize("color", [None, ColorInfo(9, bits=10), ColorInfo(1, full_range=True, bits=12)])
@pytest.mark.parametrize("format", FORMATS)
def test_16_bit_views_are_packed_as_floats_are(format, color):
    rng = np.random.default_rng(0)
    black, white = (0, 65535) if color is None else color.swing
    left, right = (rng.integers(black, white + 1, (6, 10, 3)).astype(np.uint16) for _ in range(2))
    views = (torch.from_numpy((view.astype(np.float64) - black) / (white - black)) for view in (left, right))
    layout = StereoLayout(format)
    expected = layout.pack(*(view.movedim(-1, 0)[None] for view in views)).movedim(1, -1).numpy()
    pictures = pack_bits(*map(torch.from_numpy, (left, right)), layout=layout, color=color)
    packed = np.stack([picture.numpy() for picture in pictures])
    assert packed.dtype == np.uint16
    assert np.abs(packed - (black + (white - black) * expected)).max() <= 1


@pytest.mark.parametrize("format", ["half_tb", "anaglyph"])
def test_a_whole_conversion_in_other_formats_and_with_a_floating_window(tmp_path, format):
    clip = write_clip(tmp_path / "clip.mkv", frame=ramp_frame("yuv420p10le", size=(96, 64)), codec="ffv1")
    out, sheet = tmp_path / "out.mkv", tmp_path / "sheet.png"
    seen = []
    convert(
        clip,
        out,
        ConvertConfig(format=format, border="floating_window", eye="both", guided_upsampling=True),
        on_progress=lambda done, total, packed: seen.append(packed),
        preview_path=sheet,
    )
    assert probe(out).color.bits == 10
    assert seen[0].dtype == np.uint8
    assert (seen[0].min(), seen[0].max()) == (0, 255)
    assert read_photo(sheet).max() == 255


def test_metadata_in_part_and_for_other_encoders(caplog):
    light = HdrMetadata(light_level=(600, 0))
    assert light.encoder_options("libx265") == {"x265-params": "max-cll=600,0"}
    assert HDR10.encoder_options("libx264") == {
        "x264-params": "mastering-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)"
        "L(10000000,1):cll=1000,400"
    }
    assert HDR10.encoder_options("ffv1") == {}
    assert caplog.messages == [
        "ffv1 cannot be given the mastering display and light level; they are left out"
    ]


def test_a_writer_takes_16_bits_for_any_depth(tmp_path):
    image = np.linspace(4096, 60160, 64 * 32 * 3).reshape(32, 64, 3).astype(np.uint16)
    for bits, expected in ((8, "yuv420p"), (10, "yuv420p10le")):
        path = tmp_path / f"{bits}.mkv"
        clock = {"frame_rate": Fraction(25), "time_base": Fraction(1, 25)}
        color = ColorInfo(1, bits=bits)
        with VideoWriter(path, width=64, height=32, color=color, crf=1, **clock) as writer:
            writer.write(image, 0)
        assert luma(path)[1] == expected
        shown = to_8_bit(image, color).astype(int)
        frame = next(read_frames(path))
        assert np.abs(to_8_bit(frame.image, frame.color) - shown).max() <= 4


def add_dolby_vision(path, *, profile, compatibility=0, box=b"dvcC"):
    """Add a Dolby Vision configuration box to the sample entry of an .mp4 file whose index is at its end."""
    data = bytearray(path.read_bytes())
    record = bytes([1, 0]) + struct.pack(">H", profile << 9 | 1 << 3 | 0b101) + bytes([compatibility << 4])
    added = struct.pack(">I4s", 32, box) + record + bytes(24 - len(record))
    at = data.find(b"hvcC") - 4
    end = at + struct.unpack_from(">I", data, at)[0]
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"hev1", b"hvc1"):
        start = data.find(name) - 4
        if start >= 0:
            struct.pack_into(">I", data, start, struct.unpack_from(">I", data, start)[0] + len(added))
    data[end:end] = added
    path.write_bytes(data)
    return path


def remux(path, target):
    with av.open(str(path)) as source, av.open(str(target), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    return target


@pytest.fixture
def small_clip(tmp_path):
    options = {"preset": "ultrafast", "x265-params": LOSSLESS}
    frame = ramp_frame("yuv420p10le", size=(64, 32))
    return write_clip(tmp_path / "clip.mp4", frame=frame, codec="libx265", options=options)


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_dolby_vision_without_a_picture_of_its_own_is_refused(small_clip, tmp_path, container):
    path = add_dolby_vision(small_clip, profile=5)
    if container == "mkv":
        path = remux(path, tmp_path / "clip.mkv")
    out = tmp_path / "out.mp4"
    with pytest.raises(
        InputError, match=r"got Dolby Vision profile 5 or 10\.0, which has no .* picture; get"
    ):
        convert(path, out)
    assert not out.exists()


@pytest.mark.parametrize("compatibility", [1, 2, 4])
def test_dolby_vision_with_one_loses_its_metadata_with_one_line(small_clip, tmp_path, caplog, compatibility):
    caplog.set_level(logging.INFO, "spatialdreamer_core.video")
    path = add_dolby_vision(small_clip, profile=8, compatibility=compatibility, box=b"dvvC")
    convert(path, tmp_path / "out.mp4")
    lines = [line for line in caplog.messages if "Dolby" in line]
    assert lines == [f"{path}: its Dolby Vision metadata is left out; the picture under it is converted"]
    assert probe(tmp_path / "out.mp4").dynamic_metadata == ()


@pytest.mark.parametrize(("matrix", "name"), [(14, "ICtCp"), (8, "YCgCo"), (15, "IPT-C2")])
def test_colours_that_no_matrix_is_for_are_refused(tmp_path, matrix, name):
    frame = ramp_frame("yuv444p10le", size=(64, 32))
    path = write_clip(tmp_path / "clip.mkv", frame=frame, codec="ffv1", tags=(matrix, 9, 16))
    with pytest.raises(InputError, match=rf"must be RGB or Y'CbCr of .*, got {name}; convert"):
        convert(path, tmp_path / "out.mp4")


def test_a_film_of_10_bits_is_looked_at_beside_a_depth_file(tmp_path):
    clip = write_clip(tmp_path / "clip.mkv", frame=ramp_frame("yuv420p10le", size=(96, 64)), codec="ffv1")
    np.save(tmp_path / "depth.npy", np.random.default_rng(0).random((3, 64, 96), np.float32))
    out = tmp_path / "out.mp4"
    assert convert(clip, out, ConvertConfig(depth_file=str(tmp_path / "depth.npy"))) == 3
    assert probe(out).color.bits == 10
