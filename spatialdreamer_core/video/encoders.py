"""Which encoder a video gets: the software's x264 or x265, or NVENC on the card, by one rule."""

from __future__ import annotations

import logging

import av

from ..options import Option
from .hdr import HdrMetadata
from .nvenc import MAX_SIDE, MIN_SIZE, is_nvenc, nvenc_options, why_not_nvenc

_LOGGER = logging.getLogger(__name__)

CODEC = Option(
    default="auto",
    choices=("auto", "libx264", "libx265", "nvenc"),
    synonyms={"x264": "libx264", "x265": "libx265"},
    name="codec",
    other_name="encoder",
    advanced=True,
    help="Encoder. libx264: H.264, which plays everywhere up to 4096 px. libx265: HEVC, smaller files and "
    "more pixels, but not every browser plays it. auto: libx264 for 8 bits up to 4096x2304, else libx265. "
    "nvenc: H.264 or HEVC by the same rule, made by the NVENC of an NVIDIA card, which is fast; auto takes "
    "it, too, where the conversion runs on such a card. Where it cannot be used the others do the work.",
)
CRF = Option(
    default=18,
    low=0,
    high=51,
    name="crf",
    kind=int,
    metavar="CRF",
    help="Quality of the encoded video as constant rate factor: lower is better and larger, 0 is lossless. "
    "18 is visually lossless.",
)
PRESET = Option(
    default="veryfast",
    choices=("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"),
    name="preset",
    advanced=True,
    help="Speed of the encoder: slower makes smaller files.",
)
MAX_H264_SIDE = 4096  # px; many players refuse wider or higher H.264
MIN_HEVC_WIDTH = 64  # px; libx265 writes beyond its memory at 34 to 48 px of 10 bits
_MAX_H264_BLOCKS = 36_864  # of 16x16 px: the largest picture of level 5.2, 4096x2304
_MIN_HEVC_HEIGHT = 16  # px, of libx265


def check_encoding(*, codec: str, crf: int, preset: str) -> None:
    """Check the settings of an encoder.

    Args:
        codec: One of `CODEC`'s choices.
        crf: Quality, 0 (lossless) to 51 (worst).
        preset: Speed of the encoder, one of `PRESET`'s choices.

    Raises:
        InputError: For the first one that breaks its rule.
    """
    CODEC.check(codec)
    PRESET.check(preset)
    CRF.check(crf)


def choose_encoder(
    width: int,
    height: int,
    *,
    codec: str = CODEC.default,
    bits: int = 8,
    hdr: bool = False,
    crf: float = CRF.default,
    cuda: bool = False,
) -> str:
    """Return FFmpeg's name of the encoder for a video.

    "auto" takes H.264 where players take it: 8 bits, no side above 4096 px, and no more pixels than level 5.2
    allows (36,864 blocks of 16x16 px: 4096x2304, or 3072x3072). HEVC takes the rest, unless it is narrower or
    lower than libx265 can take. "nvenc" does the same on the card, and so does "auto" in a conversion on the
    card. Where NVENC cannot be used, which is tried by encoding a frame, the log says why.

    Args:
        width: Width of the video in pixels.
        height: Its height.
        codec: One of `CODEC`'s choices.
        bits: Bits of a component.
        hdr: Whether the metadata of HDR10 is to be written, which NVENC cannot be given.
        crf: Quality; 0 is lossless.
        cuda: Whether the conversion runs on an NVIDIA card.
    """
    if codec not in ("auto", "nvenc"):
        return codec
    blocks = -(-width // 16) * -(-height // 16)
    fits = max(width, height) <= MAX_H264_SIDE and blocks <= _MAX_H264_BLOCKS
    tiny = width < MIN_HEVC_WIDTH or height < _MIN_HEVC_HEIGHT
    software = "libx264" if (fits and bits <= 8) or tiny else "libx265"
    if codec == "auto" and not cuda:
        return software
    reason: str | None
    on_card = "h264_nvenc" if software == "libx264" else "hevc_nvenc"
    if hdr:
        reason = "it cannot be given the metadata of HDR10"
    elif width < MIN_SIZE[0] or height < MIN_SIZE[1] or max(width, height) > MAX_SIDE:
        least = "x".join(map(str, MIN_SIZE))
        reason = f"it takes {least} to {MAX_SIDE}x{MAX_SIDE} px, and this is {width}x{height}"
    else:
        reason = why_not_nvenc(on_card, choose_pixel_format(on_card, bits), crf=crf)
    if reason is None:
        return on_card
    _LOGGER.log(
        logging.WARNING if codec == "nvenc" else logging.INFO,
        "encoder: %s, since NVENC cannot be used here: %s",
        software,
        reason,
    )
    return software


def list_encoders() -> dict[str, str]:
    """Tell of each of FFmpeg's encoders that "auto" may take whether it works here, by its name."""
    states = {}
    for codec, bits in (("libx264", 8), ("libx265", 10), ("h264_nvenc", 8), ("hevc_nvenc", 10)):
        if is_nvenc(codec):
            reason = why_not_nvenc(codec, choose_pixel_format(codec, bits), crf=CRF.default)
        else:
            reason = None if codec in av.codecs_available else "FFmpeg lacks it"
        states[codec] = "available" if reason is None else f"cannot be used ({reason})"
    return states


def choose_pixel_format(codec: str, bits: int) -> str:
    """Choose 4:2:0 of 10 bits for deeper sources if the encoder takes it, else of 8 bits.

    Args:
        codec: FFmpeg's name of the encoder.
        bits: Bits of a component in the source.
    """
    if bits <= 8 or codec not in av.codecs_available:  # an unknown codec is refused when the file is opened
        return "yuv420p"
    taken = {format.name for format in av.codec.Codec(codec, "w").video_formats or ()}
    for pixel_format in ("yuv420p10le", "p010le", "yuv422p10le"):
        if pixel_format in taken:
            return pixel_format
    _LOGGER.warning("%s takes 8 bits a component only; the source's %d are reduced", codec, bits)
    return "yuv420p"


def full_colour_format(codec: str, bits: int) -> str | None:
    """Choose a pixel format in which each pixel has its own colour, or None if the encoder takes none.

    Args:
        codec: FFmpeg's name of the encoder.
        bits: Bits of a component in the source.
    """
    if codec not in av.codecs_available:
        return None
    taken = {format.name for format in av.codec.Codec(codec, "w").video_formats or ()}
    deep = ("yuv444p10le", "yuv444p16le")
    wanted = ("yuv444p", *deep) if bits <= 8 else (*deep, "yuv444p")
    chosen = next((pixel_format for pixel_format in wanted if pixel_format in taken), None)
    if chosen is None:
        _LOGGER.warning("%s takes colours at half resolution only, which mixes those of the two eyes", codec)
    return chosen


def encoder_options(
    codec: str, pixel_format: str, *, crf: float, preset: str, hdr: HdrMetadata | None
) -> dict[str, str]:
    """Translate quality, speed and the metadata of HDR into an encoder's own options.

    Args:
        codec: FFmpeg's name of the encoder.
        pixel_format: What it is given.
        crf: Constant quality.
        preset: Speed, by x264's names.
        hdr: The metadata, or None.
    """
    options = _quality_options(codec, pixel_format, crf, preset)
    for name, value in (hdr.encoder_options(codec) if hdr else {}).items():
        options[name] = f"{options[name]}:{value}" if name in options else value
    return options


def _quality_options(codec: str, pixel_format: str, crf: float, preset: str) -> dict[str, str]:
    """Translate quality and speed into an encoder's own options."""
    if is_nvenc(codec):
        return nvenc_options(codec, pixel_format, crf=crf, preset=preset)
    if codec == "libx264":
        return {"crf": f"{crf:g}", "preset": preset}
    if codec == "libx265":
        return {"crf": f"{crf:g}", "preset": preset, "x265-params": "log-level=error"}
    if codec in ("libsvtav1", "libvpx-vp9"):
        return {"crf": f"{crf:g}"}
    return {}
