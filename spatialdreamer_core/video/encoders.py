"""Which encoder a video gets, and what encoders take."""

from __future__ import annotations

from ..options import Option

CODEC = Option(
    default="auto",
    choices=("auto", "libx264", "libx265"),
    name="codec",
    advanced=True,
    help="Encoder. libx264: H.264, which plays everywhere up to 4096 px. libx265: HEVC, smaller files and "
    "more pixels, but not every browser plays it. auto: libx264 for 8 bits up to 4096x2304, else libx265.",
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


def choose_encoder(width: int, height: int, *, codec: str = CODEC.default, bits: int = 8) -> str:
    """Return the encoder for a video.

    "auto" takes H.264 where players take it: 8 bits, no side above 4096 px, and no more pixels than level 5.2
    allows (36,864 blocks of 16x16 px: 4096x2304, or 3072x3072). HEVC takes the rest, unless it is narrower or
    lower than libx265 can take.

    Args:
        width: Width of the video in pixels.
        height: Its height.
        codec: One of `CODEC`'s choices.
        bits: Bits of a component.
    """
    if codec != "auto":
        return codec
    blocks = -(-width // 16) * -(-height // 16)
    fits = max(width, height) <= MAX_H264_SIDE and blocks <= _MAX_H264_BLOCKS
    tiny = width < MIN_HEVC_WIDTH or height < _MIN_HEVC_HEIGHT
    return "libx264" if (fits and bits <= 8) or tiny else "libx265"
