"""EXR files of several planes: the depth is found by its name, a vector's component never is."""

import struct
import time

import numpy as np
import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import DepthFile, load_depth
from spatialdreamer_core.depth.files.exr_names import find_depth_names

from .depth_writers import FLOAT, HALF, ramp, write_exr

BEAUTY = ("A", "B", "G", "R")
BLENDER = (
    *(f"ViewLayer.Combined.{component}" for component in "ABGR"),
    *(f"ViewLayer.Normal.{component}" for component in "XYZ"),
    *(f"ViewLayer.Position.{component}" for component in "XYZ"),
    *(f"ViewLayer.UV.{component}" for component in "AUV"),
    *(f"ViewLayer.Vector.{component}" for component in "WXYZ"),
    *(f"ViewLayer.CryptoObject00.{component}" for component in "abgr"),
    "ViewLayer.Mist.Z",
)


@pytest.mark.parametrize(
    ("names", "depth"),
    [
        (("whatever",), "whatever"),
        ((*BEAUTY, "Z"), "Z"),
        ((*BEAUTY, "z"), "z"),
        (("Y", "Z"), "Z"),
        (("A", "Y"), "Y"),
        ((*BEAUTY, "depth"), "depth"),
        ((*BEAUTY, "Depth.Z", "N.X", "N.Y", "N.Z"), "Depth.Z"),
        ((*BEAUTY, "N.X", "N.Y", "N.Z", "P.X", "P.Y", "P.Z", "Z"), "Z"),
        ((*BEAUTY, "Z", "normal.x", "normal.y", "normal.z", "velocity.z", "world.z"), "Z"),
        ((*BLENDER, "ViewLayer.Depth.Z"), "ViewLayer.Depth.Z"),
        ((*BLENDER, "ViewLayer.Depth.V"), "ViewLayer.Depth.V"),
        ((*BLENDER, "ViewLayer.Denoising Depth.Z", "ViewLayer.Depth.Z"), "ViewLayer.Depth.Z"),
        (
            (*BLENDER, "ViewLayer.Denoising Depth.Z", "ViewLayer.Denoising Normal.X"),
            "ViewLayer.Denoising Depth.Z",
        ),
        ((*BEAUTY, "VRayZDepth.R", "VRayZDepth.A"), "VRayZDepth.R"),
        ((*BEAUTY, "FinalImageWorldDepth.R"), "FinalImageWorldDepth.R"),
        ((*BEAUTY, "disparity"), "disparity"),
        ((*BEAUTY, "Z", "ZBack"), "Z"),
        ((*BEAUTY, "camera.Z"), "camera.Z"),
        ((*BEAUTY, "N.x", "N.y", "N.z", "Pz"), "Pz"),
        (("A", "V"), "V"),
        (("A", "R"), "R"),
    ],
)
def test_the_depth_among_many(names, depth):
    assert find_depth_names(sorted(names)) == [depth]


@pytest.mark.parametrize(
    "names",
    [
        ("N.Z",),
        ("normal.z",),
        ("position.Z",),
        ("X", "Y", "Z"),
        ("U", "V"),
        ("A", "N.X", "N.Y", "N.Z"),
        ("A", "P.Z"),
        ("Position.X", "Position.Y", "Position.Z"),
        ("worldPosition.z", "cameraNormal.z"),
        ("velocity.z",),
        ("motion_vector.Z", "motion_vector.Y"),
        ("foo.X", "foo.Y", "foo.Z"),
        ("UV.V", "UV.U"),
        ("BY", "RY", "Y"),
        ("U", "W"),
        ("Pref.Z", "Ng.Z"),
    ],
)
def test_components_of_vectors_are_no_depth(names):
    assert find_depth_names(sorted(names)) == []


@pytest.mark.parametrize("pixel_type", [HALF, FLOAT])
def test_the_values_come_from_the_chosen_plane(tmp_path, pixel_type):
    channels = {name: np.full((12, 20), index, np.float32) for index, name in enumerate(BLENDER)}
    depth = 3 + ramp()[0]
    path = write_exr(tmp_path / "a.exr", channels | {"ViewLayer.Depth.Z": depth}, pixel_type)
    (frame,) = DepthFile(path, kind="inverse").frames()
    assert np.allclose(frame[0], depth, atol=4e-3)


def test_names_that_are_not_ascii(tmp_path):
    path = write_exr(tmp_path / "a.exr", {"Ebene ä.Depth.Z": ramp()[0], "R": 0 * ramp()[0]})
    (frame,) = DepthFile(path, kind="inverse").frames()
    assert np.array_equal(frame[0], ramp()[0])


@pytest.mark.parametrize(
    "names", [("R", "G", "B"), ("R", "G", "B", "A"), ("depth.R", "depth.G", "depth.B", "A")]
)
def test_grey_in_three_channels(tmp_path, names):
    values = ramp()[0]
    values[3, 4] = np.inf
    channels = {name: np.ones_like(values) if name == "A" else values for name in names}
    (frame,) = DepthFile(write_exr(tmp_path / "a.exr", channels), kind="metres").frames()
    assert np.allclose(frame[0][values > 0.01], 1 / values[values > 0.01])


@pytest.mark.parametrize(
    "names",
    [
        ("B", "G", "R"),
        ("left.Depth.Z", "right.Depth.Z"),
        ("ViewLayer.Depth.Z", "ViewLayer2.Depth.Z"),
        ("foo.Z", "bar.Z"),
        ("N.Z",),
        tuple(f"l{index}.Z" for index in range(12)),
    ],
)
def test_ambiguous_planes_are_named(tmp_path, names):
    channels = {name: ramp()[0] * (index + 1) ** 2 for index, name in enumerate(names)}
    path = write_exr(tmp_path / "a.exr", channels)
    listed = ", ".join(sorted(names))
    with pytest.raises(InputError, match=rf"got {listed} in .*a\.exr, of which none or more than one can be"):
        load_depth(path)


def test_equal_planes_are_not_ambiguous(tmp_path):
    path = write_exr(tmp_path / "a.exr", {"Z": ramp()[0], "depth.Z": ramp()[0], "R": ramp()[1]})
    (frame,) = DepthFile(path, kind="inverse").frames()
    assert np.array_equal(frame[0], ramp()[0])


def test_a_table_of_offsets_that_fills_the_file(tmp_path):
    path = write_exr(tmp_path / "a.exr", {"Z": ramp()[0]})
    data = path.read_bytes()
    header = data[: data.index(b"screenWindowWidth\0") + len(b"screenWindowWidth\0float\0") + 8 + 1]
    path.write_bytes(header + struct.pack("<Q", 2**40) * 2**20)
    start = time.perf_counter()
    with pytest.raises(InputError, match="whole EXR file"):
        load_depth(path)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    "box", [(0, 0, 2**31 - 1, 2**31 - 1), (0, 0, 29999, 29999), (0, 0, -5, 3), (-(2**31), 0, 2**31 - 1, 0)]
)
def test_the_size_of_exr_is_checked_before_it_is_decoded(tmp_path, box):
    path = write_exr(tmp_path / "a.exr", {"Z": ramp()[0]})
    path.write_bytes(path.read_bytes().replace(struct.pack("<4i", 0, 0, 19, 11), struct.pack("<4i", *box)))
    with pytest.raises(
        InputError, match=r"frames of depth must have|its size is none that a picture can have"
    ):
        load_depth(path)
