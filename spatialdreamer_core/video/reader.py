"""Stream the frames of a video file as upright RGB, a frame at a time, whatever the length."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Generator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import torch
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from torch import Tensor

from ..bars import Surround
from ..checks import InputError
from ..dvg import Placement
from ..parsing import parsing
from . import nvdec
from .color import ColorConverter, ColorInfo, eight_bit_levels
from .completeness import IncompleteInput
from .decoder import FrameClock, PacketDecoder, broken_off, stated_end
from .deinterlace import Deinterlacer
from .probe import (
    clock_start,
    display_matrix,
    open_video,
    stream_rate,
    stream_time_base,
    upright,
)
from .timeline import Timeline, may_leap, move, packet_time

_LOGGER = logging.getLogger(__name__)
_SILENCE = logging.getLogger(f"{__name__}.silence")  # for passes over a film that another pass reports on
_SILENCE.disabled = True

_RULE, _REMEDY = "input must be a whole video file", "copy or download it again"
_SEEK_MARGIN = 0.5  # seconds: the pictures just before a key frame may depend on an earlier one
_LONGEST_GROUP = 3000  # packets that are kept while a key frame is looked for


class VideoFrame(NamedTuple):
    """One frame; `pts * time_base` is its time in seconds, counted from the start of the file."""

    image: np.ndarray  # [H, W, 3] RGB, upright: uint8, or uint16 of the swing of `color` if it has more bits
    pts: int
    time_base: Fraction
    color: ColorInfo | None = None  # of the film; None for a photo
    surround: Surround | None = None  # of a picture that was cut out of a frame with black bars
    exact: Tensor | None = None  # [3, H, W] in [0, 1], the whole frame if it came from memory as floats
    starts_scene: bool | None = None  # whether a scene begins with it; None: that is still to be found
    placement: Placement | None = None  # how its depth becomes disparity; None: as all of the film's

    @property
    def time(self) -> float:
        """Seconds from the start of the file."""
        return float(self.pts * self.time_base)

    @property
    def levels(self) -> np.ndarray | None:  # [65536] uint8
        """What each value of a 16-bit image looks like on a standard screen; None for an 8-bit image."""
        return None if self.image.dtype == np.uint8 else eight_bit_levels(self.color)


def read_frames(
    path: str | Path,
    *,
    start: float | None = None,
    end: float | None = None,
    deinterlace: bool = True,
    report: bool = True,
    device: torch.device | None = None,
) -> Generator[VideoFrame, None, None]:
    """Decode a video lazily; the file is closed when the iterator ends, fails or is closed.

    Times are those of the file, counted from its start where its clock does not begin at 0. Missing or
    repeated ones are repaired, so that pts always rise, also where the clock restarts. A damaged packet is
    skipped with a warning; a file that breaks off raises an error after its last good frame. Frames are
    resized to the first one's size.

    Args:
        path: The video file.
        start: Seconds; the first frame is the first one with start <= time. None: from the beginning.
        end: Seconds; only frames with time < end. None: to the end.
        deinterlace: Whether frames that are marked as interlaced are made whole.
        report: Whether damage and deinterlacing are logged.
        device: Where the frames are going to. On an NVIDIA card its decoder does what it does as well as the
            software, see `nvdec`.

    Returns:
        An iterator over the frames, in the order of display.

    Raises:
        InputError: At once if the range is empty; while iterating if the file is no video.
        IncompleteInput: After the last frame, if the file is cut short or broke off.
    """
    if start is not None and end is not None and not start < end:
        raise InputError(f"start must be before end, got start {start:g} s and end {end:g} s")
    log = _LOGGER if report else _SILENCE
    return _read(Path(path), 0.0 if start is None else start, end, deinterlace, log, device)


def count_frames(path: str | Path, *, before: float) -> int:
    """Count the frames of a video before a moment, by the same times as `read_frames`.

    Args:
        path: The video file.
        before: Seconds; frames with time < before are counted.

    Raises:
        InputError: If the file is no video or breaks off before that moment.
    """
    count = 0
    with closing(_decode(Path(path), before, seek_to=None, deinterlace=False, log=_SILENCE)) as frames:
        for _, pts, time_base, _ in frames:
            if float(pts * time_base) >= before:
                break
            count += 1
    return count


def until_broken(
    frames: Generator[VideoFrame, None, None], note: Callable[[IncompleteInput], None]
) -> Generator[VideoFrame, None, None]:
    """Yield the frames of a file; if it is incomplete, end after the last of them and pass the error on.

    Args:
        frames: What `read_frames` gave.
        note: Called with the error.
    """
    with closing(frames):
        try:
            yield from frames
        except IncompleteInput as error:
            note(error)


def has_frames(path: str | Path, *, start: float) -> bool:
    """Tell whether a video has frames from a moment on, whatever duration its header states."""
    with closing(read_frames(path, start=start, report=False)) as frames:
        try:
            return next(frames, None) is not None
        except InputError:
            return False


def _read(
    path: Path,
    start: float,
    end: float | None,
    deinterlace: bool,
    log: logging.Logger,
    device: torch.device | None,
) -> Generator[VideoFrame, None, None]:
    """Convert the decoded frames of a range."""
    converter = None
    count = 0
    with closing(_decode_from(path, start, end, deinterlace, log, device)) as frames:
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


def _decode_from(
    path: Path,
    start: float,
    end: float | None,
    deinterlace: bool,
    log: logging.Logger,
    device: torch.device | None,
) -> Generator[_Decoded, None, None]:
    """Decode from somewhere before `start`: a seek where the file allows it, else from the first frame."""
    if start > _SEEK_MARGIN:
        seek_to = start - _SEEK_MARGIN
        with closing(_decode_anywhere(path, end, seek_to, deinterlace, log, device)) as frames:
            first = next(frames, None)
            if first is not None and first[0].pts is not None and first[1] * first[2] <= start:
                yield from itertools.chain((first,), frames)
                return
    with closing(_decode_anywhere(path, end, None, deinterlace, log, device)) as frames:
        yield from frames


def _decode_anywhere(
    path: Path,
    end: float | None,
    seek_to: float | None,
    deinterlace: bool,
    log: logging.Logger,
    device: torch.device | None,
) -> Generator[_Decoded, None, None]:
    """Decode on the card as far as it goes, the rest by software."""
    reached: int | None = None
    if device is not None and _suits_card(path, device):
        try:
            with closing(
                _decode(
                    path, end, seek_to=seek_to, deinterlace=deinterlace, log=log, card=nvdec.card_of(device)
                )
            ) as frames:
                for decoded in frames:
                    reached = decoded[1]
                    yield decoded
            if reached is not None:
                return
        except InputError as error:  # of the card, or of a file on which the software is to judge
            nvdec.note_software(path, error)
    with closing(_decode(path, end, seek_to=seek_to, deinterlace=deinterlace, log=log)) as frames:
        for decoded in frames:
            if reached is None or decoded[1] > reached:
                yield decoded


def _suits_card(path: Path, device: torch.device) -> bool:
    """Tell by a film's header whether the card is to decode it."""
    if not nvdec.is_offered(device):
        return False
    with parsing(path, rule=_RULE, remedy=_REMEDY), open_video(path) as (_, stream):
        return nvdec.suits(stream.codec_context.name, stream.codec_context.pix_fmt)


def _decode(
    path: Path,
    end: float | None,
    *,
    seek_to: float | None,
    deinterlace: bool,
    log: logging.Logger,
    card: HWAccel | None = None,
) -> Generator[_Decoded, None, None]:
    """Decode frames, repair their times and notice a file that breaks off."""
    with (
        parsing(path, rule=_RULE, remedy=_REMEDY),
        open_video(path, card=card) as (container, stream),
    ):
        time_base, context = stream_time_base(stream), stream.codec_context
        clock = FrameClock(time_base, step=1 / stream_rate(stream), origin=clock_start(container))
        deinterlacer = Deinterlacer(context) if deinterlace else None
        decode = Packet.decode if card is None else nvdec.CardDecoder(context)
        decoder = PacketDecoder(path, clock, log, decode)
        try:
            for packet in _packets(container, stream, seek_to):
                for frame in decoder.decode(packet):
                    for whole in (
                        (frame,) if deinterlacer is None else _deinterlace(deinterlacer, frame, path, log)
                    ):
                        yield whole, clock.repair(whole.pts), time_base, context
            for whole in () if deinterlacer is None else deinterlacer.finish():
                yield whole, clock.repair(whole.pts), time_base, context
        except av.error.FFmpegError as error:
            if seek_to is not None and clock.last is None:
                return  # this file cannot seek: the caller starts at the beginning
            raise broken_off(path, clock.time, str(error.strerror)) from error
        if seek_to is not None and clock.last is None:
            return  # the caller starts at the beginning
        if end is None or clock.time < end:
            decoder.check_end(stated_end(container, stream))


def _packets(
    container: InputContainer, stream: VideoStream, seek_to: float | None
) -> Generator[Packet, None, None]:
    """Read a video's packets with their times repaired, from a key frame before a moment on.

    Where the clock may restart, a search by time can end anywhere, so the packets before are read, too.
    """
    time_base, origin = stream_time_base(stream), clock_start(container)
    leaps = may_leap(container)
    timeline = Timeline(leaps=leaps, step=1 / stream_rate(stream))
    if seek_to is not None and not leaps:
        container.seek(int((Fraction(seek_to) + origin) / time_base), stream=stream)
    skipped: list[Packet] | None = [] if seek_to is not None and leaps else None  # since the last key frame
    for packet in container.demux(stream):
        move(packet, timeline.follow(packet))
        if skipped is not None and seek_to is not None:
            if packet.is_keyframe:
                skipped.clear()
            skipped.append(packet)
            time = packet_time(packet)
            if packet.size and time is not None and time - origin < seek_to and len(skipped) < _LONGEST_GROUP:
                continue
            yield from skipped
            skipped = None
        else:
            yield packet


def _deinterlace(
    deinterlacer: Deinterlacer, frame: av.VideoFrame, path: Path, log: logging.Logger
) -> Generator[av.VideoFrame, None, None]:
    """Deinterlace a frame; the first one that needs it is told."""
    found = deinterlacer.found
    yield from deinterlacer.step(frame)
    if deinterlacer.found and not found:
        log.info("%s: interlaced frames are deinterlaced", path)
