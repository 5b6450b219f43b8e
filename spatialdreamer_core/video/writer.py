"""Write RGB frames to a video file, with the audio of the source, that is whole or absent."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from copy import copy as shallow_copy
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from ..atomic import write_error
from ..checks import InputError
from .color import ColorInfo
from .containers import MP4_FAMILY, VIDEO_CONTAINERS, check_codec_fits
from .encoders import CRF, PRESET
from .encoding import Encoder
from .output import OutputFile
from .preparing import FramePreparer
from .probe import VideoInfo
from .stereo_marker import StereoMarker
from .stereo_metadata import StereoMetadata
from .stream_copy import StreamCopies
from .written import Written

PART_CONTAINERS = {".nut": "nut", ".mov": "mov"}
_MAX_SIDE = 16384  # px, of libx264; few players come near it


class VideoWriter:
    """Encodes frames into a file; use it in a `with` statement.

    The file appears under its name only when the `with` block ends without an exception and it holds what it
    was to hold (`Written`); until then there is nothing but a hidden temporary file, and after a failure not
    even that.

    Each frame keeps its pts, so that a variable frame rate stays variable; `FramePreparer` says what becomes
    of odd sizes.

    What is written may be prepared by other threads before. Where NVENC cannot be opened, or fails at the
    first frame, as when all its sessions are in use, x264 or x265 takes its place.

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
        preset: The speed by x264's names, used for libx264, libx265 and NVENC.
        pixel_format: Pixel format of the encoded video; None is 4:2:0 of 10 bits where the colour has more
            than 8 and the encoder takes them, else of 8 bits.
        audio_from: File whose audio streams are copied, or None.
        extras_from: File whose subtitles, fonts, cover, chapters and tags are copied, or None.
        audio_start: Seconds; set if the video starts there rather than at the source's beginning.
        audio_end: Seconds at which audio and extras end; None: with the source.
        color: Coding of YUV; without a source, None is what players guess from the size.
        sample_aspect_ratio: Width over height of a pixel; without a source, None is square.
        metadata: Tags of the file, any names.
        stream_metadata: Tags of the video stream.
        stereo: What the file is to say about the two views in its frames (`stereo_metadata`); None: nothing.
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
        stereo: StereoMetadata | None = None,
        codec_options: Mapping[str, str] | None = None,
        overwrite: bool = False,
        inputs: Collection[str | Path] = (),
    ) -> None:
        files = (audio_from, extras_from, None if source is None else source.path)
        read = (*inputs, *(file for file in files if file is not None))
        self._file = OutputFile(path, suffixes=VIDEO_CONTAINERS, inputs=read, overwrite=overwrite)
        self._suffix = self.path.suffix.lower()  # the film's, of parts as well
        self._container_name = VIDEO_CONTAINERS[self._suffix]
        if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
            raise InputError(
                f"the output's sides must be 1 to {_MAX_SIDE} px, got {width}x{height}; "
                "choose a half format or make the input smaller first"
            )
        self._copies = StreamCopies(audio_from, extras_from, start=audio_start, end=audio_end)
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
        self._encoder = Encoder(
            codec,
            width=width,
            height=height,
            color=self._color,
            crf=crf,
            preset=preset,
            pixel_format=pixel_format,
            options=codec_options,
        )
        self._preparer = FramePreparer(self._encoder, width=width, height=height, color=self._color)
        self._aspect = sample_aspect_ratio
        self._metadata, self._stream_metadata = dict(metadata or {}), dict(stream_metadata or {})
        self._marker = StereoMarker(stereo)
        self._duration = max(1, round(1 / frame_rate / time_base))
        self._origin = 0
        self._last_pts: int | None = None
        self._frames = 0
        self._container: OutputContainer | None = None
        self._joins = False  # whether packets are written that parts have encoded

    def part(self, path: Path) -> VideoWriter:
        """Make a writer of some of this file's frames, encoded alike, whose packets `copy_packet` takes.

        Args:
            path: The part's file, of `part_suffix`, which is replaced if it exists.
        """
        part = shallow_copy(self)
        part._file = OutputFile(path, suffixes=PART_CONTAINERS, overwrite=True)
        part._container_name = PART_CONTAINERS[path.suffix]
        part._copies = StreamCopies()
        part._metadata, part._stream_metadata = {}, {}
        part._marker = StereoMarker(None)  # packets are marked as they are joined
        return part

    @property
    def part_suffix(self) -> str:
        """The suffix of parts: NUT keeps any clock, but does not hold ProRes."""
        return ".mov" if self._encoder.codec.startswith("prores") else ".nut"

    @property
    def codec(self) -> str:
        """FFmpeg's name of the encoder."""
        return self._encoder.codec

    @property
    def time_base(self) -> Fraction:
        """Seconds per unit of pts."""
        return self._time_base

    @property
    def path(self) -> Path:
        """The file's path; in the end one with a number if something else took the name during the work."""
        return self._file.path

    @property
    def pixel_format(self) -> str:
        """What the encoder takes, by FFmpeg's name; another one once NVENC turned out not to be usable."""
        return self._encoder.pixel_format

    @property
    def color(self) -> ColorInfo:
        """How the file's YUV is coded."""
        return self._color

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

    def prepare(
        self,
        image: np.ndarray,  # [H, W, 3] RGB, uint8, or uint16 of the swing of the colour; or RGBA, or planes
    ) -> av.VideoFrame:
        """Convert a frame to what the encoder takes; any thread may, while another one writes.

        Args:
            image: The frame, as `read_frames` gives it, or of 8 bits with a fourth channel, which is left
                out; or what `rgb_to_yuv` made of it on a device for this writer's `color` and `pixel_format`.

        Raises:
            InputError: If the image has another size or type.
        """
        return self._preparer.prepare(image)

    def prepare_halves(
        self,
        halves: Sequence[np.ndarray],  # two of [H, W, 3] RGB or [H, W, 4] RGBA, uint8
        *,
        stacked: bool,
    ) -> av.VideoFrame:
        """Convert a frame of two halves to what the encoder takes, each by itself; any thread may.

        Args:
            halves: The left and the right one, or the upper and the lower one, of even sides.
            stacked: Whether they lie one above the other.

        Raises:
            InputError: If they are no halves of this writer's frames.
        """
        return self._preparer.prepare_halves(halves, stacked=stacked)

    def write(
        self,
        image: np.ndarray | av.VideoFrame,
        pts: int,
    ) -> None:
        """Encode one frame, and copy the audio up to its time.

        Args:
            image: The frame, as `prepare` gives or takes it.
            pts: Its time in units of `time_base`, later than that of the frame before.

        Raises:
            InputError: If the image has another size or type, pts does not rise, or the disk is full.
        """
        frame = image if isinstance(image, av.VideoFrame) else self.prepare(image)
        self._preparer.check(frame)
        is_first = self._last_pts is None
        if self._last_pts is not None and pts <= self._last_pts:
            raise InputError(
                f"`pts` must rise from frame to frame, got {pts} after {self._last_pts}; sort the frames"
            )
        self._last_pts = pts
        self._frames += 1
        try:
            self._mux(self._encode_first(frame, pts) if is_first else self._encode(frame, pts))
            self._copies.write_until(pts * self._time_base)
        except OSError as error:
            raise write_error(self.path, error) from error
        except av.error.FFmpegError as error:
            raise self._refused(error) from error

    def copy_packet(self, packet: Packet, *, pts: int, dts: int, index: int) -> None:
        """Write a packet that a part has encoded, and copy the audio up to its time.

        Args:
            packet: The packet, in the order of decoding.
            pts: Its time in units of `time_base`; the first packet's is the film's first.
            dts: When it is decoded, later than the packet before.
            index: How many pictures are shown before it.

        Raises:
            InputError: If the disk is full, or the container does not take it.
        """
        try:
            if self._last_pts is None:
                self._joins, self._last_pts = True, pts
                self._begin(pts)
            self._frames, self._last_pts = self._frames + 1, max(self._last_pts, pts)
            packet.stream, packet.time_base = self._stream, self._time_base
            packet.pts, packet.dts = pts - self._origin, dts - self._origin
            self._marker.note(packet.pts, index)
            self._mux(self._marked([packet]))
            self._copies.write_until(self._last_pts * self._time_base)
        except OSError as error:
            raise write_error(self.path, error) from error
        except av.error.FFmpegError as error:
            raise self._refused(error) from error

    @property
    def extradata(self) -> bytes | None:
        """What the open encoder puts before all packets, None if nothing."""
        return self._stream.codec_context.extradata

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
            f"the frames must fit {self._encoder.codec} and {self.path.suffix}, got an error of FFmpeg "
            f"({error.strerror}) for {self.path}; write a .mkv file, or choose another codec"
        )

    def _open(self) -> None:
        """Open the temporary file, the encoder and the audio, and write the header."""
        self._encoder.check()
        check_codec_fits(self._encoder.codec, self._suffix)
        try:
            self._container, self._stream = self._open_encoder()
        except InputError as error:
            if not self._encoder.is_nvenc:
                raise
            self._encoder.use_software(error.__cause__ or error, suffix=self._suffix)
            self._container, self._stream = self._open_encoder()
        self._copies.open(self._container)
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

    def _open_encoder(self) -> tuple[OutputContainer, VideoStream]:
        """Open the temporary file and the encoder.

        Raises:
            InputError: If the encoder cannot be opened.
        """
        options = {}
        if self._container_name in MP4_FAMILY:
            puts_index_in_front = self._marker.adds_boxes(self._container_name)
            movflags = "" if puts_index_in_front else "+faststart"
            if self._metadata:
                movflags += "+use_metadata_tags"  # without it mp4 drops every tag that it has no box for
            options = {"movflags": movflags} if movflags else {}
        container = av.open(
            str(self._file.partial), "w", format=self._container_name, container_options=options
        )
        try:
            container.metadata.update(self._metadata)
            stream = self._encoder.add_to(
                container,
                frame_rate=self._frame_rate,
                time_base=self._time_base,
                aspect=self._aspect,
                metadata={**self._stream_metadata, **self._marker.stream_tags(self._container_name)},
            )
        except BaseException:
            with contextlib.suppress(Exception):
                container.close()
            raise
        return container, stream

    def _begin(self, pts: int) -> None:
        """Fix which time of the source becomes 0."""
        if self._copies.start is not None or self._copies.is_empty:
            self._origin = pts
        self._copies.begin(origin=self._origin * self._time_base)

    def _encode_first(self, frame: av.VideoFrame, pts: int) -> list[Packet]:
        """Encode the first frame; if NVENC fails at it, the file is begun anew without."""
        self._begin(pts)
        try:
            return self._encode(frame, pts)
        except av.error.FFmpegError as error:
            if not self._encoder.is_nvenc:
                raise
            self._close()
            self._encoder.use_software(error, suffix=self._suffix)
        self._open()
        self._begin(pts)
        return self._encode(frame, pts)

    def _encode(self, frame: av.VideoFrame, pts: int) -> list[Packet]:
        """Encode a frame; returns the packets that come out."""
        assert self._container is not None, "use the writer in a `with` statement"
        frame = self._preparer.current(frame)
        frame.pts, frame.time_base = pts - self._origin, self._time_base
        self._marker.note(frame.pts, self._frames - 1)
        return self._marked(self._stream.encode(frame))

    def _marked(self, packets: list[Packet]) -> list[Packet]:
        """Put the message about the two views into what the encoder gave."""
        return [self._marker.mark(packet, codec=self._encoder.codec) for packet in packets]

    def _mux(self, packets: list[Packet]) -> None:
        """Write packets, each with its duration."""
        assert self._container is not None, "use the writer in a `with` statement"
        for packet in packets:
            if not packet.duration:
                packet.duration = self._duration
            self._container.mux(packet)

    def _finish(self) -> None:
        """Write all that is left and give the file its name."""
        if self._last_pts is None or self._container is None:
            raise InputError(
                f"a video must have at least one frame, got none for {self.path}; check the range"
            )
        packets = [] if self._joins else self._marked(self._stream.encode(None))
        if self._frames <= (2 if self._encoder.codec == "libx265" else 1):
            for packet in packets:
                packet.dts = packet.pts  # libx265 leaves it undefined where there are but one or two frames
        self._mux(packets)
        self._copies.write_until(None)
        self._copies.close()
        sounds = len(self._container.streams.audio)
        self._container.close()
        self._container = None
        width, height = self._encoder.width, self._encoder.height
        container = self._container_name
        self._marker.finish(
            self._file.partial, container=container, width=width, height=height, aspect=self._aspect
        )
        asked = Written(
            encoder=self._encoder.codec,
            container=container,
            width=width,
            height=height,
            frames=self._frames,
            sounds=sounds,
            stereo=self._marker.said,
            tags=self._metadata,
        )
        asked.check(self._file.partial, path=self.path)
        self._file.commit()
        self._file.discard()

    def _discard(self) -> None:
        """Close everything and remove the temporary file."""
        with contextlib.suppress(OSError):
            self._file.partial.unlink()  # where an open file can be unlinked, closing need not complete it
        try:
            self._close()
        finally:
            self._file.discard()

    def _close(self) -> None:
        """Close what is open, whatever it says: the error that led here is the one to report."""
        container, self._container = self._container, None
        self._copies.close()
        if container is not None:
            with contextlib.suppress(Exception):
                container.close()
