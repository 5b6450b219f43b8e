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
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle, SubtitleSet

from ..media import film_stream, open_media
from .timeline import read_in_time

_LOGGER = logging.getLogger(__name__)

_SAMPLES = 3  # packets a stream is tried with
_SCAN_BYTES = 512 * 2**20  # of the file looked through for streams that seem to carry nothing
_COVERS_WITHIN = 100  # packets; covers are read first of all
_TEXT_CODECS = {"mov": "mov_text", "mp4": "mov_text", "matroska": "subrip"}
_KEPT_TAGS = ("language", "title")
# What players take a number of channels for; AVI and Matroska give no more for PCM, and MP4 needs to know.
_USUAL_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}


class Track:
    """A stream of the source on its way into an output: its packets as they are.

    Args:
        source: The stream.
        output: The file that is written; its header must not be written yet.
        first: The first packets of the stream.
    """

    def __init__(self, source: Stream, output: OutputContainer, first: Collection[Packet] = ()) -> None:
        self.stream = self._add(source, output)
        tags = {key: value for key, value in source.metadata.items() if key.lower() in _KEPT_TAGS}
        self.stream.metadata.update(tags)
        mark(self.stream, source.disposition)

    def convert(self, packet: Packet) -> list[Packet]:
        """Return what is to be written when a packet comes."""
        return [packet]

    def finish(self) -> list[Packet]:
        """Return what is left to be written when no more packets come."""
        return []

    def _add(self, source: Stream, output: OutputContainer) -> Stream:
        """Add a stream like the source's to the output."""
        if source.codec_context is None and (source.type != "data" or not hasattr(output, "add_attachment")):
            raise ValueError(f"{source.type} of an unknown codec")  # older versions of PyAV crash at it
        stream = output.add_stream_from_template(source, opaque=True)
        if isinstance(stream, AudioStream) and stream.codec_context is not None:
            layout = stream.codec_context.layout
            if layout.name == f"{layout.nb_channels} channels" and layout.nb_channels in _USUAL_LAYOUTS:
                stream.codec_context.layout = _USUAL_LAYOUTS[layout.nb_channels]
        return stream


class TextTrack(Track):
    """Subtitles of one kind of text, written as the kind that the output can hold.

    In MP4 and MOV one sample follows the other, so where lines overlap in time, samples hold several.
    """

    def __init__(self, source: Stream, output: OutputContainer, first: Collection[Packet] = ()) -> None:
        super().__init__(source, output, first)
        self._overlap = output.format.name == "matroska"
        self._shown: list[tuple[int, bytes]] = []  # when lines end, and their text
        self._since = 0  # all before is written

    def convert(self, packet: Packet) -> list[Packet]:
        """Encode the text of a packet anew, at the same time; in MP4 and MOV, of those before it."""
        lines = [text.ass for text in packet.decode() if isinstance(text, AssSubtitle) and text.dialogue]
        start, end = packet.pts or 0, (packet.pts or 0) + (packet.duration or 0)
        self._time_base = packet.time_base
        if self._overlap:
            return [self._encode(lines, start, end)] if lines else []
        written = self._write_until(start)
        self._shown += [(end, line) for line in lines]
        return written

    def finish(self) -> list[Packet]:
        """Return what is left to be written."""
        return self._write_until(max((end for end, _ in self._shown), default=0))

    def _write_until(self, time: int) -> list[Packet]:
        """Encode what is shown up to a moment."""
        written = []
        while self._shown and self._since < time:
            end = min(time, min(end for end, _ in self._shown))
            if end > self._since:
                written.append(self._encode([line for _, line in self._shown], self._since, end))
            self._since = max(end, self._since)
            self._shown = [(last, line) for last, line in self._shown if last > self._since]
        self._since = max(time, self._since)
        return written

    def _encode(self, lines: list[bytes], start: int, end: int) -> Packet:
        """Encode lines that are shown together."""
        assert isinstance(self.stream, SubtitleStream), self.stream
        events = [lines[0], *(line.split(b",", 8)[-1] for line in lines[1:])]  # one event, more text
        milliseconds = round((end - start) * self._time_base * 1000)
        text = SubtitleSet.create(b"\\N".join(events), 0, milliseconds, 0)
        packet = self.stream.codec_context.encode_subtitle(text)
        packet.time_base, packet.duration = self._time_base, end - start
        packet.pts = packet.dts = start
        return packet

    def _add(self, source: Stream, output: OutputContainer) -> Stream:
        """Add a stream with an encoder for text, which takes its header from the source's decoder."""
        assert isinstance(source, SubtitleStream), source
        source.codec_context.open(strict=False)
        header = source.codec_context.subtitle_header
        if not header:
            raise ValueError(f"{source.codec_context.name} is no text")
        stream = output.add_stream(_TEXT_CODECS[output.format.name])
        assert isinstance(stream, SubtitleStream), stream
        stream.codec_context.subtitle_header = header
        stream.time_base = source.time_base
        return stream


class AttachmentTrack(Track):
    """A font, a cover or another file inside the source, which the output's header holds."""

    def __init__(self, source: Stream, output: OutputContainer, first: Collection[Packet] = ()) -> None:
        name, kind = source.metadata.get("filename", ""), source.metadata.get("mimetype", "")
        if source.type == "attachment":
            content = source.data  # type: ignore[attr-defined]
        else:
            content = bytes(next(iter(first)))
            kind = kind or f"image/{'jpeg' if source.codec_context.name == 'mjpeg' else 'png'}"
            name = name or f"cover.{'jpg' if kind == 'image/jpeg' else 'png'}"
        self.stream = output.add_attachment(name or "attachment", kind or "application/octet-stream", content)

    def convert(self, packet: Packet) -> list[Packet]:
        """Return nothing: the header holds all."""
        return []


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


def mark(stream: Stream, disposition: Disposition) -> None:
    """Set a stream's flags, such as that of the default; as a number, which every version of PyAV takes."""
    setattr(stream, "disposition", int(disposition.value))  # noqa: B010


def describe(stream: Stream) -> str:
    """Name a stream for a message: "subtitle stream 4 (hdmv_pgs_subtitle, eng)"."""
    codec = (
        stream.codec_context.name
        if stream.codec_context
        else stream.metadata.get("filename", "unknown codec")
    )
    language = stream.metadata.get("language", "und")
    return f"{stream.type} stream {stream.index} ({codec}{'' if language == 'und' else ', ' + language})"


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
