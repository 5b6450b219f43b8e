"""Which encoder a video gets, and how it is told quality and speed."""

from __future__ import annotations

import logging

import av

from ..checks import InputError
from ..options import Option
from .containers import check_codec_fits
from .hdr import HdrMetadata
from .nvenc import MAX_SIDE, MIN_SIZE, is_nvenc, nvenc_options, why_not_nvenc

_LOGGER = logging.getLogger(__name__)

CODEC = Option(
    default="auto",
    choices=("auto", "libx264", "libx265", "nvenc", "av1", "vp9", "prores", "ffv1"),
    synonyms={
        "x264": "libx264",
        "x265": "libx265",
        "libsvtav1": "av1",
        "libvpx-vp9": "vp9",
        "prores_ks": "prores",
    },
    name="codec",
    other_name="encoder",
    advanced=True,
    help="Encoder. libx264: H.264, which plays everywhere up to 4096 px. libx265: HEVC, smaller files and "
    "more pixels, but not every browser plays it. auto: libx264 for 8 bits up to 4096x2304, else libx265; "
    "in .webm AV1. nvenc: the same by the NVENC of an NVIDIA card, which is fast; auto takes it, too, where "
    "the conversion runs on such a card. Where it cannot be used the others do the work. av1, vp9: in .webm, "
    ".mp4 and .mkv. prores: 422 HQ for editing, in .mov and .mkv. ffv1: lossless, in .mkv.",
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
_MIN_AV1_SIDE = 64  # px, of libsvtav1 before 4.0
_ENCODERS = {"av1": "libsvtav1", "vp9": "libvpx-vp9", "prores": "prores_ks"}
_HIGHEST_CRF = 63  # of AV1 and VP9
_ON_CARD = {
    "libx264": "h264_nvenc",
    "libx265": "hevc_nvenc",
    "libsvtav1": "av1_nvenc",
    "libvpx-vp9": "av1_nvenc",
}
_AV1_PRESETS = {  # by x264's name; 8 is libsvtav1's own default
    "ultrafast": "12",
    "superfast": "11",
    "veryfast": "10",
    "faster": "9",
    "fast": "8",
    "medium": "7",
    "slow": "6",
    "slower": "4",
    "veryslow": "3",
}
_VP9_SPEEDS = {  # likewise; above 5 is for live video alone
    "ultrafast": "5",
    "superfast": "5",
    "veryfast": "4",
    "faster": "4",
    "fast": "3",
    "medium": "2",
    "slow": "1",
    "slower": "1",
    "veryslow": "0",
}


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
    suffix: str = ".mp4",
) -> str:
    """Return FFmpeg's name of the encoder for a video.

    In .webm "auto" takes AV1, or VP9 where AV1 cannot be. Elsewhere it takes H.264 where players take it:
    8 bits, no side above 4096 px, and no more pixels than level 5.2 allows (36,864 blocks of 16x16 px:
    4096x2304, or 3072x3072). HEVC takes the rest, unless it is narrower or lower than libx265 can take.
    "nvenc" does the same on the card, and so does "auto" in a conversion on the card. Where NVENC cannot be
    used, which is tried by encoding a frame, the log says why.

    Args:
        width: Width of the video in pixels.
        height: Its height.
        codec: One of `CODEC`'s choices.
        bits: Bits of a component.
        hdr: Whether the metadata of HDR10 is to be written, which NVENC cannot be given.
        crf: Quality; 0 is lossless.
        cuda: Whether the conversion runs on an NVIDIA card.
        suffix: The file's, a key of `VIDEO_CONTAINERS`.

    Raises:
        InputError: If this FFmpeg lacks the encoder, the kind of file does not hold what it makes, or H.264
            is asked for a larger picture than its levels allow.
    """
    software = _software(width, height, bits, suffix)
    if codec not in ("auto", "nvenc"):
        return _check_given(codec, width, height, suffix)
    if codec == "auto" and not cuda:
        return software
    reason: str | None
    on_card = _ON_CARD[software]
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


def _software(width: int, height: int, bits: int, suffix: str) -> str:
    """Choose among the encoders that run anywhere."""
    if suffix == ".webm":
        takes_av1 = min(width, height) >= _MIN_AV1_SIDE and "libsvtav1" in av.codecs_available
        return "libsvtav1" if takes_av1 else "libvpx-vp9"
    tiny = width < MIN_HEVC_WIDTH or height < _MIN_HEVC_HEIGHT
    return "libx264" if (_fits_h264(width, height) and bits <= 8) or tiny else "libx265"


def _fits_h264(width: int, height: int) -> bool:
    """Tell whether players of H.264 take a size."""
    blocks = -(-width // 16) * -(-height // 16)
    return max(width, height) <= MAX_H264_SIDE and blocks <= _MAX_H264_BLOCKS


def _check_given(codec: str, width: int, height: int, suffix: str) -> str:
    """Check an encoder that the user names; returns FFmpeg's name of it."""
    encoder = _ENCODERS.get(codec, codec)
    if encoder not in av.codecs_available:
        have = [name for name in CODEC.list_choices() if _ENCODERS.get(name, name) in av.codecs_available]
        raise InputError(
            f"codec must be one that this build of FFmpeg has ({', '.join(have)}), got {codec}; choose one "
            "of these or install PyAV from PyPI, which has all"
        )
    check_codec_fits(encoder, suffix)
    if encoder == "libx264" and not _fits_h264(width, height):
        raise InputError(
            f"libx264 must be given at most {MAX_H264_SIDE} px a side and {_MAX_H264_BLOCKS:,} blocks of "
            f"16x16 px, more than which few players take as H.264, got {width}x{height}; choose libx265 "
            "(HEVC) or auto, or a half format"
        )
    return encoder


def list_encoders() -> dict[str, str]:
    """Tell of each of FFmpeg's encoders that a codec stands for whether it works here, by its name."""
    states = {}
    usual = (("libx264", 8), ("libx265", 10), ("h264_nvenc", 8), ("hevc_nvenc", 10))
    others = (("libsvtav1", 10), ("av1_nvenc", 10), ("libvpx-vp9", 8), ("prores_ks", 10), ("ffv1", 8))
    for codec, bits in (*usual, *others):
        if is_nvenc(codec):
            reason = why_not_nvenc(codec, choose_pixel_format(codec, bits), crf=CRF.default)
        else:
            reason = None if codec in av.codecs_available else "FFmpeg lacks it"
        states[codec] = "available" if reason is None else f"cannot be used ({reason})"
    return states


def choose_pixel_format(codec: str, bits: int) -> str:
    """Choose 4:2:0 of 10 bits for deeper sources if the encoder takes it, else of 8 bits.

    ProRes is 4:2:2 of 10 bits whatever the source is.

    Args:
        codec: FFmpeg's name of the encoder.
        bits: Bits of a component in the source.
    """
    if codec not in av.codecs_available:  # it is refused when the file is opened
        return "yuv420p"
    taken = {format.name for format in av.codec.Codec(codec, "w").video_formats or ()}
    if bits <= 8 and ("yuv420p" in taken or not taken):
        return "yuv420p"
    for pixel_format in ("yuv420p10le", "p010le", "yuv422p10le"):
        if pixel_format in taken:
            return pixel_format
    if bits > 8:
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
        # Its note about itself names the number of threads, by which parts of other machines would differ.
        return {"crf": f"{crf:g}", "preset": preset, "x265-params": "log-level=error:info=0"}
    if codec == "libsvtav1":
        lossless = {"svtav1-params": "lossless=1"} if crf == 0 else {}
        return {"crf": _stretched(crf), "preset": _AV1_PRESETS.get(preset, preset), **lossless}
    if codec == "libvpx-vp9":
        speed = {"deadline": "good", "cpu-used": _VP9_SPEEDS.get(preset, preset), "row-mt": "1"}
        return {"lossless": "1", **speed} if crf == 0 else {"crf": _stretched(crf), "b": "0", **speed}
    if codec == "prores_ks":
        return {"profile": "4444" if pixel_format.startswith("yuv444") else "hq", "vendor": "apl0"}
    if codec == "ffv1":
        return {"level": "3", "g": "1", "slicecrc": "1"}  # each frame by itself, with sums that show damage
    return {}


def _stretched(crf: float) -> str:
    """Return a quality from 0 to 51 on the scale from 0 to 63, which is a convention, not a measurement."""
    return f"{round(crf * _HIGHEST_CRF / (CRF.high or 51))}"
