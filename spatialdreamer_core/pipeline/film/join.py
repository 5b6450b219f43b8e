"""Segments to one film: their packets are copied, with sound and subtitles as of a film made in one go.

Each segment's frames keep their own times. Times of decoding are made anew for all of the film: the times of
display in order, late by as many frames as the encoder holds back at most. So they rise through every join,
whatever the frame rate does there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet

from ...checks import InputError
from ...parsing import parsing
from ...video.writer import VideoWriter


def join_segments(
    paths: Sequence[Path],
    starts: Sequence[int],
    writer: VideoWriter,
    *,
    on_frame: Callable[[int], None],
) -> None:
    """Write a film's packets into its file.

    Args:
        paths: The segments, in order.
        starts: The time of each one's first frame, in units of the writer's time base.
        writer: The film's writer, which is open.
        on_frame: Called after each frame with its number; may raise to interrupt.

    Raises:
        InputError: If a segment cannot be read or was encoded otherwise, or the film cannot be written.
    """
    delay, step = 0, 1
    for number, (path, start) in enumerate(zip(paths, starts, strict=True)):
        timing = _read_timing(path, start, writer.time_base)
        if timing.extradata != writer.extradata:
            raise InputError(
                f"all segments must be encoded alike, got another encoder's in {path}; free the encoder that "
                "the film was begun with and run again, or begin anew with --force"
            )
        delay = max(delay, timing.delay)
        if number == 0:
            step = timing.step
    decoding = deque(starts[0] - late * step for late in range(delay, 0, -1))
    done = 0
    for path, start in zip(paths, starts, strict=True):
        timing = _read_timing(path, start, writer.time_base)
        order = sorted(timing.pts)
        ranks = {pts: done + rank for rank, pts in enumerate(order)}
        for packet, pts, shown in zip(_packets(path), timing.pts, order, strict=True):
            decoding.append(shown)
            writer.copy_packet(packet, pts=pts, dts=decoding.popleft(), index=ranks[pts])
            on_frame(ranks[pts])
        done += len(order)


@dataclass(frozen=True)
class _Timing:
    """When a segment's packets are shown, in the order of decoding."""

    pts: list[int]
    delay: int  # packets by which the encoder holds a frame back at most
    extradata: bytes | None

    @property
    def step(self) -> int:
        """The time between the first two frames."""
        first, *others = sorted(self.pts)[:2]
        return max(1, others[0] - first) if others else 1


def _read_timing(path: Path, start: int, time_base: Fraction) -> _Timing:
    """Read the times of a segment, whose first frame is shown at `start`, in units of `time_base`."""
    shown = [
        round(packet.pts * packet.time_base / time_base)
        for packet in _packets(path)
        if packet.pts is not None
    ]
    if not shown:
        raise InputError(f"a segment must hold frames, got none in {path}; remove it and run again")
    shift = start - min(shown)
    order = {pts: rank for rank, pts in enumerate(sorted(shown))}
    delay = max(number - order[pts] for number, pts in enumerate(shown))
    with av.open(str(path)) as container:
        extradata = container.streams.video[0].codec_context.extradata
    return _Timing([pts + shift for pts in shown], delay, extradata)


def _packets(path: Path) -> Iterator[Packet]:
    """Read a segment's packets."""
    with (
        parsing(path, rule="a segment must be a whole file", remedy="remove it and run again"),
        av.open(str(path)) as container,
    ):
        for packet in container.demux(video=0):
            if packet.size:
                yield packet
