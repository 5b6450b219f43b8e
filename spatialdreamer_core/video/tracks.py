"""Which streams of a file an output can hold beside the film, found out before the work begins.

A container's own list of codecs is not enough: some are refused with the header, some at the very end, when a
stream was announced and carried nothing. So each stream is tried: its first packets go into a file in memory.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Collection
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from ..media import film_stream, open_media
from .timeline import read_in_time
from .track_kinds import AttachmentTrack, OpusTrack, TextTrack, Track, describe

_LOGGER = logging.getLogger(__name__)

_SAMPLES = 3  # packets a stream is tried with
_SCAN_BYTES = 512 * 2**20  # of the file looked through for streams that seem to carry nothing
_COVERS_WITHIN = 100  # packets; covers are read first of all


class Plan:
    """The streams that go into an output, as found by trying them; what is left out is logged.

    Args:
        container: The source.
        path: Its path.
        format_name: FFmpeg's name of the output's container.
        kinds: Which kinds of streams are wanted.
        start: Seconds of the source at which the wanted part begins; None: with the file.
        end: Seconds of the source at which it ends, likewise.
    """

    def __init__(
        self,
        container: InputContainer,
        *,
        path: Path,
        format_name: str,
        kinds: Collection[str],
        start: Fraction | None,
        end: Fraction | None,
    ) -> None:
        self._tracks: list[tuple[Stream, type[Track], list[Packet]]] = []
        film = film_stream(container)
        wanted = [s for s in container.streams if s.type in kinds and (film is None or s.index != film.index)]
        if not wanted:
            return
        samples, whole = _sample(path, wanted, start=start, end=end)
        refused, other_films = [], []
        for stream in wanted:
            packets = samples[stream.index]
            if stream.type == "audio" and whole and not packets:
                _LOGGER.warning("%s: %s carries nothing here and is left out", path, describe(stream))
            elif track := _find(stream, packets, format_name):
                self._tracks.append((stream, track, packets))
            elif stream.type == "video" and not stream.disposition & Disposition.attached_pic:
                other_films.append(describe(stream))
            elif not _lists_chapters(stream, container):
                refused.append(describe(stream))
        if other_films and film is not None:
            _LOGGER.warning("%s: %s is converted, %s left out", path, describe(film), ", ".join(other_films))
        if refused:
            hint = "" if format_name == "matroska" else "; a .mkv file holds more"
            _LOGGER.warning("%s: left out, not for this container: %s%s", path, ", ".join(refused), hint)

    @property
    def indices(self) -> list[int]:
        """The indices of the source's streams that go into the output."""
        return [stream.index for stream, _, _ in self._tracks]

    def add_to(self, output: OutputContainer) -> dict[int, Track]:
        """Add the streams to the output; returns the track of each of the source's streams, by index."""
        return {stream.index: track(stream, output, first) for stream, track, first in self._tracks}


def _sample(
    path: Path, wanted: list[Stream], *, start: Fraction | None, end: Fraction | None
) -> tuple[dict[int, list[Packet]], bool]:
    """Read each stream's first packets of a part; also tell whether all of the part was looked through."""
    samples: dict[int, list[Packet]] = {stream.index: [] for stream in wanted}
    streams = {stream.index: stream for stream in wanted}
    missing = {stream.index for stream in wanted if stream.type in ("audio", "video")}
    with open_media(path) as container:
        packets = read_in_time(container, list(streams), path, start=start, end=end)
        for number, (time, packet) in enumerate(packets):
            if number == _COVERS_WITHIN:
                missing -= {stream.index for stream in wanted if stream.type == "video"}
            if not missing:
                break
            if (packet.pos or 0) > _SCAN_BYTES:
                return samples, False
            index, kept = packet.stream_index, samples[packet.stream_index]
            if packet.stream.type != "video" and end is not None and time >= end:
                missing.discard(index)
            elif packet.stream.type == "video" or start is None or time >= start:
                kept.append(_copy(packet, streams[index]))
                if len(kept) == _SAMPLES or packet.stream.type == "video":
                    missing.discard(index)
    return samples, True


def _copy(packet: Packet, stream: Stream) -> Packet:
    """Copy a packet's content and times."""
    copied = Packet(bytes(packet))
    copied.stream, copied.time_base = stream, packet.time_base
    copied.pts, copied.dts, copied.duration = packet.pts, packet.dts, packet.duration
    copied.is_keyframe = packet.is_keyframe
    return copied


def _find(stream: Stream, packets: list[Packet], format_name: str) -> type[Track] | None:
    """Return how a container can hold a stream, or None if it cannot."""
    candidates: list[type[Track]] = [Track]
    if stream.type == "video":
        if not stream.disposition & Disposition.attached_pic or not packets or format_name == "mov":
            return None  # another film, such as a second angle, or a cover, which MOV loses without a word
        candidates.append(AttachmentTrack)
    elif stream.type == "attachment":
        candidates = [AttachmentTrack]
    elif stream.type == "subtitle":
        candidates.append(TextTrack)
    elif stream.type == "audio" and format_name == "webm":
        candidates.append(OpusTrack)
    return next((track for track in candidates if _holds(track, stream, packets, format_name)), None)


def _lists_chapters(stream: Stream, container: InputContainer) -> bool:
    """Tell whether a stream is QuickTime's list of the chapters, which are written without it."""
    return stream.type == "data" and stream.codec_context is None and bool(container.chapters())


def _holds(track_type: type[Track], stream: Stream, packets: list[Packet], format_name: str) -> bool:
    """Tell whether a container takes a stream, by writing its first packets to memory."""
    try:
        with av.open(io.BytesIO(), "w", format=format_name) as trial:
            if track_type is AttachmentTrack:
                trial.add_stream("mpeg4", rate=25)  # a file of attachments alone is none
            track = track_type(stream, trial, packets)
            trial.start_encoding()
            converted = [new for packet in packets for new in track.convert(_copy(packet, stream))]
            for packet in (*converted, *track.finish()):
                packet.stream = track.stream
                trial.mux(packet)
    except Exception as error:  # PyAV's own, FFmpeg's, or of an attribute that older versions lack
        _LOGGER.debug("%s refuses %s: %s", format_name, describe(stream), error)
        return False
    return True
