"""Read and write photos as RGB of 8 or 16 bits.

Pillow decodes what it knows, FFmpeg's decoders the rest. Pillow brings 16-bit colour down to 8 bits, so
OpenCV decodes that; what it gives is used only if its upper bytes are what Pillow sees, which tells of any
turned picture or swapped channel.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import struct
import warnings
import zlib
from collections.abc import Collection, Generator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import cv2
import numpy as np
from PIL import Image, ImageCms, ImageFile
from PIL.PngImagePlugin import PngInfo

from ..atomic import write_error
from ..checks import InputError, one_line
from ..parsing import parsing
from .color import ColorInfo, to_8_bit
from .heif import read_heif
from .icc import srgb_transform, to_srgb
from .limits import MAX_PHOTO_BYTES, check_photo_size
from .output import OutputFile
from .photo_kind import FILM, photo_kind
from .reader import VideoFrame
from .still import still_to_rgb

_LOGGER = logging.getLogger(__name__)

WRITABLE_PHOTO_SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_SAVE_OPTIONS: dict[str, dict[str, int | str]] = {
    "PNG": {"compress_level": 4},
    "JPEG": {"quality": 95, "subsampling": 0},  # full colour resolution: anaglyphs need it
    "WEBP": {"quality": 95, "method": 4},
    "TIFF": {"compression": "tiff_lzw"},
}
_SAVE_OPTIONS_16_BIT = {
    "PNG": (".png", [cv2.IMWRITE_PNG_COMPRESSION, 4]),
    "TIFF": (".tiff", [cv2.IMWRITE_TIFF_COMPRESSION, 5]),  # LZW
}
_LONGEST_SIDE = {  # px that the format or its library takes
    **dict.fromkeys(("JPEG", "MPO", "JPS"), 65500),
    "WEBP": 16383,
    "GIF": 65535,
}

_PNG_HEAD = 33  # bytes of the signature and the first chunk
_STRIP_PIXELS = 1 << 22  # a picture is brought to RGB in strips of about this many pixels
_ORIENTATION = 0x0112
_TIFF_SUBFILE, _TIFF_BITS, _TIFF_SAMPLE_FORMAT, _DNG_VERSION = 254, 258, 339, 50706
_FFMPEG_FORMATS = {"JXL": "jpegxl_pipe", "PAM": "pam_pipe"}  # kinds that Pillow does not know
_FLOAT_KINDS = ("EXR", "HDR", "PFM")
_DEEP_KINDS = ("PNG", "TIFF", "PPM", "JPEG2000")  # those that OpenCV decodes in 16 bits
_Pixels = np.ndarray  # [H, W, 3] uint8 or uint16 RGB


def read_photo(path: str | Path) -> _Pixels:
    """Read a photo, turned upright as its tags say, in sRGB.

    Transparent pixels are composited over black, grey is repeated in three channels, and a colour profile
    other than sRGB is converted. 16 bits stay 16 bits but where such a profile is to be converted. Of several
    pictures in a file the first one is read, which is said in one line.

    Returns:
        RGB, uint16 for a photo of more than 8 bits, else uint8.

    Raises:
        InputError: If the file is missing, a folder, too large, or no photo that can be decoded whole.
    """
    path = Path(path)
    if os.path.isdir(path):
        raise InputError(f"input must be a photo, got the folder {path}; give one file in it")
    if not os.path.exists(path):
        raise InputError(f"input must be an existing file, got {path}; check the name")
    kind = photo_kind(path)
    if kind in (None, FILM):
        raise InputError(
            f"input must be a photo (PNG, JPEG, WebP, TIFF, AVIF, HEIC and the like), got {path}, which "
            "holds none; choose another file"
        )
    if kind in _FLOAT_KINDS:
        raise _float_error(path)
    if kind == "RAW":
        raise _raw_error(path)
    with parsing(
        path, rule="input must be a photo that can be decoded whole", remedy="copy or download it again"
    ):
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's doubts about tags, two lines each
            if kind == "HEIF":
                return to_srgb(*read_heif(file, path), path)
            if kind in _FFMPEG_FORMATS:
                return _read_with_ffmpeg(file, path, _FFMPEG_FORMATS[kind])
            return _read_with_pillow(file, path, kind)


def read_photo_as_film(path: str | Path) -> Generator[VideoFrame, None, None]:
    """Read a photo as a film of one frame."""
    yield VideoFrame(read_photo(path), 0, Fraction(1, 1))


def check_photo_target(path: Path, height: int, width: int) -> None:
    """Check, before any work, that a photo's format holds a picture of a size.

    Raises:
        InputError: If a side is too long for it.
    """
    suffix = path.suffix.lower()
    kind = WRITABLE_PHOTO_SUFFIXES.get(suffix, suffix[1:].upper())
    longest = _LONGEST_SIDE.get(kind, 2**31 - 1)
    if max(width, height) > longest:
        raise InputError(
            f"a {kind} file must have at most {longest} px a side, got {width}x{height} for {path.name}; "
            "write .png or .tif"
        )


def write_photo(
    path: str | Path,
    image: np.ndarray,  # [H, W, 3] uint8 or uint16 RGB
    *,
    overwrite: bool = False,
    inputs: Collection[str | Path] = (),
) -> None:
    """Write a photo in the format of its suffix (a key of `WRITABLE_PHOTO_SUFFIXES`); it is whole or absent.

    PNG and TIFF keep 16 bits; JPEG and WebP have 8, to which values are rounded.

    Args:
        path: The file to be written.
        image: The picture.
        overwrite: Whether an existing file may be replaced.
        inputs: Files and folders that it was made from, and so must not be.

    Raises:
        InputError: If the file exists, is an input or cannot be written, or the image is no RGB of 8 or 16
            bits or too large.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype not in (np.uint8, np.uint16) or 0 in image.shape:
        raise InputError(
            f"`image` must be uint8 or uint16 of shape [H, W, 3], got {image.dtype} {list(image.shape)}"
        )
    with OutputFile(path, suffixes=WRITABLE_PHOTO_SUFFIXES, overwrite=overwrite, inputs=inputs) as output:
        check_photo_target(output.path, *image.shape[:2])
        save_photo(output.partial, image, suffix=output.path.suffix)
        output.commit()


def save_photo(
    path: Path,
    image: np.ndarray,  # [H, W, 3] uint8 or uint16 RGB
    *,
    suffix: str,
    metadata: Mapping[str, str] | None = None,
    chunks: Mapping[str, bytes] | None = None,
) -> None:
    """Write a photo into a temporary file, in the format of a suffix.

    Args:
        path: The file.
        image: The photo.
        suffix: Tells the format.
        metadata: Texts by name, which PNG of 8 bits keeps.
        chunks: Chunks of a PNG by name, for before its picture; other kinds leave them out.

    Raises:
        InputError: If the file cannot be written.
    """
    try:
        _save(image, path, WRITABLE_PHOTO_SUFFIXES[suffix.lower()], metadata or {}, chunks or {})
    except OSError as error:
        raise write_error(path, error) from error


def _save(
    image: np.ndarray, path: Path, kind: str, metadata: Mapping[str, str], chunks: Mapping[str, bytes]
) -> None:
    """Encode a photo into a file."""
    if image.dtype == np.uint8 or kind not in _SAVE_OPTIONS_16_BIT:
        options: dict[str, Any] = dict(_SAVE_OPTIONS[kind])
        if kind == "PNG":
            options["pnginfo"] = PngInfo()
            for name, text in metadata.items():
                options["pnginfo"].add_text(name, text)
        picture = Image.fromarray(to_8_bit(image, None))
        if kind == "PNG" and chunks:  # Pillow leaves out those that it does not know
            buffer = io.BytesIO()
            picture.save(buffer, format=kind, **options)
            _write_png(path, buffer.getbuffer(), chunks)
        else:
            picture.save(path, format=kind, **options)
        return
    suffix, flags = _SAVE_OPTIONS_16_BIT[kind]
    image = np.require(image, requirements=["C", "W"])
    _swap_red_and_blue(image)
    try:
        encoded = cv2.imencode(suffix, image, flags)[1]
    finally:
        _swap_red_and_blue(image)
    if kind == "PNG":
        _write_png(path, memoryview(encoded), chunks)
    else:
        path.write_bytes(memoryview(encoded))


def _write_png(path: Path, encoded: memoryview, chunks: Mapping[str, bytes]) -> None:
    """Write an encoded PNG with more chunks behind its first one."""
    with open(path, "wb") as file:
        file.write(encoded[:_PNG_HEAD])
        for name, content in chunks.items():
            named = name.encode() + content
            file.write(struct.pack(">I", len(content)) + named + struct.pack(">I", zlib.crc32(named)))
        file.write(encoded[_PNG_HEAD:])


def _swap_red_and_blue(image: np.ndarray) -> None:
    """Change between RGB and BGR in place: a copy of a large photo would not fit beside its encoded bytes."""
    rows = max(1, _STRIP_PIXELS // image.shape[1])
    for top in range(0, len(image), rows):
        image[top : top + rows] = image[top : top + rows, :, ::-1].copy()


def _read_with_pillow(file: BinaryIO, path: Path, kind: str) -> _Pixels:
    """Decode a photo with Pillow's plugin of one kind, and with OpenCV if it has 16 bits of colour.

    The plugin is asked directly: `Image.open` would warn of, or refuse, what our own limits allow.
    """
    if kind not in Image.OPEN:
        Image.init()
    if kind not in Image.OPEN:
        raise InputError(f"Pillow must read {kind} files for {path}, got an older one; upgrade Pillow")
    with Image.OPEN[kind][0](file, str(path)) as image:
        bits = _bits(image, file, kind, path)
        check_photo_size(image.width, image.height, path, bits=bits)
        image.load()
        profile = image.info.get("icc_profile")
        if image.mode.startswith("I"):  # 16-bit grey
            pixels = _upright(_grey(image, bits), image)
        elif bits > 8 and image.mode != "CMYK":
            pixels = _upright(_to_rgb(image), image)
            pixels = to_srgb(_deepen(pixels, file, image, path), profile, path)
        else:
            pixels = _upright(_to_rgb(image, _srgb_transform(image, profile, path)), image)
        _say_if_first_of_several(image, path)
        return pixels


def _bits(image: ImageFile.ImageFile, file: BinaryIO, kind: str, path: Path) -> int:
    """Tell how many bits a channel has, before anything is decoded."""
    if image.mode == "F":
        raise _float_error(path)
    if kind == "PNG":
        file.seek(24)
        return file.read(1)[0]
    if kind == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        if _DNG_VERSION in tags or int(tags.get(_TIFF_SUBFILE, 0)) & 1:  # the first picture is a thumbnail
            raise _raw_error(path)
        bits = max(tags.get(_TIFF_BITS, (1,)))
        if bits > 16 or 3 in tags.get(_TIFF_SAMPLE_FORMAT, (1,)):
            raise _float_error(path)
        return int(bits)
    if kind == "JPEG2000":
        file.seek(0)
        head = file.read(1 << 16)
        marker = head.find(b"\xff\x51\0")
        return (head[marker + 40] & 0x7F) + 1 if 0 <= marker < len(head) - 40 else 8
    if kind == "PPM" and image.tile:
        maximum = image.tile[0][3]
        return 16 if isinstance(maximum, tuple) and int(maximum[-1]) > 255 else 8
    return 16 if image.mode.startswith("I") else 8


def _to_rgb(image: Image.Image, transform: ImageCms.ImageCmsTransform | None = None) -> _Pixels:
    """Convert any mode to 8-bit RGB, a strip at a time: a large photo's modes would not fit side by side."""
    width, height = image.size
    rgb = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        rgb[top : top + rows] = np.asarray(_strip_to_rgb(strip, transform))
    return rgb


def _strip_to_rgb(image: Image.Image, transform: ImageCms.ImageCmsTransform | None) -> Image.Image:
    """Convert a part of a photo to RGB, transparency over black."""
    if image.mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode == "P":
        image = image.convert("RGB")
    if transform is not None and image.mode in ("RGB", "RGBA", "CMYK"):
        image = ImageCms.applyTransform(image, transform) or image
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image.convert("RGB")


def _srgb_transform(
    image: Image.Image, profile: bytes | None, path: Path
) -> ImageCms.ImageCmsTransform | None:
    """Make the conversion to sRGB for the mode that `_strip_to_rgb` brings an image to first."""
    mode = "RGB" if image.mode == "P" else image.mode
    if image.mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info:
        mode = "RGBA"
    return None if image.mode in ("L", "LA", "La", "1") else srgb_transform(profile, mode, path)


def _grey(image: Image.Image, bits: int) -> _Pixels:
    """Repeat 16-bit grey in three channels."""
    values = np.asarray(image)
    if values.dtype != np.uint16:
        values = values.clip(0, 65535).astype(np.uint16)
    if image.format == "TIFF" and 8 < bits < 16:
        values = (values.astype(np.uint32) * 65535 // ((1 << bits) - 1)).clip(0, 65535).astype(np.uint16)
    return np.repeat(values[..., None], 3, axis=-1)


def _deepen(pixels: _Pixels, file: BinaryIO, image: ImageFile.ImageFile, path: Path) -> _Pixels:
    """Decode the same photo in 16 bits; what Pillow decoded, 8 bits upright, tells whether it is the same."""
    if image.format in _DEEP_KINDS:
        file.seek(0)
        with contextlib.suppress(cv2.error):
            decoded = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
            if decoded is not None and decoded.dtype == np.uint16:
                deep = _deep_to_rgb(decoded)
                for turned in (deep, _upright(deep, image)):
                    if _is_the_same(turned, pixels):
                        return np.ascontiguousarray(turned)
    if image.format == "JPEG2000":
        raise ValueError("its 16 bits cannot be decoded here")
    _LOGGER.warning("%s: its 16 bits are reduced to 8, which is all that can be decoded of its kind", path)
    return pixels


def _deep_to_rgb(decoded: np.ndarray) -> _Pixels:
    """Bring what OpenCV decodes to RGB, transparency over black."""
    if decoded.ndim == 2:
        return np.repeat(decoded[..., None], 3, axis=-1)
    rgb = cv2.cvtColor(np.ascontiguousarray(decoded[..., :3]), cv2.COLOR_BGR2RGB)
    if decoded.shape[2] == 4:
        rows = max(1, _STRIP_PIXELS // rgb.shape[1])
        for top in range(0, len(rgb), rows):
            part, alpha = rgb[top : top + rows], decoded[top : top + rows, :, 3:].astype(np.float32) / 65535
            part[:] = np.rint(part * alpha)
    return rgb


def _is_the_same(deep: _Pixels, pixels: _Pixels) -> bool:
    """Tell whether two decoders saw the same photo, by a part of its rows; the lower one rounds or cuts."""
    if deep.shape != pixels.shape:
        return False
    step = max(1, len(deep) // 64)
    upper = (deep[::step] >> 8).astype(np.uint8)
    difference = (upper - pixels[::step]).view(np.int8)  # modulo 256: Pillow's JPEG 2000 wraps white to black
    return bool(np.abs(difference.astype(np.int16)).max() <= 2)


def _upright(pixels: _Pixels, image: Image.Image) -> _Pixels:
    """Turn and mirror as the EXIF tag says, which Pillow has removed where it did so itself."""
    try:
        orientation = int(image.getexif().get(_ORIENTATION, 1))
    except Exception as error:  # whatever Pillow raises on broken tags, the picture is whole
        _LOGGER.warning("%s: its EXIF tags are ignored (%s)", image.filename, one_line(error))  # type: ignore[attr-defined]
        return pixels
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _say_if_first_of_several(image: ImageFile.ImageFile, path: Path) -> None:
    """Log that a file holds more than one picture; a JPEG's smaller ones are previews or gain maps."""
    size = image.size
    try:
        count = getattr(image, "n_frames", 1)
        if count < 2:
            return
        if image.format == "MPO":
            image.seek(1)
            if image.size != size:
                return
    except Exception:  # what follows the first picture may be damaged
        return
    what = "pages" if image.format == "TIFF" else "pictures"
    pair = ", perhaps a stereo pair" if image.format == "MPO" and count == 2 else ""
    _LOGGER.warning("%s holds %d %s%s: only the first one is used", path, count, what, pair)


def _read_with_ffmpeg(file: BinaryIO, path: Path, format: str) -> _Pixels:
    """Decode a photo of a kind that Pillow does not know, if FFmpeg has a decoder for it."""
    with av.open(file, format=format, metadata_errors="replace") as container:
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise InputError(
                f"input must be a photo that this installation decodes, got {path}; save it as PNG or JPEG"
            )
        if stream.codec_context.width:
            check_photo_size(stream.codec_context.width, stream.codec_context.height, path)
        stream.codec_context.options = {"max_pixels": str(MAX_PHOTO_BYTES // 3)}
        frame = next(container.decode(stream))
        return still_to_rgb(frame, ColorInfo.of_frame(frame, stream.codec_context))


def _raw_error(path: Path) -> InputError:
    """Make the error for what only a raw converter reads whole."""
    return InputError(
        f"input must be a developed photo, got a camera's raw file or a thumbnail in {path}; "
        "save it as 16-bit TIFF or PNG"
    )


def _float_error(path: Path) -> InputError:
    """Make the error for what has no range that is known."""
    return InputError(
        f"input must be a photo of 8 or 16 bits a channel, got floats or 32 bits in {path}; "
        "save it as 16-bit TIFF or PNG"
    )
