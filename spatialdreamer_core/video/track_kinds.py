"""How a stream of the source goes into an output: as it is, or as something that the output can hold."""

from __future__ import annotations

from collections.abc import Collection

from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle, SubtitleSet

_TEXT_CODECS = {"mov": "mov_text", "mp4": "mov_text", "matroska": "subrip", "webm": "webvtt"}
_KEPT_TAGS = ("language", "title")
# What players take a number of channels for; AVI and Matroska give no more for PCM, and MP4 needs to know.
_USUAL_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
_OPUS_RATE = 48_000  # Hz
_OPUS_BITS = 96_000  # a second and channel, far above where listeners hear a difference
_OPUS_LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")  # of one to eight channels


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
        self._overlap = output.format.name in ("matroska", "webm")
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


class OpusTrack(Track):
    """A sound stream encoded anew as Opus, at the same times: WebM holds no AAC, AC-3 or MP3."""

    def __init__(self, source: Stream, output: OutputContainer, first: Collection[Packet] = ()) -> None:
        assert isinstance(source, AudioStream), source
        self._decoder: AudioCodecContext = source.codec_context
        if self._decoder.is_open:
            self._decoder.flush_buffers()  # of the packets that it was tried with
        super().__init__(source, output, first)

    def convert(self, packet: Packet) -> list[Packet]:
        """Decode a packet and encode what comes out."""
        assert isinstance(self.stream, AudioStream), self.stream
        return [new for frame in self._decoder.decode(packet) for new in self.stream.encode(frame)]

    def finish(self) -> list[Packet]:
        """Return what decoder and encoder still hold."""
        assert isinstance(self.stream, AudioStream), self.stream
        rest = [new for frame in self._decoder.decode(None) for new in self.stream.encode(frame)]
        return rest + self.stream.encode(None)

    def _add(self, source: Stream, output: OutputContainer) -> Stream:
        """Add a stream of Opus with as many channels."""
        channels = self._decoder.layout.nb_channels
        if not 0 < channels <= len(_OPUS_LAYOUTS):
            raise ValueError(f"Opus has no layout of {channels} channels")
        options = {"b": str(channels * _OPUS_BITS)}
        return output.add_stream(
            "libopus", rate=_OPUS_RATE, layout=_OPUS_LAYOUTS[channels - 1], options=options
        )


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
