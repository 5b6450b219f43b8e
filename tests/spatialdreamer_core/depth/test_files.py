"""Depth files: formats give back what was written, kinds become inverse depth, mistakes are named."""

import struct
import zipfile
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth import DepthFile, FileDepth, SceneRange, load_depth

from .depth_writers import FLOAT, HALF, as_frame, ramp, write_exr, write_video


def read(path, kind="normalised", skip=0):
    return torch.stack(list(DepthFile(path, kind=kind).frames(skip)))[:, 0].numpy()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("skip", [0, 2, 3, 7])
def test_npz(tmp_path, save, skip):
    path = tmp_path / "depth.npz"
    save(path, depth=ramp(), other=np.zeros(3))
    frames = [frame[0].numpy() for frame in DepthFile(path, kind="normalised").frames(skip)]
    assert len(frames) == max(0, 3 - skip)
    assert np.array_equal(np.reshape(frames, (-1, 12, 20)), ramp()[skip:])


@pytest.mark.parametrize("key", ["depth", "depths", "disparity", "disp", "arr_0"])
def test_keys_of_npz(tmp_path, key):
    np.savez(tmp_path / "depth.npz", **{key: ramp()})
    assert np.array_equal(read(tmp_path / "depth.npz"), ramp())


@pytest.mark.parametrize(
    "shape",
    [(3, 12, 20), (3, 1, 12, 20), (3, 12, 20, 1), (1, 3, 12, 20), (1, 1, 3, 12, 20), (1, 3, 12, 20, 1)],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_layouts_of_arrays(tmp_path, shape, suffix):
    path = tmp_path / f"depth{suffix}"
    (np.save if suffix == ".npy" else np.savez)(path, ramp().reshape(shape))
    assert np.array_equal(read(path), ramp())
    assert np.array_equal(read(path, skip=1), ramp()[1:])


@pytest.mark.parametrize("shape", [(12, 20), (12, 20, 1), (1, 12, 20), (1, 1, 12, 20), (1, 12, 20, 1)])
def test_layouts_of_one_picture(tmp_path, shape):
    np.save(tmp_path / "depth.npy", ramp()[0].reshape(shape))
    assert np.array_equal(read(tmp_path / "depth.npy"), ramp()[:1])


def test_the_array_of_depth_among_others(tmp_path):
    path = tmp_path / "depth.npz"
    np.savez(path, Depth=ramp(), fps=24.0)
    assert np.array_equal(read(path), ramp())
    np.savez(path, depth=1 - ramp(), disparity=ramp())
    with pytest.raises(InputError, match=r"or only one named .*; got depth, disparity in"):
        read(path)


def test_what_macos_puts_into_an_archive_is_no_array(tmp_path):
    path = tmp_path / "depth.npz"
    np.savez(path, values=ramp())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/._values.npy", b"\0\5\x16\7")
    assert np.array_equal(read(path), ramp())


def write_pfm(path, values, order="<"):
    """Write a PFM file, whose rows go from the bottom up."""
    kind = b"Pf" if values.ndim == 2 else b"PF"
    header = b"%s\n%d %d\n%s\n" % (
        kind,
        values.shape[1],
        values.shape[0],
        b"-1.0" if order == "<" else b"1.0",
    )
    path.write_bytes(header + values[::-1].astype(f"{order}f4").tobytes())


@pytest.mark.parametrize(
    ("matrix", "turns"),  # of the header, and clockwise
    [((0, 65536, 0, -65536, 0, 0), 1), ((-65536, 0, 0, 0, -65536, 0), 2), ((0, -65536, 0, 65536, 0, 0), 3)],
)
def test_a_turned_video_is_turned_upright(tmp_path, matrix, turns):
    path = tmp_path / "depth.mp4"
    luma = np.full((32, 48), 40, np.uint8)
    luma[:16, :16] = 220  # near in the corner
    frame = as_frame("yuv420p", luma, np.full((16, 24), 128, np.uint8))
    write_video(path, [frame, frame], codec="libx264", pixel_format="yuv420p", options={"crf": "1"})
    data = bytearray(path.read_bytes())
    offset = data.find(b"tkhd") + 4 + 4 + 20 + 16
    data[offset : offset + 24] = struct.pack(">6i", *matrix)
    path.write_bytes(data)
    depth = read(path, skip=1)
    assert np.array_equal(depth[0] > 0.5, np.rot90(luma > 100, -turns))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pfm_keeps_its_numbers(tmp_path, order, channels):
    values = 3000 * ramp()[1]
    stored = values if channels == 1 else np.repeat(values[..., None], 3, axis=2)
    write_pfm(tmp_path / "depth.pfm", stored, order)
    assert np.array_equal(read(tmp_path / "depth.pfm", "inverse"), values[None])


def test_pfm_in_colour_is_refused(tmp_path):
    write_pfm(tmp_path / "depth.pfm", np.stack([ramp()[0], ramp()[1], ramp()[2]], axis=2))
    with pytest.raises(InputError, match="depth must be grey, got colours"):
        read(tmp_path / "depth.pfm")


@pytest.mark.parametrize("dtype", ["float16", "float64", "uint8", "uint16", ">f4"])
def test_types_of_arrays(tmp_path, dtype):
    white = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    np.savez(tmp_path / "depth.npz", (ramp() * white).astype(dtype))
    assert np.abs(read(tmp_path / "depth.npz") - ramp()).max() <= max(1 / white if white > 1 else 0, 5e-4)


def test_one_frame_without_its_axis(tmp_path):
    np.save(tmp_path / "depth.npy", ramp()[0])
    assert read(tmp_path / "depth.npy").shape == (1, 12, 20)


def test_npy_in_fortran_order(tmp_path):
    np.save(tmp_path / "depth.npy", np.asfortranarray(ramp()))
    assert np.array_equal(read(tmp_path / "depth.npy"), ramp())


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [(".png", "uint8"), (".png", "uint16"), (".tif", "uint8"), (".tiff", "uint16"), (".tif", "float32")],
)
def test_pictures_keep_their_bits(tmp_path, suffix, dtype):
    white = np.iinfo(dtype).max if dtype != "float32" else 1
    stored = (np.rint(ramp()[1] * white) if white > 1 else ramp()[1]).astype(dtype)
    path = tmp_path / f"tiefe_ä{suffix}"
    Image.fromarray(stored).save(path)
    assert np.allclose(read(path)[0], stored / np.float32(white), atol=1e-7)


def test_pictures_of_equal_colours_give_their_mean(tmp_path):
    rgba = np.zeros((4, 6, 4), np.uint16)
    rgba[...] = (13000, 14000, 15000, 17)
    cv2.imwrite(str(tmp_path / "rgba.png"), rgba)
    assert np.allclose(read(tmp_path / "rgba.png"), 14000 / 65535)


def test_exr_as_ffmpeg_writes_it_with_infinity(tmp_path):
    values = ramp()[0] * 7
    values[0, 0] = np.inf
    context = av.codec.CodecContext.create("exr", "w")
    context.width, context.height, context.pix_fmt = 20, 12, "grayf32le"
    context.time_base = Fraction(1)
    frame = av.VideoFrame.from_ndarray(values, format="grayf32le")
    (tmp_path / "a.exr").write_bytes(b"".join(map(bytes, [*context.encode(frame), *context.encode()])))
    inverse = read(tmp_path / "a.exr", kind="metres")[0]
    assert inverse[0, 0] == 0
    assert np.allclose(inverse[1:], 1 / values[1:], rtol=1e-6)


@pytest.mark.parametrize("pixel_type", [HALF, FLOAT])
@pytest.mark.parametrize(
    ("wanted", "others"),
    [
        ("Z", ()),
        ("Y", ()),
        ("depth", ()),
        ("whatever", ()),
        ("Z", ("R", "G", "B", "A")),
        ("depth", ("R", "G", "B")),
        ("ViewLayer.Depth.Z", ("ViewLayer.Combined.R", "ViewLayer.Combined.G", "ViewLayer.Combined.A")),
        ("ViewLayer.Depth.V", ("ViewLayer.Depth2.R", "X")),
    ],
)
def test_the_depth_channel_of_exr(tmp_path, wanted, others, pixel_type):
    channels = {name: np.full((12, 20), 0.25, np.float32) for name in others}
    path = write_exr(tmp_path / "a.exr", {wanted: ramp()[0], **channels}, pixel_type)
    assert np.allclose(read(path)[0], ramp()[0], atol=1e-7 if pixel_type == FLOAT else 5e-4)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_lossless_grey_video(tmp_path, bits):
    format = "gray" if bits == 8 else f"gray{bits}le"
    stored = np.rint(ramp(height=32, width=64) * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    frames = [as_frame(format, values) for values in stored]
    path = write_video(tmp_path / "depth.mkv", frames, codec="ffv1", pixel_format=format)
    expected = stored / (2**bits - 1)
    assert np.allclose(read(path), expected, atol=0.51 / 65535)
    assert np.allclose(read(path, skip=2), expected[2:], atol=0.51 / 65535)


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize(
    ("codec", "format"), [("libx264", "yuv420p"), ("libx264", "yuv420p10le"), ("libx265", "yuv420p12le")]
)
def test_luma_of_yuv_is_expanded_from_its_range(tmp_path, codec, format, full_range):
    bits = {"yuv420p": 8, "yuv420p10le": 10, "yuv420p12le": 12}[format]
    low, high = (0, 2**bits - 1) if full_range else (16 << (bits - 8), 235 << (bits - 8))
    share = ramp(frames=2, height=32, width=64)
    luma = np.rint(low + share * (high - low)).astype("<u1" if bits == 8 else "<u2")
    pictures = []
    for values in luma:
        pictures.append(as_frame(format, values, np.full((16, 32), 1 << (bits - 1), luma.dtype)))
    options = {"qp": "0"} if codec == "libx264" else {"x265-params": "lossless=1:log-level=none"}
    path = write_video(
        tmp_path / "depth.mkv",
        pictures,
        codec=codec,
        pixel_format=format,
        options=options,
        color_range=2 if full_range else 1,
    )
    assert np.abs(read(path) - share).max() <= 0.51 / (high - low) + 1 / 65535


def test_coloured_grey_video(tmp_path):
    grey = np.rint(ramp(frames=2, height=32, width=64) * 255).astype(np.uint8)
    frames = [av.VideoFrame.from_ndarray(np.stack([values] * 3, -1), format="rgb24") for values in grey]
    frames = [frame.reformat(format="gbrp") for frame in frames]
    path = write_video(tmp_path / "depth.mkv", frames, codec="ffv1", pixel_format="bgr0")
    assert np.allclose(read(path), grey / 255, atol=1e-5)


def test_a_folder_is_read_in_natural_order(tmp_path):
    for index in range(12):
        Image.fromarray(np.full((4, 6), index * 1000, np.uint16)).save(tmp_path / f"frame{index}.png")
    (tmp_path / "readme.txt").write_text("not depth")
    (tmp_path / ".hidden.npy").write_text("not depth")
    values = read(tmp_path)[:, 0, 0] * 65535
    assert np.allclose(values, np.arange(12) * 1000)
    assert np.allclose(read(tmp_path, skip=9)[:, 0, 0] * 65535, [9000, 10000, 11000])


def test_a_folder_of_arrays(tmp_path):
    for index in range(2):
        np.savez_compressed(tmp_path / f"{index}.npz", depth=ramp()[index])
    assert np.array_equal(read(tmp_path), ramp()[:2])


@pytest.mark.parametrize(
    ("kind", "stored", "expected"),
    [
        ("inverse", [2.0, 6.0, 4.0], [0, 1, 0.5]),
        ("depth", [2.0, 6.0, 4.0], [1, 0, 0.5]),
        ("metres", [1.0, 2.0, np.inf], [1, 0.5, 0]),
        ("metres", [1.0, 2.0, np.nan], [1, 0.5, 0]),
        ("metres", [1.0, 2.0, -1.0], [1, 0.5, 0]),
        ("normalised", [0.25, 0.5, 0.75], [0.25, 0.5, 0.75]),
    ],
)
def test_kinds(tmp_path, kind, stored, expected):
    np.save(tmp_path / "depth.npy", np.repeat(np.float32(stored), 50).reshape(1, 3, 50))
    depth = load_depth(tmp_path / "depth.npy", kind=kind)
    assert depth.shape == (1, 1, 3, 50)
    assert torch.allclose(depth[0, 0, :, 0], torch.tensor(expected, dtype=torch.float32), atol=4e-3)


def test_millimetres_in_16_bits(tmp_path):
    millimetres = np.repeat(np.uint16([1000, 2000, 0]), 50).reshape(3, 50)
    Image.fromarray(millimetres).save(tmp_path / "depth.png")
    depth = load_depth(tmp_path / "depth.png", kind="metres")
    assert torch.allclose(depth[0, 0, :, 0], torch.tensor([1, 0.5, 0]), atol=4e-3)


def test_each_scene_has_its_own_range(tmp_path):
    np.save(tmp_path / "depth.npy", np.concatenate([ramp(), 100 + 5 * ramp()]))
    frames = torch.zeros(6, 3, 12, 20)
    frames[3:, 2] = 1
    depth = load_depth(tmp_path / "depth.npy", frames=frames)
    assert torch.allclose(depth[:3], depth[3:], atol=4e-3)
    assert float(depth[:3].min()) == 0
    assert float(depth[:3].max()) == 1
    assert float(load_depth(tmp_path / "depth.npy")[:3].max()) < 0.05
    with pytest.raises(InputError, match=r"as many frames as the video \(4\), got 6"):
        load_depth(tmp_path / "depth.npy", frames=frames[:4])


def test_the_stream_reduces_depth_to_the_film_only_if_it_is_larger(tmp_path):
    np.save(tmp_path / "depth.npy", ramp())
    frame = np.zeros((6, 10, 3), np.uint8)
    for size, expected in (((6, 10), (6, 10)), ((24, 40), (12, 20))):
        stream = FileDepth(DepthFile(tmp_path / "depth.npy"), skip=1, scenes=[SceneRange(0, 2)], size=size)
        stream.reset()
        depth = stream.step(frame)
        assert depth.shape == expected
        assert depth.mean() == pytest.approx(ramp()[1].mean() / 2, abs=1e-6)
        stream.close()


def write_text(path):
    path.write_bytes(b"no depth at all " * 50)


def write_pickle(path):
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def cut_short(path):
    np.savez(path, depth=ramp())
    path.write_bytes(path.read_bytes()[:1500])


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("absent.npz", lambda path: None, "existing file or folder, got .*absent.npz"),
        ("a.npz", write_text, "whole NumPy file"),
        ("a.npy", write_text, "whole NumPy file"),
        ("a.npy", write_pickle, "pickled objects"),
        ("a.npz", cut_short, "whole NumPy file"),
        ("a.npz", lambda path: np.savez(path, a=1, b=2), "named depth, depths, .*; got a, b in"),
        ("a.npz", lambda path: np.savez(path, np.ones((2, 3, 4, 5))), r"\[F, H, W\].*\[2, 3, 4, 5\]"),
        ("a.npz", lambda path: np.savez(path, np.ones((2, 3), complex)), "complex"),
        ("a.npz", lambda path: np.savez(path, np.asfortranarray(np.ones((2, 3)))), "C order"),
        ("a.npy", lambda path: np.save(path, np.ones((0, 3, 4))), r"\[0, 3, 4\]"),
        ("a.png", write_text, "picture that can be decoded"),
        ("a.exr", write_text, "EXR file"),
        ("a.mp4", write_text, "depth must .*video"),
        ("folder", lambda path: path.mkdir(), "one kind .*got none"),
        (
            "a.exr",
            lambda path: write_exr(path, {"U": np.ones((2, 2)), "W": np.ones((2, 2))}),
            "named Z, depth, V, Y or R; got U, W",
        ),
    ],
)
def test_what_cannot_be_read_is_explained(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(InputError, match=message):
        load_depth(tmp_path / name)


@pytest.mark.parametrize("length", [4, 100, 330, 400, 800, -1])
def test_a_broken_exr(tmp_path, length):
    path = write_exr(tmp_path / "a.exr", {"Z": ramp()[0]})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match="whole EXR file"):
        load_depth(path)


def test_a_folder_of_two_kinds(tmp_path):
    np.save(tmp_path / "a.npy", ramp()[0])
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"got \.npy, \.png"):
        load_depth(tmp_path)


def test_frames_of_two_sizes_or_several_in_a_file(tmp_path):
    np.save(tmp_path / "1.npy", ramp()[0])
    np.save(tmp_path / "2.npy", ramp(height=8)[0])
    with pytest.raises(InputError, match="one size, got 20x8 after 20x12 at frame 1"):
        load_depth(tmp_path)
    np.save(tmp_path / "2.npy", ramp())
    with pytest.raises(InputError, match=r"one frame, got 3 in .*2\.npy"):
        load_depth(tmp_path)


@pytest.mark.parametrize("kind", ["inverse", "depth", "normalised"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_without_meaning(tmp_path, kind, bad):
    values = ramp()
    values[1, 2, 3] = bad
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InputError, match=f"kind {kind} must be finite, got 1 .* in frame 1 of .*metres"):
        load_depth(tmp_path / "a.npy", kind=kind)


def test_normalised_depth_outside_of_its_range(tmp_path):
    np.save(tmp_path / "a.npy", ramp() * 2)
    with pytest.raises(InputError, match=r"between 0 and 1, got 0\.66\d* to 1\.33\d* in frame 1"):
        load_depth(tmp_path / "a.npy", kind="normalised")


def test_an_unknown_kind(tmp_path):
    with pytest.raises(InputError, match="depth_kind must be one of inverse, depth, metres, normalised"):
        DepthFile(tmp_path, kind="feet")
