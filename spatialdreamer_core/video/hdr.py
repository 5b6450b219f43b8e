"""What high-dynamic-range video says about itself beside its pixels, and how encoders are told.

HDR10's static metadata (SMPTE ST 2086 and CTA-861.3) holds for a whole film and goes from the source to the
output. Dynamic metadata (Dolby Vision, HDR10+, HDR Vivid) describes each picture of the source, not the two
views beside each other, and is left out; the picture under it, HDR10, HLG or SDR, is complete without. Dolby
Vision profile 5 has no such picture: its colours cannot be told without Dolby's metadata, so it is refused.
"""

from __future__ import annotations

import io
import logging
import struct
from dataclasses import dataclass
from fractions import Fraction

import av
from av.sidedata.sidedata import SideData
from av.video.stream import VideoStream

from ..checks import InputError

_LOGGER = logging.getLogger(__name__)

_UNSPECIFIED = 2  # in H.273
_DOLBY_VISION = "Dolby Vision"
_DYNAMIC = {
    "DYNAMIC_HDR_PLUS": "HDR10+",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
    "DOVI_RPU_BUFFER": _DOLBY_VISION,
    "DOVI_METADATA": _DOLBY_VISION,
}
_DOLBY_TAGS = ("dvh1", "dvhe", "dav1")
_DOLBY_CODECS = ("hevc", "av1")
_CONFIGURATION_BOXES = (b"dvcC", b"dvvC", b"dvwC")
_PRIMARY_UNIT, _LUMINANCE_UNIT = 50_000, 10_000  # of the bitstreams: steps of 0.00002, and of 0.0001 cd/m²


@dataclass(frozen=True)
class HdrMetadata:
    """The static metadata of HDR10, in the units of the bitstreams."""

    primaries: tuple[int, ...] = (0,) * 8  # x and y of red, green, blue and white, in steps of 0.00002
    luminance: tuple[int, int] = (0, 0)  # most and least of the mastering display, in 0.0001 cd/m²
    light_level: tuple[int, int] | None = None  # brightest pixel and brightest average, in cd/m²

    @property
    def has_mastering_display(self) -> bool:
        """Tell whether anything is known of the display on which the film was graded."""
        return any(self.primaries) or any(self.luminance)

    @classmethod
    def of_frame(cls, frame: av.VideoFrame) -> HdrMetadata | None:
        """Read the metadata of a decoded frame; None if there is none."""
        display = side_data(frame, "MASTERING_DISPLAY_METADATA")
        light = side_data(frame, "CONTENT_LIGHT_LEVEL")
        primaries: tuple[int, ...] = (0,) * 8
        luminance, light_level = (0, 0), None
        if display is not None and len(display) >= 88:
            # AVMasteringDisplayMetadata: ten rationals, then two flags that tell which of them are given.
            numbers = struct.unpack_from("=22i", display)
            pairs = zip(numbers[:20:2], numbers[1:20:2], strict=True)
            values = [Fraction(n, d) if d else Fraction() for n, d in pairs]
            if numbers[20]:
                primaries = tuple(_steps(value, _PRIMARY_UNIT, 0xFFFF) for value in values[:8])
            if numbers[21]:
                least, most = (_steps(value, _LUMINANCE_UNIT, 0xFFFFFFFF) for value in values[8:10])
                luminance = most, least
        if light is not None and len(light) >= 8:
            brightest, average = struct.unpack_from("=2I", light)
            light_level = min(brightest, 0xFFFF), min(average, 0xFFFF)
        found = cls(primaries, luminance, light_level)
        return found if found.has_mastering_display or light_level else None

    def encoder_options(self, codec: str) -> dict[str, str]:
        """Return the options that write the metadata into the bitstream, by the option's name."""
        names = {
            "libx265": ("x265-params", "master-display", "max-cll"),
            "libx264": ("x264-params", "mastering-display", "cll"),
            "libsvtav1": ("svtav1-params", "mastering-display", "content-light"),
        }
        if codec not in names:
            _LOGGER.warning(
                "%s cannot be given the mastering display and light level; they are left out", codec
            )
            return {}
        option, display_name, light_name = names[codec]
        parameters = []
        if self.has_mastering_display:
            red, green, blue, white = (self.primaries[i : i + 2] for i in range(0, 8, 2))
            points = zip(("G", "B", "R", "WP", "L"), (green, blue, red, white, self.luminance), strict=True)
            written = (
                f"{name}({_written(a, name, codec)},{_written(b, name, codec)})" for name, (a, b) in points
            )
            parameters.append(f"{display_name}=" + "".join(written))
        if self.light_level is not None:
            parameters.append(f"{light_name}={self.light_level[0]},{self.light_level[1]}")
        return {option: ":".join(parameters)}


def side_data(frame: av.VideoFrame, kind: str) -> bytes | None:
    """Return a frame's side data by FFmpeg's name of its kind, or None.

    PyAV's side data and its frame refer to each other, so a frame that is asked stays in memory until Python
    collects its garbage: ask one frame of a stream, not each.
    """
    try:
        found = frame.side_data.get(kind)  # the type that PyAV states for keys leaves names out
    except (KeyError, ValueError):  # this PyAV does not know that kind, or another one that the frame has
        return None
    return bytes(found) if isinstance(found, SideData) else None


def dynamic_metadata(stream: VideoStream, frame: av.VideoFrame) -> tuple[str, ...]:
    """Name the kinds of dynamic metadata that a film has and that an output cannot carry.

    Args:
        stream: The stream, open for decoding.
        frame: A frame of it.

    Raises:
        InputError: If the film is Dolby Vision whose picture cannot be shown without its metadata.
    """
    found = [name for kind, name in _DYNAMIC.items() if side_data(frame, kind) is not None]
    configuration = _dolby_configuration(stream)
    if configuration is not None:
        found.append(_DOLBY_VISION)
        profile, compatibility = configuration
        has_picture = profile != 5 and not (profile == 10 and compatibility == 0)
    else:
        context = stream.codec_context
        untagged = context.colorspace == _UNSPECIFIED and context.color_trc == _UNSPECIFIED
        has_picture = not (_is_profile_5(frame) or (context.codec_tag in _DOLBY_TAGS and untagged))
    if not has_picture:
        raise InputError(
            "input must have colours that can be read without Dolby Vision's metadata, got Dolby Vision "
            "profile 5 or 10.0, which has no HDR10, HLG or SDR picture; get the film in HDR10, HLG, SDR or "
            "Dolby Vision profile 8"
        )
    return tuple(dict.fromkeys(found))


def _is_profile_5(frame: av.VideoFrame) -> bool:
    """Tell by a frame's own metadata whether it is of profile 5, as FFmpeg guesses it."""
    metadata = side_data(frame, "DOVI_METADATA")
    if metadata is None or len(metadata) < struct.calcsize("@N"):
        return False
    (header,) = struct.unpack_from("@N", metadata)
    if header + 11 > len(metadata):
        return False
    return metadata[header + 4] == 0 and metadata[header + 10] != 0  # vdr_rpu_profile, bl_video_full_range


def _dolby_configuration(stream: VideoStream) -> tuple[int, int] | None:
    """Return the Dolby Vision profile and compatibility that a file states for a stream, or None.

    PyAV does not show the record, but FFmpeg copies it with a stream: it is read from a header that is
    written into memory.
    """
    if stream.codec_context.name not in _DOLBY_CODECS:
        return None
    header = io.BytesIO()
    try:
        with av.open(header, "w", format="matroska") as container:
            container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
    except (ValueError, TypeError, av.error.FFmpegError):
        return None
    content = header.getvalue()
    for box in _CONFIGURATION_BOXES:
        at = content.find(box)
        record = content[at + 7 : at + 12]  # after the name, an element's id and its length
        if at >= 0 and len(record) == 5 and record[0] in (1, 2, 3):
            bits = int.from_bytes(record[2:4], "big")
            return bits >> 9, record[4] >> 4
    return None


def _written(steps: int, name: str, codec: str) -> str:
    """Write a value of the mastering display as an encoder takes it: libsvtav1 wants units, not steps."""
    if codec != "libsvtav1":
        return f"{steps}"
    return f"{steps / (_LUMINANCE_UNIT if name == 'L' else _PRIMARY_UNIT):.5f}"


def _steps(value: Fraction, unit: int, most: int) -> int:
    """Count the steps in a value."""
    return max(0, min(most, round(value * unit)))
