from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.pipeline import ConvertConfig, convert
from spatialdreamer_core.video import VideoWriter


@pytest.mark.parametrize(
    ("size", "bits", "expected"),
    [
        ((3840, 1080), 8, "libx264"),
        ((4096, 2160), 8, "libx264"),
        ((4096, 2304), 8, "libx264"),  # level 5.2 to the last block of 16x16 px
        ((4096, 2305), 8, "libx265"),
        ((4098, 1080), 8, "libx265"),
        ((7680, 2160), 8, "libx265"),
        ((1920, 4096), 8, "libx264"),
        ((1920, 4098), 8, "libx265"),
        ((3840, 4320), 8, "libx265"),  # full_tb of 4K
        ((2880, 3200), 8, "libx264"),
        ((3840, 3840), 8, "libx265"),  # no side is too long, but there are too many pixels
        ((640, 360), 10, "libx265"),
        ((640, 360), 16, "libx265"),
        ((640, 14), 10, "libx264"),  # too small for libx265
        ((48, 300), 10, "libx264"),  # where libx265 damages the process's memory
        ((64, 300), 10, "libx265"),
    ],
)
def test_auto_takes_h264_where_players_take_it(size, bits, expected):
    assert ConvertConfig().encoder(*size, bits=bits) == expected
    assert ConvertConfig(codec="libx265").encoder(*size, bits=bits) == "libx265"
    if bits == 8 and expected == "libx265":
        with pytest.raises(InputError, match=rf"got {size[0]}x{size[1]}; choose libx265 \(HEVC\) or auto"):
            ConvertConfig(codec="libx264").encoder(*size, bits=bits)
    else:
        assert ConvertConfig(codec="libx264").encoder(*size, bits=bits) == "libx264"


def test_an_encoder_that_is_none_is_refused():
    with pytest.raises(InputError, match=r"codec must be one of auto, libx264, .*, ffv1, got 'h265'"):
        ConvertConfig(codec="h265").check()


@pytest.mark.parametrize(
    ("codec", "size"),
    [
        ("libx265", (14, 64)),
        ("libx265", (64, 14)),
        ("libx265", (2, 2)),
        ("libx265", (40, 300)),
        ("libx265", (16384, 16384)),
    ],
)
def test_sizes_that_an_encoder_does_not_take_are_refused_before_the_work(tmp_path, codec, size):
    width, height = size
    clock = {"frame_rate": Fraction(25), "time_base": Fraction(1, 25)}
    rule = rf"codec must be able to encode {width}x{height} .* got '{codec}' .*; choose another codec"
    with pytest.raises(InputError, match=rule):
        with VideoWriter(tmp_path / "out.mp4", width=width, height=height, codec=codec, **clock):
            pytest.fail("the writer must not open")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [(16386, 64), (64, 16385), (70_000, 64), (0, 64)])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_sides_that_no_encoder_takes_are_refused_before_the_work(tmp_path, codec, size):
    width, height = size
    with pytest.raises(
        InputError, match=rf"sides must be 1 to 16384 px, got {width}x{height}; choose a half"
    ):
        VideoWriter(tmp_path / "out.mp4", width=width, height=height, codec=codec)
    assert list(tmp_path.iterdir()) == []


def test_a_tiny_film_of_10_bits_is_written(make_video, tmp_path):
    path = make_video("clip.mkv", codec="ffv1", pixel_format="yuv420p10le", size=(8, 8), frames=3)
    out = tmp_path / "out.mp4"
    assert convert(path, out) == 3


def test_the_comfort_limits_count_the_shift_of_the_views():
    config = ConvertConfig(comfort=True, max_crossed=3.0, max_uncrossed=2.0, ipd_offset=1.0)
    config.check()
    assert (config.strength().max_crossed, config.strength().max_uncrossed) == (2.0, 3.0)
    with pytest.raises(InputError, match="ipd_offset must leave the screen within the limits of comfort"):
        replace(config, ipd_offset=4.0).check()
