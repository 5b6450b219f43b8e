"""Stream the frames of a video file as upright RGB, a frame at a time, whatever the length."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Generator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from ..checks import InputError
from .color import ColorConverter, ColorInfo, eight_bit_levels
from .probe import (
    clock_start,
    display_matrix,
    open_video,
    stream_duration,
    stream_rate,
    stream_time_base,
    upright,
)

_log = logging.getLogger(__name__)

_SEEK_MARGIN = 0.5  # seconds: the pictures just before a key frame may depend on an earlier one
_LARGEST_GLITCH = 1.0  # seconds; a longer step back in time is a new clock, not a misplaced frame
_MISSING_END = 1.0  # seconds that may be missing at the end before a file counts as broken off
_MAX_FAILURES = 25  # packets in a row that cannot be decoded before the file counts as broken off


class VideoFrame(NamedTuple):
    """One frame; `pts * time_base` is its time in seconds, counted from the start of the file."""

    image: np.ndarray  # [H, W, 3] RGB, upright: uint8, or uint16 of the swing of `color` if it has more bits
    pts: int
    time_base: Fraction
    color: ColorInfo | None = None  # of the film; None for a photo

    @property
    def time(self) -> float:
        """Seconds from the start of the file."""
        return float(self.pts * self.time_base)

    @property
    def levels(self) -> np.ndarray | None:  # [65536] uint8
        """What each value of a 16-bit image looks like on a standard screen; None for an 8-bit image."""
        return None if self.image.dtype == np.uint8 else eight_bit_levels(self.color)


def read_frames(
    path: str | Path, *, start: float | None = None, end: float | None = None
) -> Generator[VideoFrame, None, None]:
    """Decode a video lazily; the file is closed when the iterator ends, fails or is closed.

    Times are those of the file, counted from its start where its clock does not begin at 0. Missing or
    repeated ones are repaired, so that pts always rise. A damaged packet is skipped with a warning; a file
    that breaks off raises an error after its last good frame. Frames are resized to the first one's size.

    Args:
        path: The video file.
        start: Seconds; the first frame is the first one with start <= time. None: from the beginning.
        end: Seconds; only frames with time < end. None: to the end.

    Returns:
        An iterator over the frames, in the order of display.

    Raises:
        InputError: At once if the range is empty; while iterating if the file is no video or breaks off.
    """
    if start is not None and end is not None and not start < end:
        raise InputError(f"start must be before end, got start {start:g} s and end {end:g} s")
    return _read(Path(path), 0.0 if start is None else start, end)


def count_frames(path: str | Path, *, before: float) -> int:
    """Count the frames of a video before a moment, by the same times as `read_frames`.

    Args:
        path: The video file.
        before: Seconds; frames with time < before are counted.

    Raises:
        InputError: If the file is no video or breaks off before that moment.
    """
    count = 0
    with closing(_decode(Path(path), before, seek_to=None)) as frames:
        for _, pts, time_base, _ in frames:
            if float(pts * time_base) >= before:
                break
            count += 1
    return count


def _read(path: Path, start: float, end: float | None) -> Generator[VideoFrame, None, None]:
    """Convert the decoded frames of a range."""
    converter = None
    count = 0
    with closing(_decode_from(path, start, end)) as frames:
        for frame, pts, time_base, context in frames:
            time = float(pts * time_base)
            if end is not None and time >= end:
                break
            if time < start:
                continue
            if converter is None:
                color = ColorInfo.of_frame(frame, context)
                converter = ColorConverter(color)
                width, height = frame.width, frame.height
                turn = display_matrix(frame)  # of the whole stream
            count += 1
            image = converter.to_rgb(frame, width=width, height=height)
            yield VideoFrame(upright(image, turn), pts, time_base, color)
    if count == 0:
        until = "the end" if end is None else f"{end:g} s"
        raise InputError(
            f"the range to read must hold at least one frame that can be decoded, got none "
            f"from {start:g} s to {until} in {path}; choose an earlier start or another file"
        )


_Decoded = tuple[av.VideoFrame, int, Fraction, av.VideoCodecContext]


def _decode_from(path: Path, start: float, end: float | None) -> Generator[_Decoded, None, None]:
    """Decode from somewhere before `start`: a seek where the file allows it, else from the first frame."""
    if start > _SEEK_MARGIN:
        with closing(_decode(path, end, seek_to=start - _SEEK_MARGIN)) as frames:
            first = next(frames, None)
            if first is not None and first[0].pts is not None and first[1] * first[2] <= start:
                yield from itertools.chain((first,), frames)
                return
    with closing(_decode(path, end, seek_to=None)) as frames:
        yield from frames


def _decode(path: Path, end: float | None, *, seek_to: float | None) -> Generator[_Decoded, None, None]:
    """Decode frames, repair their times and notice a file that breaks off."""
    with open_video(path) as (container, stream):
        time_base, context = stream_time_base(stream), stream.codec_context
        origin = clock_start(container)
        clock = _Clock(time_base, step=1 / stream_rate(stream), origin=origin)
        failures = row = 0
        reached = Fraction(0)  # where the last packet ends; the last frame may be long
        try:
            if seek_to is not None:
                container.seek(int((Fraction(seek_to) + origin) / time_base), stream=stream)
            for packet in container.demux(stream):
                if packet.pts is not None:
                    reached = max(reached, (packet.pts + (packet.duration or 0)) * time_base - origin)
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError as error:
                    failures, row = failures + 1, row + 1
                    if failures == 1:
                        _log.warning("%s: a damaged packet near %.2f s is skipped", path, clock.time)
                    if row > _MAX_FAILURES:
                        raise _broken_off(path, clock.time, str(error.strerror)) from error
                    continue
                for frame in frames:
                    row = 0
                    yield frame, clock.repair(frame.pts), time_base, context
        except av.error.FFmpegError as error:
            if seek_to is not None and clock.last is None:
                return  # this file cannot seek: the caller starts at the beginning
            raise _broken_off(path, clock.time, str(error.strerror)) from error
        if failures > 1:
            _log.warning("%s: %d damaged packets were skipped", path, failures)
        if seek_to is not None and clock.last is None:
            return  # the caller starts at the beginning
        expected = _stated_end(container, stream)
        if max(float(reached), clock.time) < min(expected, expected if end is None else end) - _MISSING_END:
            raise _broken_off(path, clock.time, f"its header states {expected:.2f} s")


class _Clock:
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
            if (self.last - pts) * self._time_base > _LARGEST_GLITCH:
                self._offset += self.last + self._step - pts
                pts = self.last + self._step
            else:
                pts = self.last + 1
        self.last = pts
        return pts


def _stated_end(container: InputContainer, stream: VideoStream) -> float:
    """Return at which time the video ends by its own header, or 0 where the header does not say."""
    if not stream.duration and "DURATION" not in stream.metadata:
        return 0.0
    start = (stream.start_time or 0) * stream_time_base(stream) - clock_start(container)
    return (stream_duration(container, stream) or 0.0) + float(start)


def _broken_off(path: Path, time: float, reason: str) -> InputError:
    """Make the error for a file that cannot be decoded to its end."""
    return InputError(
        f"input must be decodable to its end, but {path} breaks off at {time:.2f} s ({reason}); "
        "copy or download it again, or choose an end before that time"
    )
