"""Which kinds of files a video can be written to, and which codecs go into which."""

from __future__ import annotations

from ..checks import InputError
from ..options import Option

VIDEO_CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""FFmpeg's name of the container by suffix."""
MP4_FAMILY = ("mp4", "mov")
MATROSKA_FAMILY = ("matroska", "webm")
CONTAINER = Option(
    default="auto",
    choices=("auto", "mp4", "mkv", "mov", "webm"),
    name="container",
    advanced=True,
    help="Kind of file, where the output's name does not tell. auto: mov for ProRes, mkv for FFV1, else mp4, "
    "which plays everywhere. mkv holds any sound and subtitles. webm: AV1 or VP9, with the sound as Opus.",
)
_CODECS = {  # by FFmpeg's name of an encoder
    "libx264": "H.264",
    "h264_nvenc": "H.264",
    "libx265": "HEVC",
    "hevc_nvenc": "HEVC",
    "libsvtav1": "AV1",
    "av1_nvenc": "AV1",
    "libvpx-vp9": "VP9",
    "prores_ks": "ProRes",
    "ffv1": "FFV1",
}
_HELD = {  # what players take, which is less than what FFmpeg writes
    ".mp4": ("H.264", "HEVC", "AV1", "VP9"),
    ".m4v": ("H.264", "HEVC", "AV1", "VP9"),
    ".mov": ("H.264", "HEVC", "ProRes"),
    ".mkv": ("H.264", "HEVC", "AV1", "VP9", "ProRes", "FFV1"),
    ".webm": ("AV1", "VP9"),
}
_BY_CODEC = {"prores": ".mov", "ffv1": ".mkv"}


def choose_suffix(container: str, *, codec: str) -> str:
    """Return the suffix of a file whose name is not given.

    Args:
        container: One of `CONTAINER`'s choices.
        codec: One of `encoders.CODEC`'s choices.

    Raises:
        InputError: If the container is unknown.
    """
    CONTAINER.check(container)
    return _BY_CODEC.get(codec, ".mp4") if container == "auto" else f".{container}"


def check_codec_fits(encoder: str, suffix: str) -> None:
    """Check that a kind of file holds what an encoder makes.

    Args:
        encoder: FFmpeg's name of the encoder.
        suffix: The file's.

    Raises:
        InputError: If it does not; the message says what goes.
    """
    codec, held = _CODECS.get(encoder), _HELD.get(suffix)
    if codec is None or held is None or codec in held:  # what is no container is refused as such
        return
    others = [other for other, codecs in _HELD.items() if codec in codecs and other != ".m4v"]
    raise InputError(
        f"codec must be one that goes into {suffix} ({_listed(held)}), got {codec} ({encoder}), which "
        f"goes into {_listed(others)}; choose another codec or kind of file"
    )


def _listed(names: list[str] | tuple[str, ...]) -> str:
    """Write names as a list that reads as one."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
