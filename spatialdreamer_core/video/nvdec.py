"""Decoding by NVDEC, the decoder of NVIDIA's cards, where it gives the very frames of the software.

FFmpeg's own decoders read the stream, and the card decodes the slices: times, side data and tags are those of
the software. What the card does otherwise is left to the software, which takes over at the frame that shows
it: interlaced pictures, pictures that are cropped at the left or the top, damage, other pixel formats than
4:2:0 of 8 and 10 bits, and a card that fails.
"""

from __future__ import annotations

import logging
from pathlib import Path

import av
import torch
from av.codec.hwaccel import HWAccel
from av.packet import Packet
from av.video.reformatter import VideoReformatter

from ..checks import InputError
from ..media import ONE_THREAD, PYAV

_LOGGER = logging.getLogger(__name__)

_FIRST_PYAV = 18  # before it, a frame that comes from a card has lost its colours and its metadata
_CODECS = ("h264", "hevc", "vp9")  # whose decoding is defined bit by bit, and for which FFmpeg's own runs
_PIXEL_FORMATS = {"nv12": "yuv420p", "p010le": "yuv420p10le"}  # of the card, and of the software
_ROOM = 2 << 30  # bytes that must be free on the card: decoding takes some hundred million of them


class NotOnCard(Exception):
    """The card cannot go on: the software decodes from here."""


def is_offered(device: torch.device) -> bool:
    """Tell whether a device has a decoder that PyAV can use, and room for it."""
    if device.type != "cuda" or torch.version.hip is not None or PYAV < _FIRST_PYAV:
        return False
    try:
        free, _ = torch.cuda.mem_get_info(device)
    except (RuntimeError, AssertionError):  # no such card, or none that answers
        return False
    return free >= _ROOM


def suits(codec: str, pixel_format: str | None) -> bool:
    """Tell by a film's header whether a card gives the frames that the software gives.

    Args:
        codec: FFmpeg's name of the decoder.
        pixel_format: Of the frames, by FFmpeg's name.
    """
    return codec in _CODECS and pixel_format in _PIXEL_FORMATS.values()


def card_of(device: torch.device) -> HWAccel:
    """Return how PyAV is told to decode on a card."""
    index = torch.cuda.current_device() if device.index is None else device.index
    return HWAccel("cuda", device=str(index), allow_software_fallback=True)


class CardDecoder:
    """Decodes packets on the card, into frames as the software gives them.

    Args:
        context: The decoder of a stream that was opened with `card_of`.
    """

    def __init__(self, context: av.VideoCodecContext) -> None:
        self._context, self._reformatter = context, VideoReformatter()

    def __call__(self, packet: Packet) -> list[av.VideoFrame]:
        """Return the frames that come out with a packet.

        Raises:
            NotOnCard: If the software has to go on.
        """
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            raise NotOnCard(f"the card gave an error ({error.strerror})") from error
        return [self._as_by_software(frame) for frame in frames]

    def _as_by_software(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Lay the two planes of the card's frames out as the software's three."""
        pixel_format = _PIXEL_FORMATS.get(frame.format.name)
        if pixel_format is None:
            raise NotOnCard(f"it gives {frame.format.name}")
        if frame.interlaced_frame:
            raise NotOnCard("it is interlaced")
        size = self._context.width, self._context.height
        if (frame.width, frame.height) != size:
            raise NotOnCard(f"its frames are {frame.width}x{frame.height} instead of {size[0]}x{size[1]}")
        return self._reformatter.reformat(frame, format=pixel_format, **ONE_THREAD)


def note_software(path: Path, error: InputError) -> None:
    """Log why the software decodes the rest of a film."""
    _LOGGER.debug("%s is decoded by software: %s", path, error.__cause__ or error)
