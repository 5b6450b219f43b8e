"""One clock for all streams of a file whose own clock restarts or leaps.

Recordings, DVDs and files put together restart their clock in the middle: at each restart the video goes on
from where it was. The other streams restart there, too, a little before or after the video's packet in the
file, and are moved by as much, so that they stay in step. Reader and copy see the same video packets in the
same order, so both come to the same times.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.stream import Disposition

from ..checks import one_line
from ..media import film_stream
from .probe import clock_start, stream_rate

_LOGGER = logging.getLogger(__name__)

LARGEST_GLITCH = 1  # seconds; a longer step back in time is a new clock, not a misplaced packet
_LARGEST_GAP = 10  # seconds; a longer step ahead is a new clock, too, where the format allows one
_SEEK_MARGIN = 5  # seconds, within which subtitles that are still shown begin
_LARGEST_JITTER = Fraction(3, 10)  # seconds between packets of a stream that follow each other


def may_leap(container: InputContainer) -> bool:
    """Tell whether a format's clock may be discontinuous, as in transport streams and on DVDs."""
    return bool(container.format.flags & cast(int, Flags.ts_discont.value))


def packet_time(packet: Packet) -> Fraction | None:
    """Return the seconds at which a packet is decoded, or else shown, by the file's clock."""
    ticks = packet.pts if packet.dts is None else packet.dts
    return None if ticks is None or not packet.time_base else ticks * packet.time_base


@dataclass
class _Section:
    """A part of the video between two restarts of the clock."""

    shift: Fraction  # seconds to be added
    end: Fraction | None = None  # seconds by the file's clock at which its last packet so far ends


@dataclass
class _Follower:
    """Where a stream other than the video is."""

    end: Fraction | None = None  # seconds by the file's clock at which its last packet so far ends
    section: int = 0
    own_shift: Fraction = field(default_factory=Fraction)  # for a restart that the video has not


class Timeline:
    """Tells by how much packets are to be moved in time; to be fed with them in the order of the file.

    Args:
        leaps: Whether a long step ahead is a new clock.
        step: Seconds between frames, for packets that do not tell.
    """

    def __init__(self, *, leaps: bool, step: Fraction) -> None:
        self._leaps, self._step = leaps, step
        self._sections = [_Section(Fraction(0))]
        self._followers: dict[int, _Follower] = {}

    @property
    def position(self) -> Fraction:
        """Seconds at which the last video packet ends, after the repair."""
        section = self._sections[-1]
        return section.shift + (section.end or 0)

    @property
    def sections(self) -> int:
        """How many clocks there were so far."""
        return len(self._sections)

    def follow(self, packet: Packet) -> Fraction:
        """Take in a packet of the video; returns the seconds to be added to its times.

        A pts that does not belong to the packet's dts is taken away.
        """
        section, time = self._sections[-1], packet_time(packet)
        if time is None:
            return section.shift
        if self._leaps and packet.pts is not None and packet.dts is not None:
            lead = (packet.pts - packet.dts) * packet.time_base
            if not -self._step <= lead <= _LARGEST_GAP:
                packet.pts = None  # it is the next clock's, dts still this one's
        if section.end is not None:
            gap = time - section.end
            back = _LARGEST_JITTER if self._leaps else LARGEST_GLITCH
            if gap < -back - self._step or (self._leaps and gap > _LARGEST_GAP):
                section = _Section(section.shift - gap)
                self._sections.append(section)
            elif gap > _LARGEST_JITTER and self._is_back(time):
                section = _Section(self._sections[-2].shift)
                self._sections.append(section)
        section.end = time + (_duration(packet) or self._step)
        return section.shift

    def place(self, packet: Packet, *, wait: bool) -> Fraction | None:
        """Return the seconds to be added to the times of a packet of another stream.

        Args:
            packet: The packet; it has a time.
            wait: Whether the answer may be None: the stream's clock restarted, the video's not yet.
        """
        follower = self._followers.setdefault(packet.stream_index, _Follower())
        time = packet_time(packet)
        assert time is not None, packet
        sounds = packet.stream.type == "audio"
        step = Fraction(0) if follower.end is None else time - follower.end
        if abs(step) > _LARGEST_JITTER or follower.end is None:
            section = self._nearest(time, follower.section + (step < 0), leaps=self._leaps)
            if section is not None:
                follower.section, follower.own_shift = section, Fraction(0)
            elif wait:
                return None
            elif follower.end is None:
                follower.section = len(self._sections) - 1
            elif sounds and abs(step) > LARGEST_GLITCH:
                follower.own_shift -= step
        follower.end = time + (_duration(packet) if sounds else 0)  # others may overlap each other
        return self._sections[follower.section].shift + follower.own_shift

    def _is_back(self, time: Fraction) -> bool:
        """Tell whether the clock before the last restart goes on, so that the restart was a stray packet."""
        if len(self._sections) < 2:
            return False
        return abs(time + self._sections[-2].shift - self.position) <= _LARGEST_JITTER + self._step

    def _nearest(self, time: Fraction, first: int, *, leaps: bool) -> int | None:
        """Return the section, from a first one on, whose end so far is the nearest to a time."""
        ends = [(index, self._sections[index].end) for index in range(first, len(self._sections))]
        distances = [(abs(time - end), -index) for index, end in ends if end is not None]
        if not distances:
            return first if first < len(self._sections) else None
        distance, index = min(distances)
        return None if leaps and distance > _LARGEST_GAP else -index


def read_in_time(
    container: InputContainer,
    indices: Collection[int],
    path: Path,
    *,
    start: Fraction | None,
    end: Fraction | None,
) -> Generator[tuple[Fraction, Packet], None, None]:
    """Read the packets of streams beside the film with their times, moved by the film's timeline.

    Packets without content or time are left out. Where the file cannot be read any further, this ends with a
    warning: whoever reads the film knows whether it broke off.

    Args:
        container: The file.
        indices: The streams to read.
        path: The file's path, for the warning.
        start: Seconds from which packets are wanted, to be reached by seeking where that is safe; some before
            may come, too. None: from the beginning.
        end: Seconds up to which packets are wanted; some after may come, too. None: to the end.

    Yields:
        The seconds of a packet, counted from the start of the file, and the packet, by the file's clock.
    """
    film = film_stream(container)
    streams = [stream for stream in container.streams if stream.index in indices]
    origin = clock_start(container)
    if start is not None and start > _SEEK_MARGIN and not may_leap(container):
        with contextlib.suppress(av.error.FFmpegError):  # else it is read from its beginning
            container.seek(int((start + origin - _SEEK_MARGIN) * av.time_base))
    step = Fraction(0) if film is None else 1 / stream_rate(film)
    timeline = Timeline(leaps=may_leap(container), step=step)
    held: dict[int, deque[Packet]] = {}  # of streams whose clock restarted before the film's
    held_since = Fraction(0)
    try:
        for packet in container.demux(*streams, *(() if film is None else (film,))):
            if packet.size == 0:
                continue  # one that ends a stream
            if film is not None and packet.stream_index == film.index:
                timeline.follow(packet)
                if end is not None and timeline.position - origin > end + _LARGEST_GAP:
                    return
                if held:
                    yield from _release(
                        timeline, held, origin, wait=timeline.position < held_since + _LARGEST_GAP
                    )
                continue
            if packet.stream.disposition & Disposition.attached_pic:  # it has no time
                packet.pts = packet.dts = round(((start or 0) + origin) / packet.time_base)
                yield start or Fraction(0), packet
                continue
            if packet.dts is None:
                packet.dts = packet.pts
            if packet.pts is None:
                packet.pts = packet.dts
            if packet.pts is None or not packet.time_base:
                continue  # no muxer takes a packet without a time
            if not held:
                held_since = timeline.position
            held.setdefault(packet.stream_index, deque()).append(packet)
            yield from _release(timeline, held, origin, wait=True)
    except Exception as error:  # whatever a damaged file makes FFmpeg and PyAV raise
        _LOGGER.warning("%s: its sound and subtitles end early (%s)", path, one_line(error))
    yield from _release(timeline, held, origin, wait=False)


def move(packet: Packet, shift: Fraction) -> None:
    """Move a packet in time by some seconds."""
    if shift and packet.time_base:
        ticks = round(shift / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.dts = None if packet.dts is None else packet.dts + ticks


def _release(
    timeline: Timeline, held: dict[int, deque[Packet]], origin: Fraction, *, wait: bool
) -> Iterator[tuple[Fraction, Packet]]:
    """Yield the packets whose place is known now, with their times; without `wait`, all."""
    for index, packets in list(held.items()):
        while packets:
            shift = timeline.place(packets[0], wait=wait)
            if shift is None:
                break
            packet = packets.popleft()
            move(packet, shift)
            yield (packet.pts or 0) * packet.time_base - origin, packet
        if not packets:
            del held[index]


def _duration(packet: Packet) -> Fraction:
    """Return a packet's duration in seconds, 0 where it is unknown."""
    return (packet.duration or 0) * (packet.time_base or Fraction(0))
