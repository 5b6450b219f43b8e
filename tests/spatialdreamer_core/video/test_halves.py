from fractions import Fraction

import av
import numpy as np
import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.video import ColorInfo, VideoWriter
from spatialdreamer_core.video.halves import join_frames

FORMATS = ("yuv420p", "nv12", "yuv420p10le", "yuv422p10le", "yuv444p", "rgb24")


def pictures(count=2, size=(16, 24), channels=3):
    return list(np.random.default_rng(0).integers(0, 256, (count, *size, channels), np.uint8))


def frame_of(picture, pixel_format):
    return av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixel_format)


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_frames_side_by_side_are_one_that_was_converted_whole(pixel_format):
    first, second = pictures()
    joined = join_frames(frame_of(first, pixel_format), frame_of(second, pixel_format), stacked=False)
    whole = frame_of(np.hstack([first, second]), pixel_format)
    assert (joined.width, joined.height, joined.format.name) == (48, 16, pixel_format)
    assert np.array_equal(joined.to_ndarray(), whole.to_ndarray())


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_no_colour_runs_from_one_picture_into_the_one_below(pixel_format):
    grey, loud = np.full((16, 24, 3), 128, np.uint8), pictures(1)[0]
    beside_itself, beside_loud = (
        join_frames(frame_of(grey, pixel_format), frame_of(other, pixel_format), stacked=True)
        for other in (grey, loud)
    )
    assert (beside_loud.width, beside_loud.height) == (24, 32)
    upper = [
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height // 2]
        for frame in (beside_itself, beside_loud)
        for plane in frame.planes
    ]
    count = len(upper) // 2
    for one, other in zip(upper[:count], upper[count:], strict=True):
        width = one.shape[1] // 4  # the rest of a line may be padding
        assert np.array_equal(one[:, :width], other[:, :width])


def writer_of(tmp_path, width, height):
    color = ColorInfo.guess(width, height)
    rate, path = Fraction(25), tmp_path / "out.mkv"
    return VideoWriter(path, width=width, height=height, frame_rate=rate, time_base=1 / rate, color=color)


def test_a_writer_takes_halves_as_they_come(tmp_path):
    """RGB and RGBA, and both eyes alike."""
    writer = writer_of(tmp_path, 48, 16)
    first, second = pictures()
    opaque = np.dstack([second, np.full(second.shape[:2], 9, np.uint8)])
    whole = writer.prepare(np.hstack([first, second])).to_ndarray()
    for right in (second, opaque):
        prepared = writer.prepare_halves([first, right], stacked=False)
        assert prepared.format.name == writer.pixel_format
        assert np.array_equal(prepared.to_ndarray(), whole)
    same = writer.prepare_halves([second, opaque], stacked=False).to_ndarray()
    assert np.array_equal(same[:16, :24], same[:16, 24:])


@pytest.mark.parametrize(
    ("size", "stacked", "halves"),
    [
        ((46, 16), False, (16, 23)),
        ((48, 15), False, (15, 24)),
        ((24, 30), True, (15, 24)),
        ((48, 16), True, (16, 24)),
        ((48, 16), False, (16, 26)),
    ],
)
def test_halves_that_do_not_fit_are_refused(tmp_path, size, stacked, halves):
    writer = writer_of(tmp_path, *size)
    with pytest.raises(InputError, match=r"halves.* even sides and make"):
        writer.prepare_halves(pictures(2, halves), stacked=stacked)
