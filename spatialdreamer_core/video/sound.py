"""Sound that is in memory, encoded to a file from which `VideoWriter` copies it.

AAC plays wherever MP4 does; it knows some sample rates only, to the next of which others are resampled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral
from pathlib import Path

import av
import numpy as np
import torch
from av.audio.stream import AudioStream
from torch import Tensor

from ..checks import InputError, check_finite

_AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)  # Hz
_HIGH_RATE = 48000  # Hz, of what has a higher rate than any of those
_MAX_RATE = 1_000_000  # Hz; no recorder comes near it
_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")  # by the number of channels
_BIT_RATE = 96_000  # bit/s a channel
_BLOCK = 1 << 16  # samples handed to the encoder at once


@dataclass(frozen=True)
class Sound:
    """Sound in memory."""

    waveform: Tensor  # [C, T], 1 to 8 channels; floats in [-1, 1], or whole numbers of the type's full range
    sample_rate: int  # Hz

    def check(self) -> None:
        """Check the sound.

        Raises:
            InputError: If it has no shape, type, rate or values that sound can have.
        """
        waveform, rate = self.waveform, self.sample_rate
        if not isinstance(waveform, Tensor) or waveform.ndim != 2 or not 1 <= len(waveform) <= len(_LAYOUTS):
            got = list(waveform.shape) if isinstance(waveform, Tensor) else type(waveform).__name__
            raise InputError(
                f"audio must be a waveform of 1 to {len(_LAYOUTS)} channels [C, T], got {got}; mix it down "
                "first"
            )
        if waveform.is_complex() or waveform.dtype == torch.bool:
            raise InputError(f"audio must hold samples, got {waveform.dtype}; convert it to float")
        if not isinstance(rate, Integral) or isinstance(rate, bool) or not 1 <= rate <= _MAX_RATE:
            raise InputError(
                f"audio must have a sample rate of 1 to {_MAX_RATE} Hz, a whole number, got {rate!r:.60}; "
                "load it anew"
            )
        if waveform.is_floating_point():
            check_finite("audio", waveform, "repair it or leave it out")


def encode_sound(sound: Sound, path: Path, *, seconds: Fraction | None = None) -> None:
    """Encode sound as AAC.

    Args:
        sound: The sound.
        path: The file to be written, an .m4a.
        seconds: What lies behind is left out; None: nothing.

    Raises:
        InputError: If the sound breaks its rules.
    """
    sound.check()
    length = sound.waveform.shape[1]
    if seconds is not None:
        length = min(length, math.ceil(seconds * sound.sample_rate))
    layout = _LAYOUTS[len(sound.waveform) - 1]
    rate = min((rate for rate in _AAC_RATES if rate >= sound.sample_rate), default=_HIGH_RATE)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate, layout=layout)
        assert isinstance(stream, AudioStream), stream
        stream.codec_context.bit_rate = _BIT_RATE * len(sound.waveform)
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        for start in range(0, length, _BLOCK):
            samples = _to_float(sound.waveform[:, start : min(start + _BLOCK, length)])
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples.T).reshape(1, -1), format="flt", layout=layout
            )
            frame.sample_rate, frame.pts = int(sound.sample_rate), start
            frame.time_base = Fraction(1, int(sound.sample_rate))
            for resampled in resampler.resample(frame):
                container.mux(stream.encode(resampled))
        for resampled in resampler.resample(None):
            container.mux(stream.encode(resampled))
        container.mux(stream.encode(None))


def _to_float(samples: Tensor) -> np.ndarray:  # [C, T] float32 in [-1, 1]
    """Bring samples of any type to floats, cut to full scale."""
    if not samples.is_floating_point():
        limits = torch.iinfo(samples.dtype)
        middle = 0 if limits.min < 0 else (limits.max + 1) / 2
        samples = (samples.double() - middle) / (limits.max + 1 - middle)
    return samples.detach().float().clamp(-1, 1).cpu().numpy()
