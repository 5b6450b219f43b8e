"""From packets to frames with rising times: damage is skipped, and a film that breaks off is noticed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from .completeness import IncompleteInput, is_whole
from .probe import clock_start, stream_duration, stream_time_base
from .timeline import LARGEST_GLITCH, may_leap

_MISSING_END = 1.0  # seconds that may be missing at the end before a file counts as broken off
_MISSING_FRAMES = 2  # that may be missing at the end before a file counts as broken off
_MAX_FAILURES = 25  # packets in a row that cannot be decoded before the file counts as broken off
_STATING_FORMATS = ("flv", "asf")  # whose duration of the whole is not an estimate


class PacketDecoder:
    """Decodes packets, skips damaged ones, and knows what should have come but did not.

    Args:
        path: The file, for messages.
        clock: The clock of the frames that came.
        log: Where damage is reported.
        decode: Gives the frames that come out with a packet.
    """

    def __init__(
        self,
        path: Path,
        clock: FrameClock,
        log: logging.Logger,
        decode: Callable[[Packet], list[av.VideoFrame]],
    ) -> None:
        self._path, self._clock, self._log, self._decode = path, clock, log, decode
        self._failures = self._row = self._longest_row = 0
        self._reached = Fraction(0)  # where the last packet ends; the last frame may be long
        self._late: list[int] = []  # pts of packets since the last frame that came
        self._first_failure: tuple[float, str] | None = None
        self._begun = False

    def decode(self, packet: Packet) -> list[av.VideoFrame]:
        """Return the frames that come out with a packet."""
        clock = self._clock
        if packet.pts is not None and packet.size and not packet.is_discard:
            self._reached = max(self._reached, clock.seconds(packet.pts + (packet.duration or 0)))
            self._late.append(packet.pts)
        try:
            frames = self._decode(packet)
        except av.error.InvalidDataError as error:
            if not self._begun:
                return []  # it begins between two key frames
            self._failures, self._row = self._failures + 1, self._row + 1
            self._longest_row = max(self._longest_row, self._row)
            if self._first_failure is None:
                self._first_failure = clock.time, str(error.strerror)
                self._log.warning("%s: a damaged packet near %.2f s is skipped", self._path, clock.time)
            return []
        if frames:
            self._begun, self._row = True, 0
            last = max((frame.pts for frame in frames if frame.pts is not None), default=None)
            self._late = [] if last is None else [pts for pts in self._late if pts > last]
        return frames

    def check_end(self, stated: float) -> None:
        """Check, after the last packet, that the film is whole.

        Args:
            stated: Seconds at which it ends by its header; 0 where that does not say.

        Raises:
            IncompleteInput: If frames are missing.
        """
        path, time = self._path, self._clock.time
        if self._failures > 1:
            self._log.warning("%s: %d damaged packets were skipped", path, self._failures)
        if self._first_failure is not None and self._longest_row > _MAX_FAILURES:
            raise broken_off(path, *self._first_failure)
        if self._row > _MISSING_FRAMES:
            raise broken_off(path, time, f"its last {self._row} packets are damaged")
        whole = is_whole(path)
        if len(self._late) > (_MAX_FAILURES if whole else _MISSING_FRAMES):  # some codecs code "as before"
            raise broken_off(path, time, f"its last {len(self._late)} packets give no frames")
        if whole is False:
            raise broken_off(path, time, "its end is missing")
        if max(float(self._reached), time) < stated - _MISSING_END:
            if whole is None:
                raise broken_off(path, time, f"its header states {stated:.2f} s")
            self._log.warning(
                "%s: the video ends at %.2f s and not, as its header states, at %.2f s", path, time, stated
            )


class FrameClock:
    """Turns the pts of decoded frames into rising ones that count from the start of the file.

    Args:
        time_base: Seconds per unit of pts.
        step: Seconds between frames, for those without pts.
        origin: Seconds of the file's clock that become 0.
    """

    def __init__(self, time_base: Fraction, *, step: Fraction, origin: Fraction) -> None:
        self._time_base = time_base
        self._step = max(1, round(step / time_base))
        self._offset = -round(origin / time_base)
        self.last: int | None = None

    def seconds(self, pts: int) -> Fraction:
        """Return the seconds that a packet's pts stands for."""
        return (pts + self._offset) * self._time_base

    @property
    def time(self) -> float:
        """Seconds at which the last frame ends."""
        return 0.0 if self.last is None else float((self.last + self._step) * self._time_base)

    def repair(self, pts: int | None) -> int:
        """Return the pts of the next frame."""
        if pts is None:
            pts = 0 if self.last is None else self.last + self._step
        else:
            pts += self._offset
        if self.last is not None and pts <= self.last:
            if (self.last - pts) * self._time_base > LARGEST_GLITCH:
                self._offset += self.last + self._step - pts
                pts = self.last + self._step
            else:
                pts = self.last + 1
        self.last = pts
        return pts


def stated_end(container: InputContainer, stream: VideoStream) -> float:
    """Return at which time the video ends by its own header, or 0 where the header does not say."""
    stated = stream.duration or "DURATION" in stream.metadata or container.format.name in _STATING_FORMATS
    if may_leap(container) or not stated:
        return 0.0
    start = (stream.start_time or 0) * stream_time_base(stream) - clock_start(container)
    return (stream_duration(container, stream) or 0.0) + float(start)


def broken_off(path: Path, time: float, reason: str) -> IncompleteInput:
    """Make the error for a file that cannot be decoded to its end."""
    return IncompleteInput(
        f"input must be decodable to its end, but {path} breaks off at {time:.2f} s ({reason}); "
        "copy or download it again, or choose an end before that time"
    )
