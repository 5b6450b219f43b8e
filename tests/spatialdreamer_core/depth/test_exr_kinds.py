"""EXR files as programs write them: all compressions, tiles, parts, windows; deep ones are refused."""

import sys

import numpy as np
import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import load_depth
from spatialdreamer_core.depth.files.exr import read_exr

from .depth_writers import UINT, ramp, write_exr

OpenEXR = pytest.importorskip("OpenEXR")
COMPRESSIONS = [name for name in dir(OpenEXR) if name.endswith("_COMPRESSION")]
LOSSY = ("B44", "DWA", "LJ2K", "PXR24")


def header(**attributes):
    return {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **attributes}


def window(left, top, right, bottom):
    return np.array([left, top], np.int32), np.array([right, bottom], np.int32)


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint32])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_each_compression_of_each_type(tmp_path, compression, dtype, tiled):
    values = (ramp(1, 40, 60)[0] * 1000).astype(dtype)
    attributes = header(compression=getattr(OpenEXR, compression))
    if tiled:
        tiles = OpenEXR.TileDescription()
        tiles.xSize = tiles.ySize = 16
        attributes |= {"type": OpenEXR.tiledimage, "tiles": tiles}
    OpenEXR.File(attributes, {"Z": values, "R": values * 0}).write(str(tmp_path / "a.exr"))
    read = read_exr(tmp_path / "a.exr")
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, values, rtol=0, atol=15 if compression.startswith(LOSSY) else 0)


def test_whole_numbers_are_read(tmp_path):
    path = write_exr(tmp_path / "a.exr", {"Z": ramp()[0] * 1000}, UINT)
    assert np.array_equal(read_exr(path), np.floor(ramp()[0] * 1000))


def write_parts(path, parts):
    """Write one part for each {name: {channel: values}}."""
    OpenEXR.File([OpenEXR.Part(header(name=name), channels) for name, channels in parts.items()]).write(
        str(path)
    )


@pytest.mark.parametrize(
    "names", [("rgba", "depth"), ("rgba.left", "depth.left"), ("a", "ViewLayer.Depth"), ("Combined", "Z")]
)
def test_the_part_with_the_depth_is_found_by_its_name(tmp_path, names):
    colours = {channel: ramp()[0] * factor for factor, channel in enumerate("RGB", 1)}
    depth = 3 + ramp()[0]
    write_parts(tmp_path / "a.exr", {names[0]: colours, names[1]: {"Z": depth}})
    assert np.array_equal(read_exr(tmp_path / "a.exr"), depth)


def test_parts_of_which_each_may_be_the_depth_are_named(tmp_path):
    write_parts(tmp_path / "a.exr", {"left": {"Z": ramp()[0]}, "right": {"Z": 2 * ramp()[0]}})
    with pytest.raises(
        InputError, match=r"got left\.Z, right\.Z in .* none or more than one can be the depth"
    ):
        load_depth(tmp_path / "a.exr")
    write_parts(tmp_path / "a.exr", {"left": {"Z": ramp()[0]}, "right": {"Z": ramp()[0]}})
    assert np.array_equal(read_exr(tmp_path / "a.exr"), ramp()[0])


@pytest.mark.parametrize(
    ("data", "display"),
    [
        ((5, 2, 24, 13), (0, 0, 31, 15)),  # a crop
        ((-5, -2, 14, 9), (0, 0, 9, 5)),  # overscan
        ((-5, 4, 14, 15), (0, 0, 9, 9)),
        ((40, 40, 59, 51), (0, 0, 9, 5)),  # none of it shows
    ],
)
def test_the_display_window_is_what_is_read(tmp_path, data, display):
    values = 1 + ramp()[0]
    attributes = header(dataWindow=window(*data), displayWindow=window(*display))
    OpenEXR.File(attributes, {"Z": values}).write(str(tmp_path / "a.exr"))
    canvas = np.zeros((200, 200), np.float32)  # begins at (-50, -50)
    canvas[data[1] + 50 : data[3] + 51, data[0] + 50 : data[2] + 51] = values
    expected = canvas[display[1] + 50 : display[3] + 51, display[0] + 50 : display[2] + 51]
    assert np.array_equal(read_exr(tmp_path / "a.exr"), expected)


def test_a_deep_file_is_refused(tmp_path):
    samples = np.empty((2, 3), object)
    for index in np.ndindex(2, 3):
        samples[index] = np.ones(2, np.float32)
    OpenEXR.File(
        {"type": OpenEXR.deepscanline, "compression": OpenEXR.ZIPS_COMPRESSION}, {"Z": samples}
    ).write(str(tmp_path / "a.exr"))
    with pytest.raises(InputError, match=r"must not be a deep one, got .*a\.exr; save it as a flat one"):
        load_depth(tmp_path / "a.exr")


def test_channels_that_memory_does_not_hold_are_refused_before_they_are_read(tmp_path, monkeypatch):
    path = write_exr(
        tmp_path / "a.exr", {f"layer{index}.X": ramp()[0] for index in range(50)} | {"Z": ramp()[0]}
    )
    monkeypatch.setattr("spatialdreamer_core.memory.free_memory", lambda device: 20_000)
    with pytest.raises(
        InputError, match=r"reading .*a\.exr needs about .* save the depth alone, without other"
    ):
        load_depth(path)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    path = write_exr(tmp_path / "a.exr", {"Z": ramp()[0]})
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(
        InputError, match=r"need the Python package OpenEXR, .*: pip install OpenEXR, or save"
    ):
        load_depth(path)
