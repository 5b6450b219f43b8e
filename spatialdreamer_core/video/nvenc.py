"""NVENC, the video encoder of NVIDIA's cards: whether it is there, and how x264's settings are said to it.

FFmpeg lists NVENC's encoders on every machine, and a card may lack one of them, B-frames or 10 bits, or have
no session free. So the only answer that counts is that of a frame which is really encoded.

`crf` becomes NVENC's target quality `cq`, which counts quantisers from 0 to 51 as `crf` does, one step up:
what x264 calls visually lossless at 18 is commonly given as 19 for NVENC. That is a convention, not a
measurement: at the same number NVENC's files are larger than those of x264's slower presets.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from fractions import Fraction

import av

_LOGGER = logging.getLogger(__name__)

MIN_SIZE = (160, 64)  # px: H.264 starts at 145x49 on the card that takes least, HEVC below
MAX_SIDE = 8192  # px, of HEVC; cards before 2016 take 4096
_STEPS_ABOVE_CRF = 1
_PRESETS = {  # by x264's name; p4 is NVENC's own default, and even p7 outruns a conversion on most cards
    "ultrafast": "p1",
    "superfast": "p2",
    "veryfast": "p4",
    "faster": "p4",
    "fast": "p5",
    "medium": "p5",
    "slow": "p6",
    "slower": "p7",
    "veryslow": "p7",
}
_EXTRAS = (  # the best that a card may take first: before Turing HEVC has no B-frames
    {"bf": "2", "b_ref_mode": "middle"},
    {"bf": "2", "b_ref_mode": "disabled"},
    {"bf": "0"},
)
_PROBED_SIZE = (320, 192)  # px


def is_nvenc(codec: str) -> bool:
    """Tell whether FFmpeg's name of an encoder is one of NVENC's."""
    return codec.endswith("_nvenc")


def nvenc_options(codec: str, pixel_format: str, *, crf: float, preset: str) -> dict[str, str]:
    """Return the options of an NVENC encoder.

    Args:
        codec: h264_nvenc, hevc_nvenc or av1_nvenc.
        pixel_format: What it is given.
        crf: Quality as x264's; 0 is lossless.
        preset: Speed as x264's name of it; another text is taken as NVENC's own.
    """
    options = {"preset": _PRESETS.get(preset, preset)}
    if codec == "h264_nvenc" and crf and pixel_format in ("yuv420p", "nv12"):
        options["profile"] = "high"  # FFmpeg's default is main
    if crf == 0:
        return {**options, "tune": "lossless", "rc": "constqp", "qp": "0", "bf": "0"}
    options |= {"rc": "vbr", "cq": f"{min(51, crf + _STEPS_ABOVE_CRF):g}", "b": "0", "spatial-aq": "1"}
    return {**options, **(_accepted_extras(codec, pixel_format) or {})}


def why_not_nvenc(codec: str, pixel_format: str, *, crf: float) -> str | None:
    """Tell why an NVENC encoder cannot be used in this process, or None if it can.

    Args:
        codec: Its name.
        pixel_format: What it would be given.
        crf: Quality as x264's; lossless needs more of a card than the others.
    """
    if crf == 0:
        return _encode_lossless(codec, pixel_format)
    return None if _accepted_extras(codec, pixel_format) is not None else _encode_plainly(codec, pixel_format)


@functools.cache
def _accepted_extras(codec: str, pixel_format: str) -> Mapping[str, str] | None:
    """Return the options about B-frames that the card takes; None if it takes nothing at all."""
    return next((extras for extras in _EXTRAS if _try_encoding(codec, pixel_format, extras) is None), None)


@functools.cache
def _encode_plainly(codec: str, pixel_format: str) -> str | None:
    """Encode a frame without B-frames; returns what went wrong, or None."""
    return _try_encoding(codec, pixel_format, _EXTRAS[-1])


@functools.cache
def _encode_lossless(codec: str, pixel_format: str) -> str | None:
    """Encode a frame without loss; returns what went wrong, or None."""
    return _try_encoding(codec, pixel_format, nvenc_options(codec, pixel_format, crf=0, preset="veryfast"))


def _try_encoding(codec: str, pixel_format: str, options: Mapping[str, str]) -> str | None:
    """Encode a small grey frame with an encoder; returns what went wrong, or None."""
    try:
        with av.logging.Capture():  # FFmpeg's lines are of no use where there is simply no card
            context = av.CodecContext.create(codec, "w")
            assert isinstance(context, av.VideoCodecContext), codec
            context.width, context.height = _PROBED_SIZE
            context.pix_fmt, context.time_base = pixel_format, Fraction(1, 25)
            context.options = dict(options)
            frame = av.VideoFrame(*_PROBED_SIZE, pixel_format)
            for plane in frame.planes:
                plane.update(bytes([128]) * plane.buffer_size)
            frame.pts = 0
            if any(packet.size for packet in [*context.encode(frame), *context.encode(None)]):
                return None
            return "it gave no packet"
    except Exception as error:  # whatever it is, another encoder can do the work
        _LOGGER.debug("%s does not take %s with %s", codec, pixel_format, options, exc_info=True)
        return getattr(error, "strerror", None) or " ".join(str(error).split())
