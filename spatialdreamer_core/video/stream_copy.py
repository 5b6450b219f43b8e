"""Copy what accompanies a film into its output, in step with it: sound, subtitles, fonts, chapters, tags."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition

from ..checks import one_line
from ..media import film_stream, open_media
from .probe import clock_start
from .timeline import read_in_time
from .track_kinds import Track, describe, mark
from .tracks import Plan

if TYPE_CHECKING:
    from av.container.core import Chapter

_LOGGER = logging.getLogger(__name__)

SOUND = ("audio",)
EXTRAS = ("subtitle", "attachment", "data", "video", "unknown")  # video: covers
_OWN_TAGS = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration")  # of a file's making


class StreamCopy:
    """Streams of a file, read lazily, on their way into an output container.

    What the container cannot hold is left out with a line in the log; so is what its muxer refuses later.

    Args:
        source: The file with the streams; it may have none.
        output: The container that is written; its header must not be written yet.
        kinds: The kinds of streams that are copied, such as `SOUND`; `EXTRAS` bring chapters and tags along.
        start: Seconds of the source at which the part begins that is copied; None: with the file.
        end: Seconds of the source at which it ends; None: with the file.

    Raises:
        InputError: If the source cannot be read.
    """

    def __init__(
        self,
        source: Path,
        output: OutputContainer,
        *,
        kinds: Collection[str],
        start: Fraction | None,
        end: Fraction | None,
    ) -> None:
        self._source, self._output, self._start, self._end = source, output, start, end
        with contextlib.ExitStack() as stack:
            self._container = stack.enter_context(open_media(source))
            self._clock_start = clock_start(self._container)
            plan = Plan(
                self._container,
                path=source,
                format_name=output.format.name,
                kinds=kinds,
                start=start,
                end=end,
            )
            self._tracks: dict[int, Track] = plan.add_to(output)
            if "subtitle" in kinds:
                self._copy_tags_and_chapters()
            self._stack = stack.pop_all()
        self._origin = Fraction(0)
        self._last_dts: dict[int, int] = {}
        self._packets: Iterator[tuple[Fraction, Packet]] = iter(())
        self._refused: set[int] = set()
        self._waiting: tuple[Fraction, Packet] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to be copied in the course of the film."""
        return not self._tracks

    def begin(self, *, origin: Fraction) -> None:
        """Start reading.

        Args:
            origin: Seconds of the source that become 0 in the output; with a `start`, what lies before it is
                left out.
        """
        self._origin = origin
        if self._start is not None:
            self._start = origin
        if self._tracks:
            self._packets = read_in_time(
                self._container, list(self._tracks), self._source, start=self._start, end=self._end
            )

    def write_until(self, time: Fraction | None) -> None:
        """Write the packets with times up to `time` (seconds of the source); None: all that are left."""
        while True:
            if self._waiting is None:
                self._waiting = self._read()
            if self._waiting is None and time is None:
                for index in self._tracks:
                    self._mux(index, None)
            if self._waiting is None or (time is not None and self._waiting[0] > time):
                return
            self._write(self._waiting[1])
            self._waiting = None

    def close(self) -> None:
        """Close the source."""
        self._packets = iter(())
        self._stack.close()

    def _copy_tags_and_chapters(self) -> None:
        """Copy what belongs to the file as a whole; damage to it is no reason to stop."""
        try:
            _copy_tags(self._container, self._output)
            _copy_chapters(self._container, self._output, start=self._start or Fraction(0), end=self._end)
        except Exception as error:
            _LOGGER.warning("%s: its tags or chapters are left out (%s)", self._source, one_line(error))

    def _read(self) -> tuple[Fraction, Packet] | None:
        """Return the next packet in range with its time in the source, or None at the end."""
        for time, packet in self._packets:
            if self._end is not None and time >= self._end:
                continue
            if packet.stream.type == "subtitle":
                time = self._cut(time, packet)
            if self._start is None or time >= self._start:
                return time, packet
        return None

    def _cut(self, time: Fraction, packet: Packet) -> Fraction:
        """Shorten a subtitle to what is shown of it in the part; return its new time."""
        last = time + (packet.duration or 0) * packet.time_base
        first = time if self._start is None or last <= self._start else max(time, self._start)
        last = last if self._end is None else min(last, self._end)
        moved = round((first - time) / packet.time_base)
        packet.pts, packet.dts = (packet.pts or 0) + moved, (packet.dts or 0) + moved
        if packet.duration:
            packet.duration = round((last - first) / packet.time_base)
        return first

    def _write(self, packet: Packet) -> None:
        """Mux a packet at its time in the output."""
        index = packet.stream_index
        shift = round((self._origin + self._clock_start) / packet.time_base)
        pts, dts = (packet.pts or 0) - shift, (packet.dts or 0) - shift
        if index in self._last_dts:  # a muxer takes rising times only
            dts = max(dts, self._last_dts[index] + 1)
        self._last_dts[index] = dts
        packet.pts, packet.dts = max(pts, dts), dts
        self._mux(index, packet)

    def _mux(self, index: int, packet: Packet | None) -> None:
        """Write what is to be written of a stream when a packet comes, or at the end."""
        track = self._tracks[index]
        try:
            for converted in track.finish() if packet is None else track.convert(packet):
                converted.stream = track.stream
                self._output.mux(converted)
        except OSError:
            raise  # the disk is full, and the like
        except Exception as error:
            if index not in self._refused:
                self._refused.add(index)
                _LOGGER.warning(
                    "%s: packets of %s cannot be written and are left out (%s)",
                    self._source,
                    describe(self._container.streams[index]),
                    one_line(error),
                )


def _copy_tags(source: InputContainer, output: OutputContainer) -> None:
    """Copy a file's tags but those of its making; tags that the output has stay."""
    for key, value in source.metadata.items():
        if key.lower() not in _OWN_TAGS and key not in output.metadata:
            output.metadata[key] = value
    film, target = film_stream(source), output.streams.video[0]
    mark(target, Disposition.default)
    for key in ("language", "title"):
        if film is not None and film.metadata.get(key, "und") != "und" and key not in target.metadata:
            target.metadata[key] = film.metadata[key]


def _copy_chapters(
    source: InputContainer, output: OutputContainer, *, start: Fraction, end: Fraction | None
) -> None:
    """Copy the chapters that lie in a part, cut to it and counted from its start."""
    chapters: list[Chapter] = []
    shift = start + clock_start(source)
    for chapter in source.chapters() if hasattr(output, "set_chapters") else ():
        time_base = chapter["time_base"]
        if not time_base:
            continue
        first, last = round(shift / time_base), None if end is None else round((end - start) / time_base)
        begins, ends = max(chapter["start"] - first, 0), chapter["end"] - first
        if last is not None:
            ends = min(ends, last)
        if begins < ends:
            chapters.append(
                {
                    "id": chapter["id"],
                    "start": begins,
                    "end": ends,
                    "time_base": time_base,
                    "metadata": chapter["metadata"],
                }
            )
    if chapters:
        output.set_chapters(chapters)


class StreamCopies:
    """All that a film is accompanied by, from one file or two; none without a file.

    Args:
        audio_from: File whose sound is copied, or None.
        extras_from: File whose subtitles, fonts, cover, chapters and tags are copied, or None.
        start: Seconds of the source at which the part begins that is copied; None: with the file.
        end: Seconds of the source at which it ends; None: with the file.

    Attributes:
        start: As given.
    """

    def __init__(
        self,
        audio_from: str | Path | None = None,
        extras_from: str | Path | None = None,
        *,
        start: float | None = None,
        end: float | None = None,
    ) -> None:
        self._kinds: dict[Path, tuple[str, ...]] = {}  # by the file that they come from
        for file, kinds in ((audio_from, SOUND), (extras_from, EXTRAS)):
            if file is not None:
                self._kinds[Path(file)] = (*self._kinds.get(Path(file), ()), *kinds)
        self.start = None if start is None else Fraction(start)
        self._end = None if end is None else Fraction(end)
        self._copies: list[StreamCopy] = []

    def open(self, output: OutputContainer) -> None:
        """Open the files, and add their streams to an output whose header is not written yet.

        Raises:
            InputError: If a file cannot be read.
        """
        for file, kinds in self._kinds.items():
            self._copies.append(StreamCopy(file, output, kinds=kinds, start=self.start, end=self._end))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to be copied in the course of the film."""
        return all(copy.is_empty for copy in self._copies)

    def begin(self, *, origin: Fraction) -> None:
        """Start reading, see `StreamCopy.begin`."""
        for copy in self._copies:
            copy.begin(origin=origin)

    def write_until(self, time: Fraction | None) -> None:
        """Write what belongs to the film up to a time, see `StreamCopy.write_until`."""
        for copy in self._copies:
            copy.write_until(time)

    def close(self) -> None:
        """Close the files; they can be opened again."""
        copies, self._copies = self._copies, []
        for copy in copies:
            copy.close()
