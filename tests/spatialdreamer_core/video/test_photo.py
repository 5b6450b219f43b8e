from __future__ import annotations

import logging
import shutil
import struct
import subprocess
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.video import read_photo, write_photo
from spatialdreamer_core.video.color import to_8_bit


def smooth(height=40, width=60):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([4 * x, 5 * y, 255 - 4 * x], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
def test_lossless_formats_keep_every_pixel(tmp_path, suffix):
    path = tmp_path / f"photo{suffix}"
    write_photo(path, smooth())
    np.testing.assert_array_equal(read_photo(path), smooth())
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp"])
def test_lossy_formats_come_close(tmp_path, suffix):
    path = tmp_path / "new" / f"photo{suffix}"
    write_photo(path, smooth())
    assert np.abs(read_photo(path).astype(int) - smooth()).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }[orientation](smooth())
    image = Image.fromarray(np.ascontiguousarray(stored))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(read_photo(tmp_path / "photo.png"), smooth())


def save(tmp_path, image, name="photo.png", **options):
    image.save(tmp_path / name, **options)
    return read_photo(tmp_path / name)


def test_grey_is_expanded(tmp_path):
    grey = smooth()[..., 0]
    np.testing.assert_array_equal(save(tmp_path, Image.fromarray(grey)), np.repeat(grey[..., None], 3, 2))
    assert save(tmp_path, Image.fromarray(grey > 99), "bits.png")[0, -1].tolist() == [255, 255, 255]


def test_transparency_is_composited_over_black(tmp_path):
    alpha = np.full((40, 60, 1), 128, np.uint8)
    image = Image.fromarray(np.concatenate([smooth(), alpha], axis=-1), "RGBA")
    assert np.abs(save(tmp_path, image).astype(int) - smooth() * (128 / 255)).max() <= 1
    palette = Image.fromarray(np.zeros((4, 4), np.uint8), "P")
    palette.putpalette([250, 0, 0] * 256)
    assert save(tmp_path, palette, "palette.png", transparency=0).max() == 0


def deep(height=40, width=60):
    return np.random.default_rng(0).integers(0, 65536, (height, width, 3)).astype(np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".ppm", ".jp2"])
def test_sixteen_bits_stay(tmp_path, suffix):
    size = (100, 120) if suffix == ".jp2" else (40, 60)
    options = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000] if suffix == ".jp2" else []
    assert cv2.imwrite(str(tmp_path / f"photo{suffix}"), deep(*size)[..., ::-1], options)
    read = read_photo(tmp_path / f"photo{suffix}")
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, deep(*size))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_written(tmp_path, suffix):
    write_photo(tmp_path / f"photo{suffix}", deep())
    np.testing.assert_array_equal(read_photo(tmp_path / f"photo{suffix}"), deep())
    assert [p.name for p in tmp_path.iterdir()] == [f"photo{suffix}"]


def test_sixteen_bits_are_rounded_where_a_format_has_eight(tmp_path):
    write_photo(tmp_path / "photo.webp", 257 * smooth().astype(np.uint16))
    assert np.abs(read_photo(tmp_path / "photo.webp").astype(int) - smooth()).mean() < 2
    assert to_8_bit(np.array([0, 128, 129, 65535, 65406], np.uint16), None).tolist() == [0, 0, 1, 255, 254]


def test_sixteen_bits_of_grey_stay(tmp_path):
    grey = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    for name in ("photo.png", "photo.tif"):
        read = save(tmp_path, Image.fromarray(grey), name)
        np.testing.assert_array_equal(read, np.repeat(grey[..., None], 3, axis=2))


def test_sixteen_bits_with_transparency(tmp_path):
    alpha = np.full((40, 60, 1), 32768, np.uint16)
    for name in ("photo.png", "photo.tif"):
        cv2.imwrite(str(tmp_path / name), np.concatenate([deep()[..., ::-1], alpha], axis=-1))
        assert np.abs(read_photo(tmp_path / name) - deep() * (32768 / 65535)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bits_are_turned_upright(tmp_path, orientation):
    cv2.imwrite(str(tmp_path / "photo.png"), deep()[..., ::-1])
    content = (tmp_path / "photo.png").read_bytes()
    exif = Image.Exif()
    exif[0x0112] = orientation
    tags = exif.tobytes()[6:]
    chunk = struct.pack(">I4s", len(tags), b"eXIf") + tags + struct.pack(">I", zlib.crc32(b"eXIf" + tags))
    (tmp_path / "photo.png").write_bytes(content[:33] + chunk + content[33:])
    Image.fromarray((deep() >> 8).astype(np.uint8)).save(tmp_path / "eight.png", exif=exif)
    read = read_photo(tmp_path / "photo.png")
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read >> 8, read_photo(tmp_path / "eight.png"))


@pytest.mark.parametrize("content", ["float", "int32"])
def test_what_has_no_known_range_gets_one_remedy(tmp_path, content):
    values = np.ones((8, 8), np.float32 if content == "float" else np.int32)
    Image.fromarray(values).save(tmp_path / "photo.tif")
    message = r"8 or 16 bits a channel, got floats or 32 bits in .*photo.tif; save it as 16-bit TIFF or PNG$"
    with pytest.raises(InputError, match=message):
        read_photo(tmp_path / "photo.tif")


@pytest.mark.parametrize("head", [b"\x76\x2f\x31\x01\2\0\0\0", b"#?RADIANCE\n", b"PF\n8 8\n-1\n"])
def test_other_float_formats_get_the_same(tmp_path, head):
    (tmp_path / "photo").write_bytes(head + bytes(99))
    with pytest.raises(InputError, match=r"got floats or 32 bits"):
        read_photo(tmp_path / "photo")


@pytest.mark.parametrize(
    ("name", "tags"), [("photo.tif", {50706: b"\1\4\0\0"}), ("photo.tif", {254: 1}), ("photo.NEF", {})]
)
def test_raw_files_of_cameras_are_refused(tmp_path, name, tags):
    Image.fromarray(smooth()).save(tmp_path / name, "TIFF", tiffinfo=tags)
    with pytest.raises(InputError, match=r"must be a developed photo, got a camera's raw file"):
        read_photo(tmp_path / name)


@pytest.mark.parametrize("head", [b"II*\0\x10\0\0\0CR", b"IIU\0", b"FUJIFILMCCD-RAW", b"\0\0\0\x18ftypcrx "])
def test_raw_files_are_told_by_their_content(tmp_path, head):
    (tmp_path / "photo").write_bytes(head + bytes(99))
    with pytest.raises(InputError, match=r"must be a developed photo, got a camera's raw file"):
        read_photo(tmp_path / "photo")


OTHERS = {
    "jpe": "JPEG",
    "jfif": "JPEG",
    "jp2": "JPEG2000",
    "ppm": "PPM",
    "tga": "TGA",
    "dds": "DDS",
    "pcx": "PCX",
}


@pytest.mark.parametrize("suffix", OTHERS)
def test_other_formats(tmp_path, suffix):
    read = save(tmp_path, Image.fromarray(smooth()), f"photo.{suffix}", format=OTHERS[suffix])
    assert np.abs(read.astype(int) - smooth()).mean() < 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("photo.webp", "holds 3 pictures: only"),
        ("photo.tif", "holds 3 pages: only"),
        ("photo.mpo", "holds 3 pictures: only"),
        ("photo.png", "holds 3 pictures: only"),
        ("photo.gif", "holds 3 pictures: only"),
    ],
)
def test_of_several_pictures_the_first_is_used_and_said(tmp_path, caplog, name, message):
    rest = [Image.fromarray(255 - smooth()), Image.fromarray(smooth()[::-1])]
    if name == "photo.tif":
        write_pages(tmp_path / name, [smooth(), 255 - smooth(), smooth()[::-1]])
    else:
        Image.fromarray(smooth()).save(tmp_path / name, save_all=True, append_images=rest)
    with caplog.at_level(logging.WARNING):
        read = read_photo(tmp_path / name)
    assert np.abs(read.astype(int) - smooth()).mean() < (20 if name == "photo.gif" else 5)
    assert message in caplog.text
    assert len(caplog.records) == 1


def write_pages(path, pages):
    assert cv2.imwritemulti(str(path), [page[..., ::-1] for page in pages])


def test_a_preview_within_a_photo_is_no_second_picture(tmp_path, caplog):
    Image.fromarray(smooth()).save(
        tmp_path / "photo.mpo", save_all=True, append_images=[Image.fromarray(smooth(20, 30))]
    )
    read_photo(tmp_path / "photo.mpo")
    assert not caplog.records


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((1_000_000, 1), r"longer side must be at most 100 times the shorter one, got 1000000x1"),
        ((30_000, 30_000), r"at most 213 megapixels, got 30000x30000 \(900 megapixels\).*; make it smaller"),
        ((60_000, 60_000), r"at most 213 megapixels"),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM"])
def test_a_photo_that_no_memory_holds_is_refused_by_its_header(tmp_path, kind, size, message):
    Image.fromarray(smooth()).save(tmp_path / "photo", kind)
    content = bytearray((tmp_path / "photo").read_bytes())
    if kind == "PPM":
        content = content.replace(b"60 40", b"%d %d" % size)
    else:
        start, order = {"PNG": (16, ">II"), "BMP": (18, "<II")}[kind]
        struct.pack_into(order, content, start, *size)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29])) if kind == "PNG" else content[29:33]
    (tmp_path / "photo").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_photo(tmp_path / "photo")


def test_pillows_own_limit_does_not_count(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.fromarray(smooth()).save(tmp_path / "photo.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "photo.png"), smooth())


def test_a_side_that_a_format_cannot_hold_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"a WEBP file must have at most 16383 px a side, got 20000x1.*write .png"
    ):
        write_photo(tmp_path / "photo.webp", np.zeros((1, 20000, 3), np.uint8))


def test_cmyk_is_converted(tmp_path):
    image = Image.fromarray(smooth()).convert("CMYK")
    assert save(tmp_path, image, "photo.tif").shape == (40, 60, 3)


def test_a_colour_profile_is_converted_to_srgb(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(smooth())
    assert np.abs(save(tmp_path, image, icc_profile=profile).astype(int) - smooth()).max() <= 1
    np.testing.assert_array_equal(save(tmp_path, image, icc_profile=b"broken"), smooth())


def test_writing_leaves_the_picture_as_it_was(tmp_path):
    image = deep()
    write_photo(tmp_path / "photo.png", image)
    np.testing.assert_array_equal(image, deep())
    image.flags.writeable = False
    write_photo(tmp_path / "photo.tif", image)
    np.testing.assert_array_equal(read_photo(tmp_path / "photo.tif"), deep())


def test_broken_tags_do_not_cost_the_picture(tmp_path, caplog):
    tags = b"Exif\0\0MM\0*" + struct.pack(">IHHHI", 8, 1, 0x0112, 3, 1 << 30)
    Image.fromarray(smooth()).save(tmp_path / "photo.png", exif=tags)
    np.testing.assert_array_equal(read_photo(tmp_path / "photo.png"), smooth())


def test_a_kind_that_pillow_does_not_know(tmp_path):
    header = b"P7\nWIDTH 60\nHEIGHT 40\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n"
    (tmp_path / "photo").write_bytes(header + smooth().tobytes())
    np.testing.assert_array_equal(read_photo(tmp_path / "photo"), smooth())


def test_a_kind_that_nothing_here_decodes_is_refused(tmp_path):
    (tmp_path / "photo.jxl").write_bytes(b"\xff\x0a" + bytes(99))
    with pytest.raises(InputError, match=r"must be a photo that .*photo.jxl"):
        read_photo(tmp_path / "photo.jxl")


def test_a_film_is_no_photo(make_video):
    with pytest.raises(InputError, match=r"which holds none"):
        read_photo(make_video(frames=2))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "bits"),
    [
        *(
            (kind, 8)
            for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "TGA", "DDS", "PCX", "SGI")
        ),
        *(("JPEG2000", 8), ("MPO", 8), ("PNG", 16), ("TIFF", 16), ("PPM", 16)),
    ],
)
def test_damaged_photos_give_one_error(tmp_path, kind, bits):
    path = tmp_path / "photo.tga"
    if bits == 16:
        suffix = {"PNG": ".png", "TIFF": ".tiff", "PPM": ".ppm"}[kind]
        content = cv2.imencode(suffix, deep())[1].tobytes()
    else:
        more = {"save_all": True, "append_images": [Image.fromarray(smooth())]} if kind == "MPO" else {}
        Image.fromarray(smooth()).save(path, kind, **more)
        content = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(30):
        damaged = bytearray(content)
        for position in rng.integers(
            0, min(len(content), rng.choice([64, 512, 1 << 20])), rng.integers(1, 5)
        ):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged[: rng.integers(1, len(damaged)) if rng.random() < 0.2 else None])
        try:
            assert read_photo(path).ndim == 3
        except InputError:
            continue


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "must be an existing file"), (b"", "which holds none"), (b"text" * 99, "which holds none")],
)
def test_what_is_no_photo_gets_a_clear_error(tmp_path, content, message):
    path = tmp_path / "photo.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_photo(path)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_photo_cut_short_gets_a_clear_error(tmp_path, suffix):
    path = tmp_path / f"photo{suffix}"
    write_photo(path, np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"decoded whole|which holds none"):
        read_photo(path)


def test_only_photo_formats_and_rgb_are_written(tmp_path):
    with pytest.raises(InputError, match=r"must end in one of \.png"):
        write_photo(tmp_path / "photo.gif", smooth())
    with pytest.raises(
        InputError, match=r"`image` must be uint8 or uint16 of shape \[H, W, 3\], got float64"
    ):
        write_photo(tmp_path / "photo.png", smooth() / 255)


def test_a_full_disk_gives_a_clear_error_and_leaves_nothing(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3)).astype(np.uint8)
        with pytest.raises(InputError, match=r"No space left on device.*free space"):
            write_photo(folder / "photo.png", noise)
        assert list(folder.iterdir()) == []
    finally:
        subprocess.run(["umount", str(folder)], check=True)
