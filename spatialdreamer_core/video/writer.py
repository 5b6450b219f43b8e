"""Write RGB frames to a video file, with the audio of the source, that is whole or absent."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

from ..atomic import write_error
from ..checks import InputError, check_choice
from ..memory import is_out_of_memory, out_of_memory_error
from .color import ColorConverter, ColorInfo
from .encoders import CRF, MIN_HEVC_WIDTH, PRESET
from .output import OutputFile
from .probe import VideoInfo
from .stream_copy import EXTRAS, SOUND, StreamCopy

_LOGGER = logging.getLogger(__name__)

VIDEO_CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_MP4_FAMILY = ("mp4", "mov")
_MAX_SIDE = 16384  # px, of libx264; few players come near it


class VideoWriter:
    """Encodes frames into a file; use it in a `with` statement.

    The file appears under its name only when the `with` block ends without an exception; until then there is
    nothing but a hidden temporary file, and after a failure not even that.

    Each frame keeps its pts, so that a variable frame rate stays variable. An odd width or height is padded
    by repeating the last column or row, since 4:2:0 video needs even sizes.

    Time 0 of the output is the first frame's time if a part is written (`audio_start`) or nothing is copied
    beside the frames; else it is time 0 of the source, so that a video which begins later than its audio
    stays that way.

    Args:
        path: The file to write, its container chosen by the suffix (a key of `VIDEO_CONTAINERS`).
        width: Width of the images.
        height: Height of the images.
        source: The video that the frames come from: its frame rate, time base, colours and pixel shape are
            kept where no other ones are given.
        frame_rate: Average frames per second; sets the last frame's duration and guides the encoder.
        time_base: Seconds per unit of pts.
        codec: FFmpeg's name of the encoder.
        crf: Constant quality; 18 is visually lossless for libx264, lower is better and larger.
        preset: The encoder's speed preset, used for libx264 and libx265.
        pixel_format: Pixel format of the encoded video; None is 4:2:0 of 10 bits where the colour has more
            than 8 and the encoder takes them, else of 8 bits.
        audio_from: File whose audio streams are copied, or None.
        extras_from: File whose subtitles, fonts, cover, chapters and tags are copied, or None.
        audio_start: Seconds; set if the video starts there rather than at the source's beginning.
        audio_end: Seconds at which audio and extras end; None: with the source.
        color: Coding of YUV; without a source, None is what players guess from the size.
        sample_aspect_ratio: Width over height of a pixel; without a source, None is square.
        metadata: Tags of the file, any names.
        stream_metadata: Tags of the video stream, such as `stereo_mode` in Matroska.
        codec_options: Further options of the encoder; they override `crf` and `preset`.
        overwrite: Whether an existing file may be replaced in the end.
        inputs: Files and folders that are read meanwhile beside `source` and `audio_from`, and so must not
            be the output.

    Raises:
        InputError: If the file exists, is an input or cannot be written, or cannot hold a codec.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        width: int,
        height: int,
        source: VideoInfo | None = None,
        frame_rate: Fraction | None = None,
        time_base: Fraction | None = None,
        codec: str = "libx264",
        crf: float = CRF.default,
        preset: str = PRESET.default,
        pixel_format: str | None = None,
        audio_from: str | Path | None = None,
        extras_from: str | Path | None = None,
        audio_start: float | None = None,
        audio_end: float | None = None,
        color: ColorInfo | None = None,
        sample_aspect_ratio: Fraction | None = None,
        metadata: Mapping[str, str] | None = None,
        stream_metadata: Mapping[str, str] | None = None,
        codec_options: Mapping[str, str] | None = None,
        overwrite: bool = False,
        inputs: Collection[str | Path] = (),
    ) -> None:
        files = (audio_from, extras_from, None if source is None else source.path)
        read = (*inputs, *(file for file in files if file is not None))
        self._file = OutputFile(path, suffixes=VIDEO_CONTAINERS, inputs=read, overwrite=overwrite)
        self._container_name = VIDEO_CONTAINERS[self.path.suffix.lower()]
        if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
            raise InputError(
                f"the output's sides must be 1 to {_MAX_SIDE} px, got {width}x{height}; "
                "choose a half format or make the input smaller first"
            )
        self._width, self._height = width, height
        self._codec = codec
        self._copied_kinds: dict[Path, tuple[str, ...]] = {}  # by the file that they come from
        for file, kinds in ((audio_from, SOUND), (extras_from, EXTRAS)):
            if file is not None:
                self._copied_kinds[Path(file)] = (*self._copied_kinds.get(Path(file), ()), *kinds)
        self._start = None if audio_start is None else Fraction(audio_start)
        self._end = None if audio_end is None else Fraction(audio_end)
        if source is not None:
            frame_rate, time_base = frame_rate or source.frame_rate, time_base or source.time_base
            color = color or source.color
            sample_aspect_ratio = sample_aspect_ratio or source.sample_aspect_ratio
        if not frame_rate or not time_base or frame_rate < 0 or time_base < 0:
            raise InputError(
                f"`frame_rate` and `time_base` must be positive, got {frame_rate} and {time_base}; "
                "give both, or a `source`"
            )
        self._frame_rate, self._time_base = frame_rate, time_base
        self._color = color or ColorInfo.guess(width, height)
        self._pixel_format = pixel_format or _choose_pixel_format(codec, self._color.bits)
        self._options = {**_encoder_options(codec, crf, preset, self._color), **(codec_options or {})}
        self._converter = ColorConverter(self._color)
        self._aspect = sample_aspect_ratio
        self._metadata, self._stream_metadata = dict(metadata or {}), dict(stream_metadata or {})
        self._duration = max(1, round(1 / frame_rate / time_base))
        self._origin = 0
        self._last_pts: int | None = None
        self._frames = 0
        self._container: OutputContainer | None = None
        self._copies: list[StreamCopy] = []

    @property
    def path(self) -> Path:
        """The file's path; in the end one with a number if something else took the name during the work."""
        return self._file.path

    def __enter__(self) -> VideoWriter:
        self._file.__enter__()
        try:
            self._open()
        except OSError as error:
            self._discard()
            raise write_error(self.path, error) from error
        except BaseException:
            self._discard()
            raise
        return self

    def write(
        self,
        image: np.ndarray,  # [H, W, 3] RGB, uint8, or uint16 of the swing of the colour
        pts: int,
    ) -> None:
        """Encode one frame, and copy the audio up to its time.

        Args:
            image: The frame, as `read_frames` gives it.
            pts: Its time in units of `time_base`, later than that of the frame before.

        Raises:
            InputError: If the image has another size or type, pts does not rise, or the disk is full.
        """
        if image.shape != (self._height, self._width, 3) or image.dtype not in (np.uint8, np.uint16):
            raise InputError(
                f"`image` must be uint8 or uint16 of shape [{self._height}, {self._width}, 3], "
                f"got {image.dtype} {list(image.shape)}; make a writer for each size"
            )
        if self._last_pts is None:
            self._begin(pts)
        elif pts <= self._last_pts:
            raise InputError(
                f"`pts` must rise from frame to frame, got {pts} after {self._last_pts}; sort the frames"
            )
        self._last_pts = pts
        self._frames += 1
        frame = self._converter.to_yuv(_pad_to_even(image), pixel_format=self._pixel_format)
        frame.pts, frame.time_base = pts - self._origin, self._time_base
        try:
            self._encode(frame)
            for copy in self._copies:
                copy.write_until(pts * self._time_base)
        except OSError as error:
            raise write_error(self.path, error) from error
        except av.error.FFmpegError as error:
            raise self._refused(error) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            self._finish()
        except OSError as failure:
            self._discard()
            raise write_error(self.path, failure) from failure
        except av.error.FFmpegError as failure:
            self._discard()
            raise self._refused(failure) from failure
        except BaseException:
            self._discard()
            raise

    def _refused(self, error: av.error.FFmpegError) -> InputError:
        """Make the error for what the encoder or the container does not take."""
        return InputError(
            f"the frames must fit {self._codec} and {self.path.suffix}, got an error of FFmpeg "
            f"({error.strerror}) for {self.path}; write a .mkv file, or choose another codec"
        )

    def _open(self) -> None:
        """Open the temporary file, the encoder and the audio, and write the header."""
        check_choice("codec", self._codec, tuple(sorted(_video_encoders())))
        # Without use_metadata_tags mp4 drops every tag that it has no box for.
        movflags = "+faststart+use_metadata_tags" if self._metadata else "+faststart"
        options = {"movflags": movflags} if self._container_name in _MP4_FAMILY else {}
        self._container = av.open(
            str(self._file.partial), "w", format=self._container_name, container_options=options
        )
        self._container.metadata.update(self._metadata)
        self._stream = self._add_video_stream(self._container)
        for file, kinds in self._copied_kinds.items():
            self._copies.append(
                StreamCopy(file, self._container, kinds=kinds, start=self._start, end=self._end)
            )
        try:
            self._container.start_encoding()
        except av.error.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            codecs = ", ".join(stream.codec_context.name for stream in self._container.streams)
            raise InputError(
                f"the container must be able to hold every stream, got {codecs} for {self.path.suffix}; "
                "write a .mkv file or convert without audio"
            ) from error

    def _add_video_stream(self, container: OutputContainer) -> VideoStream:
        """Add the encoder to the output."""
        try:
            stream = container.add_stream(self._codec, rate=self._frame_rate, options=self._options)
            assert isinstance(stream, VideoStream), self._codec
            self._configure(stream)
        except (ValueError, av.error.FFmpegError) as error:
            if is_out_of_memory(error):
                raise out_of_memory_error(error) from error
            raise InputError(
                f"codec must be able to encode {self._width}x{self._height} {self._pixel_format} for "
                f"{self.path.suffix}, got {self._codec!r} with {self._options} ({error}); "
                "choose another codec, container or size"
            ) from error
        return stream

    def _configure(self, stream: VideoStream) -> None:
        """Set an encoder up and open it: even sizes, tagged colours, the clock of the source."""
        stream.metadata.update(self._stream_metadata)
        context = stream.codec_context
        context.width, context.height = self._width + self._width % 2, self._height + self._height % 2
        context.pix_fmt = self._pixel_format
        if self._codec == "libx265" and self._width < MIN_HEVC_WIDTH:
            raise ValueError(f"libx265 needs {MIN_HEVC_WIDTH} px")
        context.time_base = self._time_base
        if self._aspect is not None:
            context.sample_aspect_ratio = self._aspect
        if self._codec.startswith(("libx265", "hevc_")) and self._container_name in _MP4_FAMILY:
            context.codec_tag = "hvc1"  # Apple's players refuse FFmpeg's default, hev1
        self._color.tag(context)
        context.open()

    def _begin(self, pts: int) -> None:
        """Fix which time of the source becomes 0."""
        if self._start is not None or all(copy.is_empty for copy in self._copies):
            self._origin = pts
        for copy in self._copies:
            copy.begin(origin=self._origin * self._time_base)

    def _encode(self, frame: av.VideoFrame | None) -> None:
        """Encode a frame, or flush the encoder, and write what comes out of it."""
        assert self._container is not None, "use the writer in a `with` statement"
        for packet in self._stream.encode(frame):
            if frame is None and self._frames <= (2 if self._codec == "libx265" else 1):
                packet.dts = packet.pts  # libx265 leaves it undefined where there are but one or two frames
            if not packet.duration:
                packet.duration = self._duration
            self._container.mux(packet)

    def _finish(self) -> None:
        """Write all that is left and give the file its name."""
        if self._last_pts is None or self._container is None:
            raise InputError(
                f"a video must have at least one frame, got none for {self.path}; check the range"
            )
        self._encode(None)
        for copy in self._copies:
            copy.write_until(None)
            copy.close()
        self._container.close()
        self._container = None
        self._file.commit()
        self._file.discard()

    def _discard(self) -> None:
        """Close everything and remove the temporary file."""
        with contextlib.suppress(OSError):
            self._file.partial.unlink()  # where an open file can be unlinked, closing need not complete it
        try:
            for copy in self._copies:
                copy.close()
            if self._container is not None:
                with contextlib.suppress(Exception):  # the error that led here is the one to report
                    self._container.close()
                self._container = None
        finally:
            self._file.discard()


def _video_encoders() -> set[str]:
    """List the encoders of this FFmpeg that a stereo video can be written with."""
    software = {"libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks"}
    return (software | {"h264_nvenc", "hevc_nvenc", "av1_nvenc"}) & av.codecs_available


def _choose_pixel_format(codec: str, bits: int) -> str:
    """Choose 4:2:0 of 10 bits for deeper sources if the encoder takes it."""
    if bits <= 8 or codec not in av.codecs_available:  # an unknown codec is refused when the file is opened
        return "yuv420p"
    taken = {format.name for format in av.codec.Codec(codec, "w").video_formats or ()}
    for pixel_format in ("yuv420p10le", "p010le", "yuv422p10le"):
        if pixel_format in taken:
            return pixel_format
    _LOGGER.warning("%s takes 8 bits a component only; the source's %d are reduced", codec, bits)
    return "yuv420p"


def _encoder_options(codec: str, crf: float, preset: str, color: ColorInfo) -> dict[str, str]:
    """Translate quality, speed and the metadata of HDR into an encoder's own options."""
    options = _quality_options(codec, crf, preset)
    for name, value in (color.hdr.encoder_options(codec) if color.hdr else {}).items():
        options[name] = f"{options[name]}:{value}" if name in options else value
    return options


def _quality_options(codec: str, crf: float, preset: str) -> dict[str, str]:
    """Translate quality and speed into an encoder's own options."""
    if codec == "libx264":
        return {"crf": f"{crf:g}", "preset": preset}
    if codec == "libx265":
        return {"crf": f"{crf:g}", "preset": preset, "x265-params": "log-level=error"}
    if codec.endswith("_nvenc"):
        return {"rc": "vbr", "cq": f"{crf:g}"}
    if codec in ("libsvtav1", "libvpx-vp9"):
        return {"crf": f"{crf:g}"}
    return {}


def _pad_to_even(image: np.ndarray) -> np.ndarray:
    """Repeat the last column and row where the size is odd; return contiguous memory."""
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(image)
