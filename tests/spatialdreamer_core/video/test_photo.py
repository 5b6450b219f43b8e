from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image, ImageCms

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.video import is_photo, read_photo, write_photo


def smooth(height=40, width=60):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([4 * x, 5 * y, 255 - 4 * x], axis=-1).astype(np.uint8)


def test_photos_are_told_by_their_suffix():
    assert all(is_photo(name) for name in ("a.png", "b.JPG", "c.jpeg", "d.webp", "e.tif", "f.TIFF", "g.bmp"))
    assert not any(is_photo(name) for name in ("a.mp4", "b.gif", "c", "png"))


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


def test_sixteen_bits_are_reduced_to_eight(tmp_path):
    grey = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    read = save(tmp_path, Image.fromarray(grey))
    np.testing.assert_array_equal(read[0, :, 0], np.arange(256))


def test_cmyk_is_converted(tmp_path):
    image = Image.fromarray(smooth()).convert("CMYK")
    assert save(tmp_path, image, "photo.tif").shape == (40, 60, 3)


def test_a_colour_profile_is_converted_to_srgb(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(smooth())
    assert np.abs(save(tmp_path, image, icc_profile=profile).astype(int) - smooth()).max() <= 1
    np.testing.assert_array_equal(save(tmp_path, image, icc_profile=b"broken"), smooth())


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
    with pytest.raises(InputError, match=r"`image` must be uint8 of shape \[H, W, 3\], got float64"):
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
