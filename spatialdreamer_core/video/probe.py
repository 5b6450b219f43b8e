"""Open a video file and tell what is in it, with one clear error for each kind of file that is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.stream import VideoStream

from ..checks import InputError
from ..media import film_stream, open_media
from ..parsing import parsing
from .color import ColorInfo
from .hdr import dynamic_metadata, side_data
from .limits import MAX_FRAME_PIXELS, check_frame_size
from .projection import stated_projection
from .stereo_source import stated_stereo

_TEXT_ART_CODECS = {"ansi", "bintext", "idf", "xbin"}  # FFmpeg draws text files as pictures
_FALLBACK_RATE = Fraction(25)
_LONGEST_RUN_IN = 1  # seconds of sound before time 0
_HIGHEST_RATE = 1000  # frames per second; above it a stated rate is a clock, not a rate


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds, sizes as displayed (after rotation)."""

    path: Path
    width: int  # pixels
    height: int  # pixels
    rotation: int  # degrees clockwise from the stored to the displayed picture: 0, 90, 180, 270
    frame_rate: Fraction  # average frames per second
    time_base: Fraction  # seconds per unit of pts
    frame_count: int | None  # the container's count, or duration times rate; None if neither is known
    duration: float | None  # seconds of video
    start_time: float  # seconds of the file's own clock at which our time 0 lies
    audio_codecs: tuple[str, ...]  # one for each audio stream
    sample_aspect_ratio: Fraction  # width over height of a displayed pixel
    color: ColorInfo  # how its YUV is to be read
    codec: str
    dynamic_metadata: tuple[str, ...] = ()  # HDR metadata of each picture, which no output can carry
    stereo: str | None = None  # what its metadata says of two views in its pictures, None if nothing
    projection: str | None = None  # what its metadata says it is instead of flat, None if nothing


def probe(path: str | Path) -> VideoInfo:
    """Read a video file's header and decode its first frame.

    Raises:
        InputError: If the file is missing, empty, no video, holds no frame that can be decoded, or no colours
            that can be read.
    """
    with (
        parsing(path, rule="input must be a whole video file", remedy="copy or download it again"),
        open_video(path) as (container, stream),
    ):
        frame = _first_frame(container, stream, Path(path))
        width, height = frame.width, frame.height
        aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        matrix = display_matrix(frame)
        if matrix is not None and matrix[0, 0] == 0:
            width, height, aspect = height, width, 1 / aspect
        frame_rate = stream_rate(stream)
        duration = stream_duration(container, stream)
        frame_count = stream.frames or (None if duration is None else max(1, round(duration * frame_rate)))
        return VideoInfo(
            path=Path(path),
            width=width,
            height=height,
            rotation=round(-frame.rotation / 90) * 90 % 360,
            frame_rate=frame_rate,
            time_base=stream_time_base(stream),
            frame_count=frame_count,
            duration=duration,
            start_time=float(clock_start(container)),
            audio_codecs=tuple(
                audio.codec_context.name if audio.codec_context else "unknown"
                for audio in container.streams.audio
            ),
            sample_aspect_ratio=aspect,
            color=ColorInfo.of_frame(frame, stream.codec_context),
            codec=stream.codec_context.name,
            dynamic_metadata=dynamic_metadata(stream, frame),
            stereo=stated_stereo(container, stream, frame),
            projection=stated_projection(frame),
        )


@contextmanager
def open_video(
    path: str | Path, *, card: HWAccel | None = None
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its video stream for decoding on several threads, or on a card; close it when done.

    Args:
        path: The file.
        card: The card that decodes it; None: software does.

    Raises:
        InputError: If the file is missing, a folder, empty, unreadable, no video or too large a one.
    """
    path = Path(path)
    with open_media(path, card=card) as container:
        stream = film_stream(container)
        if stream is None:
            raise InputError(f"input must have a video stream, got {path} without one; choose a video file")
        if stream.codec_context is None:
            raise InputError(
                f"input must have a codec that can be decoded, got {path}; convert it to H.264 first"
            )
        if stream.codec_context.name in _TEXT_ART_CODECS:
            raise InputError(f"input must be a video file, got the text file {path}; choose a video file")
        if stream.codec_context.width:
            check_frame_size(stream.codec_context.width, stream.codec_context.height, path)
        # A stream may grow later: then its decoder refuses the frames before it makes room for them.
        stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
        stream.thread_type = "AUTO" if card is None else "NONE"
        yield container, stream


def clock_start(container: InputContainer) -> Fraction:
    """Return the time, in seconds of the file's clock, that is our time 0.

    Streams cut from a broadcast do not start at 0, and all times count from their start. A start a little
    below 0 is only the run-in of an audio decoder, so 0 stays 0; one far below is that of a clock about to
    wrap.
    """
    start = Fraction(container.start_time or 0, av.time_base)
    return start if start > 0 or start < -_LONGEST_RUN_IN else Fraction(0)


def stream_time_base(stream: VideoStream) -> Fraction:
    """Return the seconds per unit of pts."""
    return stream.time_base or 1 / stream_rate(stream)


def stream_rate(stream: VideoStream) -> Fraction:
    """Return the average frame rate, or the best guess at it."""
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and 0 < rate <= _HIGHEST_RATE:
            return Fraction(rate)
    return _FALLBACK_RATE


def stream_duration(container: InputContainer, stream: VideoStream) -> float | None:
    """Return the length of the video in seconds, as the file states it, or None."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    stated = stream.metadata.get("DURATION", "")  # Matroska, "hours:minutes:seconds"
    try:
        hours, minutes, seconds = stated.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return container.duration / av.time_base if container.duration else None


def display_matrix(frame: av.VideoFrame) -> np.ndarray | None:  # [2, 2] of -1, 0, 1
    """Return how a frame is turned or mirrored, (x', y') = (x, y) @ matrix, or None if it is not.

    Ask one frame of a stream, not each (see `side_data`).
    """
    stated = side_data(frame, "DISPLAYMATRIX")
    if stated is None:  # or hidden by another kind that this PyAV does not know
        turns = round(-frame.rotation / 90) % 4
        return np.linalg.matrix_power(np.array([[0, 1], [-1, 0]]), turns) if turns else None
    matrix = np.rint(np.frombuffer(stated, np.int32).reshape(3, 3)[:2, :2] / 65536)  # 16.16 fixed point
    quarter_turns = np.array_equal(np.abs(matrix).sum(0), (1, 1)) and np.array_equal(
        np.abs(matrix).sum(1), (1, 1)
    )
    return matrix if quarter_turns and not np.array_equal(matrix, np.eye(2)) else None


def upright(
    image: np.ndarray,  # [H, W, 3]
    matrix: np.ndarray | None,  # [2, 2], of `display_matrix`
) -> np.ndarray:  # [H, W, 3] or [W, H, 3]
    """Turn and mirror an image as the display matrix says."""
    if matrix is None:
        return image
    if matrix[0, 0] == 0:  # x' = matrix[1, 0] * y, y' = matrix[0, 1] * x
        image = cv2.transpose(image)
        flip_x, flip_y = matrix[1, 0] < 0, matrix[0, 1] < 0
    else:
        flip_x, flip_y = matrix[0, 0] < 0, matrix[1, 1] < 0
    if flip_x or flip_y:
        image = cv2.flip(image, -1 if flip_x and flip_y else 1 if flip_x else 0)
    return image


def _first_frame(container: InputContainer, stream: VideoStream, path: Path) -> av.VideoFrame:
    """Decode the first frame that can be decoded."""
    failure: av.error.FFmpegError | None = None
    try:
        for packet in container.demux(stream):
            try:
                for frame in packet.decode():
                    return frame
            except av.error.InvalidDataError as error:
                failure = error
    except av.error.FFmpegError as error:
        failure = error
    raise InputError(
        f"input must hold at least one frame that can be decoded, got none in {path}; choose another file"
    ) from failure
