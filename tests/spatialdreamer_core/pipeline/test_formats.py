"""Whole conversions in every format and geometry: each holds the views of a plain one, where they belong."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.pipeline import ConvertConfig, convert
from spatialdreamer_core.stereo import FORMATS, PIXEL_FORMATS, StereoLayout
from spatialdreamer_core.video import probe, read_frames, read_photo, write_clip, write_photo

OF_FILMS = [format for format in FORMATS if format != "wiggle"]
SIZE = (100, 62)
QUICK = {"depth": "builtin", "divergence": 6.0, "crf": 0, "preset": "ultrafast"}


def moving_bar(index):
    """A bright bar before a grey gradient; without colour, which 4:2:0 would blur."""
    width, height = SIZE
    grey = np.tile(np.linspace(40, 160, width).astype(np.uint8), (height, 1))
    grey[20:50, 20 + 4 * index : 44 + 4 * index] = 220
    return av.VideoFrame.from_ndarray(np.repeat(grey[..., None], 3, 2), format="rgb24")


def read(path):
    return [frame.image for frame in read_frames(path)]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for index in range(2):
            container.mux(stream.encode(moving_bar(index)))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def views(film):
    """The left and the right views of a plain conversion."""
    plain = film.with_name("plain.mkv")
    convert(film, plain, ConvertConfig(**QUICK))
    frames = torch.from_numpy(np.stack(read(plain))).movedim(-1, 1)
    return frames[..., : SIZE[0]], frames[..., SIZE[0] :]


GEOMETRIES = ({}, {"swap_eyes": True, "pad": "16:9", "ipd_offset": -3.3, "output_height": 45})


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("format", OF_FILMS)
def test_a_film_in_every_format_and_geometry(film, views, tmp_path, format, geometry):
    """Padding, offset, an odd height and the encoder together, which failed in nunif #605."""
    if format == "rgbd":
        geometry = {name: value for name, value in geometry.items() if name in ("pad", "output_height")}
    if format == "vr180":
        geometry = {name: value for name, value in geometry.items() if name != "pad"}
    config = ConvertConfig(**QUICK, format=format, **geometry)
    layout = StereoLayout(format, **geometry)
    convert(film, tmp_path / "out.mkv", config)
    got = np.stack(read(tmp_path / "out.mkv"))
    height, width = layout.size(SIZE[1], SIZE[0])
    assert got.shape[1:3] == layout.encoded_size(SIZE[1], SIZE[0])
    info = probe(tmp_path / "out.mkv")
    assert info.sample_aspect_ratio == layout.pixel_aspect()
    assert info.frame_rate == 25 * layout.pictures_a_pair
    expected = layout.pack(*views).movedim(1, -1).numpy().astype(int)
    got = got[:, :height, :width].astype(int)
    if format == "rgbd":
        got, expected = got[..., : width // 2, :], expected[..., : width // 2, :]
    assert got.shape == expected.shape
    if format == "anaglyph":  # whose colours 4:2:0 blurs
        assert np.abs(got - expected).mean() < 3
    else:
        assert np.abs(got - expected).max() <= 6


def test_rgbd_holds_depth_that_is_white_where_it_is_near(film, tmp_path):
    (tmp_path / "depth").mkdir()
    for index in range(2):
        depth = np.full((*SIZE[::-1], 3), 30, np.uint8)
        depth[20:50, 20 + 4 * index : 44 + 4 * index] = 230
        write_photo(tmp_path / "depth" / f"{index}.png", depth)
    config = ConvertConfig(
        **{**QUICK, "depth": "auto"},
        format="rgbd",
        eye="both",
        depth_file=tmp_path / "depth",
        depth_kind="normalised",
        edge_width=0,
        edge_dilation=0,
    )
    convert(film, tmp_path / "out.mkv", config)
    for index, (frame, source) in enumerate(zip(read(tmp_path / "out.mkv"), read(film), strict=True)):
        assert np.abs(frame[:, :100].astype(int) - source).max() <= 3, "the source itself, whatever the eye"
        depth = frame[:, 100:]
        assert np.abs(depth[22:48, 24 + 4 * index : 40 + 4 * index].astype(int) - 230).max() <= 3
        assert np.abs(depth[:16].astype(int) - 30).max() <= 3


@pytest.mark.parametrize("format", PIXEL_FORMATS)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_neighbouring_pixels_keep_their_eyes_colours(tmp_path, format, suffix):
    """A test card: the left eye sees red, the right one blue; 4:2:0 would make purple of them."""
    left, right = torch.zeros(2, 2, 3, 34, 50).unbind()
    left[:, 0], right[:, 2] = 1.0, 1.0
    packed = StereoLayout(format).pack(left, right)
    path = write_clip(packed, tmp_path / f"card{suffix}", frame_rate=24, format=format, crf=4)
    expected = packed.movedim(1, -1).mul(255).numpy()
    assert np.abs(np.stack(read(path)) - expected).max() < 16


def test_frame_sequential_shows_the_right_view_halfway_to_the_next_frame(make_video, tmp_path):
    times = [0, 40, 100, 120, 360]  # ms, of a variable frame rate
    film = make_video(
        "film.mkv", frames=5, size=SIZE, picture=moving_bar, pts=times, time_base=Fraction(1, 1000)
    )
    convert(film, tmp_path / "out.mkv", ConvertConfig(**QUICK, format="frame_sequential"))
    convert(film, tmp_path / "plain.mkv", ConvertConfig(**QUICK))
    frames = list(read_frames(tmp_path / "out.mkv"))
    shown = [float(frame.time * 1000) for frame in frames]
    assert shown == pytest.approx([0, 20, 40, 70, 100, 110, 120, 240, 360, 480], abs=1.01)
    for index, plain in enumerate(read(tmp_path / "plain.mkv")):
        for eye in range(2):
            expected = plain[:, eye * SIZE[0] : (eye + 1) * SIZE[0]].astype(int)
            assert np.abs(frames[2 * index + eye].image - expected).max() <= 3


def test_frame_sequential_of_one_frame(make_video, tmp_path):
    film = make_video("film.mp4", frames=1, size=SIZE, picture=moving_bar)
    assert convert(film, tmp_path / "out.mp4", ConvertConfig(**QUICK, format="frame_sequential")) == 2
    times = [frame.time for frame in read_frames(tmp_path / "out.mp4")]
    assert times == pytest.approx([0, 0.02], abs=0.001)


@pytest.mark.parametrize("format", ["full_sbs", "rgbd", "vr180", "row_interlaced"])
def test_black_is_the_films_own_in_10_bits(make_video, tmp_path, format):
    """Bars and what surrounds half spheres, and the far end of depth, are black as the film codes it."""

    def picture(index):
        frame = av.VideoFrame(100, 40, "yuv420p10le")
        for plane, value in zip(frame.planes, (500, 512, 512), strict=True):
            plane.update(np.full((plane.height, plane.line_size // 2), value, np.uint16).tobytes())
        return frame

    film = make_video(
        "film.mkv", frames=2, size=(100, 40), codec="ffv1", pixel_format="yuv420p10le", picture=picture
    )
    pad = "none" if format == "vr180" else "16:9"
    config = ConvertConfig(**QUICK, codec="libx265", format=format, pad=pad)
    convert(film, tmp_path / "out.mkv", config)
    assert probe(tmp_path / "out.mkv").color.bits == 10
    with av.open(str(tmp_path / "out.mkv")) as container:
        frame = next(container.decode(video=0))
        assert frame.format.name == ("yuv444p10le" if format in PIXEL_FORMATS else "yuv420p10le")
        luma = np.frombuffer(bytes(frame.planes[0]), np.uint16).reshape(frame.height, -1)[:, : frame.width]
    assert abs(int(luma[0, 0]) - 64) <= 2
    assert abs(int(luma[frame.height // 2, frame.width // 4]) - 500) <= 3
    assert luma.min() >= 50, "as lossy as the encoder is"


def test_a_large_photo_is_as_a_small_one_in_other_geometries(tmp_path, monkeypatch):
    from spatialdreamer_core.pipeline import large_photo

    image = np.repeat(moving_bar(0).to_ndarray(format="rgb24"), 3, axis=0)
    image[..., 0] = image[..., 0] // 2
    write_photo(tmp_path / "photo.png", image)
    for index, changes in enumerate(
        (
            {"swap_eyes": True, "ipd_offset": 5.0},
            {"format": "anaglyph", "pad": "16:9", "anaglyph": "half-color"},
            {"format": "vr180", "output_height": 90},
            {"format": "half_tb", "output_height": 61},
            {"format": "rgbd", "pad": "16:9"},
        )
    ):
        config = ConvertConfig(depth="builtin", divergence=4.0, **changes)
        results = []
        for pixels in (1 << 30, 100):
            monkeypatch.setattr(large_photo, "_LARGE_PIXELS", pixels)
            output = tmp_path / f"{index}-{pixels}.png"
            convert(tmp_path / "photo.png", output, config)
            results.append(read_photo(output).astype(int))
        whole, strips = results
        assert whole.shape == strips.shape == (*StereoLayout(**changes).size(*image.shape[:2]), 3), changes
        assert (np.abs(whole - strips) > 1).mean() < 0.005, changes


def test_settings_at_odds_are_refused_before_the_work(film, tmp_path):
    with pytest.raises(InputError, match="pad must be none with the format vr180"):
        convert(film, tmp_path / "out.mkv", ConvertConfig(**QUICK, format="vr180", pad="16:9"))
    with pytest.raises(InputError, match="sides must be 1 to 16384 px, got 32768x16384"):
        convert(film, tmp_path / "out.mkv", ConvertConfig(**QUICK, format="vr180", output_height=16384))
    assert not (tmp_path / "out.mkv").exists()
