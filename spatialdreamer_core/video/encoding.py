"""The encoder of one file: what is sent to FFmpeg, and what takes its place where NVENC cannot be used."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from fractions import Fraction

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from ..checks import InputError, check_choice, one_line
from ..memory import is_out_of_memory, out_of_memory_error
from ..stereo import even_size
from .color import ColorInfo
from .containers import MP4_FAMILY
from .encoders import MIN_HEVC_WIDTH, choose_encoder, choose_pixel_format, encoder_options, full_colour_format
from .nvenc import is_nvenc
from .priority import usual_priority

_LOGGER = logging.getLogger(__name__)


class Encoder:
    """An encoder and its settings.

    Args:
        codec: FFmpeg's name of it.
        width: Width of the images; an odd one is padded.
        height: Their height.
        color: Coding of their YUV.
        crf: Constant quality.
        preset: Speed, by x264's names.
        pixel_format: What it is given; None is 4:2:0 of as many bits as the colours have, if it takes them.
        options: Further options, which override the others; those of NVENC go with it.

    Attributes:
        codec: FFmpeg's name of the encoder.
        pixel_format: What it is given, by FFmpeg's name.
        options: What is sent to it.
        width: Width of the video, which is even.
        height: Its height.
    """

    def __init__(
        self,
        codec: str,
        *,
        width: int,
        height: int,
        color: ColorInfo,
        crf: float,
        preset: str,
        pixel_format: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.height, self.width = even_size(height, width)
        self._size = f"{width}x{height}"
        self._is_narrow = width < MIN_HEVC_WIDTH
        self._color, self._crf, self._preset, self._given_format = color, crf, preset, pixel_format
        self._use(codec, options or {})

    @property
    def is_nvenc(self) -> bool:
        """Whether it is the card's."""
        return is_nvenc(self.codec)

    def _use(self, codec: str, options: Mapping[str, str]) -> None:
        """Set the encoder, what it is given, and its options."""
        self.codec = codec
        self.pixel_format = self._given_format or choose_pixel_format(codec, self._color.bits)
        own = encoder_options(
            codec, self.pixel_format, crf=self._crf, preset=self._preset, hdr=self._color.hdr
        )
        self.options = {**own, **options}

    def use_software(self, error: BaseException, *, suffix: str = ".mp4") -> None:
        """Become the encoder that does on the CPU what NVENC was to do; the log says so.

        Args:
            error: Why.
            suffix: The file's, which tells what it holds.
        """
        failed = self.codec
        codec = choose_encoder(self.width, self.height, bits=self._color.bits, suffix=suffix)
        if self._given_format not in {form.name for form in av.codec.Codec(codec, "w").video_formats or ()}:
            full = self._given_format is not None and "444" in self._given_format
            self._given_format = full_colour_format(codec, self._color.bits) if full else None
        self._use(codec, {})
        reason = getattr(error, "strerror", None) or one_line(error)
        _LOGGER.warning("encoder: %s, since %s cannot be used: %s", self.codec, failed, reason)

    def check(self) -> None:
        """Check that FFmpeg has the encoder.

        Raises:
            InputError: If it does not, or a stereo video cannot be written with it.
        """
        software = {"libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks"}
        known = (software | {"h264_nvenc", "hevc_nvenc", "av1_nvenc"}) & av.codecs_available
        check_choice("codec", self.codec, tuple(sorted(known)))

    def add_to(
        self,
        container: OutputContainer,
        *,
        frame_rate: Fraction,
        time_base: Fraction,
        aspect: Fraction | None,
        metadata: Mapping[str, str],
    ) -> VideoStream:
        """Open the encoder for a stream of an output.

        Args:
            container: The output.
            frame_rate: Average frames per second.
            time_base: Seconds per unit of pts.
            aspect: Width over height of a pixel; None is square.
            metadata: Tags of the stream.

        Raises:
            InputError: If the encoder does not take the size, the pixel format or its options.
        """
        if self.codec == "libsvtav1":  # else it writes a page about itself to the terminal
            os.environ.setdefault("SVT_LOG", "1")
        try:
            stream = container.add_stream(self.codec, rate=frame_rate, options=self.options)
            assert isinstance(stream, VideoStream), self.codec
            stream.metadata.update(metadata)
            context = stream.codec_context
            context.width, context.height = self.width, self.height
            context.pix_fmt = self.pixel_format
            if self.codec == "libx265" and self._is_narrow:
                raise ValueError(f"libx265 needs {MIN_HEVC_WIDTH} px")
            context.time_base = time_base
            if aspect is not None:
                context.sample_aspect_ratio = aspect
            if self.codec.startswith(("libx265", "hevc_")) and container.format.name in MP4_FAMILY:
                context.codec_tag = "hvc1"  # Apple's players refuse FFmpeg's default, hev1
            self._color.tag(context)
            with usual_priority():
                context.open()
        except (ValueError, av.error.FFmpegError) as error:
            if is_out_of_memory(error):
                raise out_of_memory_error(error) from error
            raise InputError(
                f"codec must be able to encode {self._size} {self.pixel_format} for a "
                f"{container.format.name} file, got {self.codec!r} with {self.options} ({error}); "
                "choose another codec, container or size"
            ) from error
        options = " ".join(f"{name}={value}" for name, value in self.options.items())
        level = logging.INFO if self.is_nvenc else logging.DEBUG
        _LOGGER.log(level, "encoder: %s, given %s, with %s", self.codec, self.pixel_format, options)
        return stream
