"""Copy the audio of one file into another, packet by packet and untouched, in step with the video."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from ..checks import InputError
from ..media import open_media
from .probe import clock_start

_log = logging.getLogger(__name__)

_SEEK_MARGIN = 1  # seconds


class AudioCopy:
    """All audio streams of a file, read lazily, on their way into an output container.

    Args:
        source: The file with the audio; it may have none.
        output: The container that is written; its header must not be written yet.
        end: Seconds of the source at which audio ends; None: copy to its end.

    Raises:
        InputError: If the source cannot be read or the output cannot hold one of its codecs.
    """

    def __init__(self, source: Path, output: OutputContainer, *, end: Fraction | None) -> None:
        self._source, self._output, self._end = source, output, end
        self._targets: dict[int, AudioStream] = {}
        with contextlib.ExitStack() as stack:
            self._container = stack.enter_context(open_media(source))
            self._clock_start = clock_start(self._container)
            self._sources = [s for s in self._container.streams.audio if _is_known(s, source)]
            for stream in self._sources:
                self._targets[stream.index] = _add_stream(output, stream)
            self._stack = stack.pop_all()
        self._origin = Fraction(0)
        self._first: Fraction | None = None
        self._last_dts: dict[int, int] = {}
        self._packets: Iterator[Packet] = iter(())
        self._finished: set[int] = set()
        self._waiting: tuple[Fraction, Packet] | None = None

    def begin(self, *, origin: Fraction, cut: bool) -> None:
        """Start reading.

        Args:
            origin: Seconds of the source that become 0 in the output.
            cut: Leave out packets before the origin.
        """
        self._origin, self._first = origin, origin if cut else None
        if not self._sources:
            return
        if cut and origin > _SEEK_MARGIN:
            with contextlib.suppress(av.error.FFmpegError):  # else it is read from its beginning
                self._container.seek(int((origin + self._clock_start - _SEEK_MARGIN) * av.time_base))
        self._packets = self._container.demux(*self._sources)

    def write_until(self, time: Fraction | None) -> None:
        """Write the packets with times up to `time` (seconds of the source); None: all that are left."""
        while True:
            if self._waiting is None:
                self._waiting = self._read()
            if self._waiting is None or (time is not None and self._waiting[0] > time):
                return
            self._write(self._waiting[1])
            self._waiting = None

    def close(self) -> None:
        """Close the source."""
        self._stack.close()

    def _read(self) -> tuple[Fraction, Packet] | None:
        """Return the next packet in range with its time in the source, or None at the end."""
        try:
            for packet in self._packets:
                if packet.size == 0:
                    continue  # the flush packets that end a stream
                if packet.dts is None:
                    packet.dts = packet.pts
                if packet.pts is None:
                    packet.pts = packet.dts
                if packet.pts is None:
                    continue  # no muxer takes a packet without a time
                time = packet.pts * packet.time_base - self._clock_start
                if self._end is not None and time >= self._end:
                    self._finished.add(packet.stream_index)
                    if self._finished == set(self._targets):
                        break
                elif self._first is None or time >= self._first:
                    return time, packet
        except av.error.FFmpegError as error:
            raise InputError(
                f"the audio of the input must be readable, got {error.strerror!r} in {self._source}; "
                "copy or download the file again, or convert without audio"
            ) from error
        self._packets = iter(())
        return None

    def _write(self, packet: Packet) -> None:
        """Mux a packet at its time in the output."""
        index = packet.stream_index
        shift = round((self._origin + self._clock_start) / packet.time_base)
        pts, dts = (packet.pts or 0) - shift, (packet.dts or 0) - shift
        if index in self._last_dts:  # a muxer takes rising times only
            dts = max(dts, self._last_dts[index] + 1)
        self._last_dts[index] = dts
        packet.pts, packet.dts = max(pts, dts), dts
        packet.stream = self._targets[index]
        self._output.mux(packet)


def _is_known(stream: AudioStream, source: Path) -> bool:
    """Tell whether FFmpeg knows a stream's codec; one it does not know can only be left out."""
    if stream.codec_context is None:
        _log.warning("%s: audio stream %d has an unknown codec and is left out", source, stream.index)
    return stream.codec_context is not None


def _add_stream(output: OutputContainer, template: AudioStream) -> AudioStream:
    """Add a stream like the source's to the output."""
    try:
        stream = output.add_stream_from_template(template)
    except ValueError as error:
        raise InputError(
            f"the audio codec must fit the output container, got {template.codec_context.name!r} audio "
            f"for {output.format.name}; write a .mkv file or convert without audio"
        ) from error
    stream.metadata.update({k: v for k, v in template.metadata.items() if k in ("language", "title")})
    return stream
