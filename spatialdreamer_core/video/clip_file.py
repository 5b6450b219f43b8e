"""Write frames and sound that are in memory to a video file that is whole or absent."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
from torch import Tensor

from ..checks import check_video
from ..options import Option
from ..stereo import PIXEL_FORMATS, QuiltGrid, check_packed, pixel_aspect
from .encoders import CODEC, CRF, PRESET, check_encoding, choose_encoder, full_colour_format
from .sound import Sound, encode_sound
from .stereo_metadata import STEREO_METADATA, stereo_metadata
from .stereo_source import output_tags
from .writer import VideoWriter

FRAME_RATE = Option(
    default=24.0,
    low=0.01,
    high=1000.0,
    unit="frames per second",
    step=0.01,
    name="fps",
    kind=float,
    help="Frame rate of the video.",
)
_ROUNDED = 2e-4  # relative difference up to which a number is a rounded rate
_LONGEST_PERIOD = 1001  # denominators up to it hold the rates of film and television, such as 24000/1001


def write_clip(
    frames: Tensor,  # [F, 3, H, W] in [0, 1]
    path: str | Path,
    *,
    frame_rate: float | Fraction,
    format: str | None = None,
    grid: QuiltGrid | None = None,
    sound: Sound | None = None,
    codec: str = CODEC.default,
    crf: int = CRF.default,
    preset: str = PRESET.default,
    pixel_format: str | None = None,
    metadata: Mapping[str, str] | None = None,
    stereo: str = STEREO_METADATA.default,
    on_frame: Callable[[int], None] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write frames and sound to a video file.

    Args:
        frames: The frames; values outside [0, 1] are cut, NaN is black.
        path: The file, its container chosen by the suffix (a key of `VIDEO_CONTAINERS`).
        frame_rate: Frames per second, 0.01 to 1000, of frame_sequential pairs of them; of the rates of film
            and television, such as 23.976, the exact one is meant.
        format: How the frames hold two views, one of `stereo.FORMATS`; None: they hold one. The half formats'
            pixels are twice as wide, or high, as they are high, or wide.
        grid: With quilt, how its views lie; None: two beside each other.
        sound: The sound; what outlasts the frames is left out.
        codec: The encoder, see `choose_encoder`.
        crf: Quality, 0 (lossless) to 51 (worst).
        preset: Speed of the encoder.
        pixel_format: Pixel format of the encoded video; None is 4:2:0, or 4:4:4 for formats in which
            neighbouring pixels are different eyes'.
        metadata: Tags of the file, any names.
        stereo: What the file says about its two views, one of `STEREO_METADATA`'s choices.
        on_frame: Called after each frame with the frames done; may raise to interrupt, and then no file
            stays.
        overwrite: Whether an existing file may be replaced in the end.

    Returns:
        The path of the file: not `path` if something else took that name during the work.

    Raises:
        InputError: For frames, sound, a setting or a file that cannot be used.
    """
    check_encoding(codec=codec, crf=crf, preset=preset)
    rate = exact_rate(frame_rate)
    check_video("frames", frames, channels=3)
    height, width = frames.shape[-2:]
    tags = metadata
    chosen = choose_encoder(width, height, codec=codec, crf=crf, suffix=Path(path).suffix.lower())
    if format in PIXEL_FORMATS and pixel_format is None:
        pixel_format = full_colour_format(chosen, bits=8)
    if format is not None:
        check_packed(height, width, format=format, frames=len(frames), grid=grid)
        if format == "frame_sequential":
            rate *= 2
        tags = output_tags(metadata, Path(path), format=format, width=width, height=height)
    with tempfile.TemporaryDirectory(prefix="spatialdreamer_", ignore_cleanup_errors=True) as folder:
        sound_file = None
        if sound is not None and sound.waveform.numel():
            sound_file = Path(folder) / "sound.m4a"
            encode_sound(sound, sound_file, seconds=len(frames) / rate)
        writer = VideoWriter(
            path,
            width=width,
            height=height,
            frame_rate=rate,
            time_base=1 / rate,
            codec=chosen,
            crf=crf,
            preset=preset,
            pixel_format=pixel_format,
            audio_from=sound_file,
            sample_aspect_ratio=None if format is None else pixel_aspect(format),
            metadata=tags,
            stereo=None if format is None else stereo_metadata(format, choice=stereo),
            overwrite=overwrite,
        )
        with writer:
            for index, frame in enumerate(frames):
                writer.write(frame_to_picture(frame), index)
                if on_frame is not None:
                    on_frame(index + 1)
    return writer.path


def exact_rate(frame_rate: float | Fraction) -> Fraction:
    """Return the frame rate that a rounded number stands for.

    Raises:
        InputError: If it is not between 0.01 and 1000 frames per second.
    """
    FRAME_RATE.check(frame_rate)
    frame_rate = Fraction(frame_rate)
    for whole in (round(frame_rate), round(frame_rate * Fraction(1001, 1000))):  # 23.976, 23.98: 24000/1001
        for rate in (Fraction(whole), Fraction(whole * 1000, 1001)):
            if whole and abs(frame_rate / rate - 1) < _ROUNDED:
                return rate
    return frame_rate.limit_denominator(_LONGEST_PERIOD)


def frame_to_picture(
    frame: Tensor,  # [3, H, W] in [0, 1]
) -> np.ndarray:  # [H, W, 3] uint8
    """Convert a frame of floats; values outside [0, 1] are cut, NaN is black."""
    pixels = frame.detach().float().nan_to_num(0.0, 1.0, 0.0).clamp(0, 1).mul(255).round().byte()
    return np.ascontiguousarray(pixels.movedim(0, -1).cpu().numpy())
