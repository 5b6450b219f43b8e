"""One clip of the dataset as one file: x1, x2, x̃1 and the mask as four FFV1 streams in Matroska.

FFV1 is lossless and takes half of PNG's size: a frame of 1280x720 .56 MB instead of 1.09, which one core
decodes in 30 ms instead of 22; the range coder's 8 % less would cost 53 ms. The mask, 1 bit a pixel, is a
thousandth of the file. Each frame is a key frame, so any one of them is read without the others. FFmpeg
patches damaged frames without a word, so the clip's record holds a checksum for each. The bytes depend
neither on the time nor on the number of threads.
"""

from __future__ import annotations

import io
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import torch
from torch import Tensor

from ...checks import InputError, check_video, one_line
from ...media import ONE_THREAD

CLIP_SUFFIX = ".mkv"
_STREAMS = {"target": "bgr0", "reference": "bgr0", "warped": "bgr0", "hole": "gray"}  # pixel formats
_BITEXACT = {"fflags": "+bitexact"}  # of the container: no version, no random number
_ENCODER = {
    "level": "3",  # version of FFV1
    "coder": "0",  # Golomb-Rice
    "g": "1",  # key frames alone
    "slices": "4",
    "flags": "+bitexact",
}
_DIGITS = 8  # of a checksum


class DVGClip(NamedTuple):
    """Frames of a training clip made by forward-backward rendering."""

    target: Tensor  # [F, 3, H, W] in [0, 1], x1: the video itself, the truth
    reference: Tensor  # [F, 3, H, W] in [0, 1], x2: the other eye's view, its holes filled
    warped: Tensor  # [F, 3, H, W] in [0, 1], x̃1: x2 rendered back, black where masked
    hole: Tensor  # [F, 1, H, W], 1 = hole, 0 = known


class DamagedClip(InputError):
    """A clip's file that is missing, cut short or changed."""


def encode_clip(clip: DVGClip, *, fps: float) -> bytes:
    """Encode a clip; colours are rounded to 8 bits, the mask to 0 and 1.

    Args:
        clip: The clip.
        fps: Its frame rate, for players; frames are read by their numbers.

    Raises:
        InputError: If the tensors are not those of one clip.
    """
    for name, channels in (("target", 3), ("reference", 3), ("warped", 3), ("hole", 1)):
        check_video(name, getattr(clip, name), channels=channels, like=clip.target, like_name="target")
    rate = Fraction(fps).limit_denominator(1001)
    height, width = clip.target.shape[-2:]
    file = io.BytesIO()
    with av.open(file, "w", format="matroska", options=_BITEXACT) as container:
        streams = []
        for name, pixel_format in _STREAMS.items():
            stream = container.add_stream("ffv1", rate=rate, options=_ENCODER)
            stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
            stream.codec_context.thread_count = 1
            stream.metadata["title"] = name
            streams.append(stream)
        planes = [_to_8_bit(part) for part in clip]
        for index in range(len(clip.target)):
            for stream, pixels in zip(streams, planes, strict=True):
                layout = "rgb24" if pixels.ndim == 4 else "gray"
                frame = av.VideoFrame.from_ndarray(pixels[index], format=layout)
                frame = frame.reformat(format=stream.pix_fmt, **ONE_THREAD)
                frame.pts, frame.time_base = index, 1 / rate
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
    return file.getvalue()


def frame_checksums(data: bytes) -> str:
    """Return the CRC-32 of each frame's four pictures as they are encoded, 8 hexadecimal digits each."""
    with av.open(io.BytesIO(data), options=_BITEXACT) as container:
        frames = list(_encoded_frames(container))
    return "".join(_checksum(packets) for packets in frames)


def decode_clip(path: Path, frames: range, *, size: tuple[int, int], checksums: str) -> DVGClip:
    """Read some frames of a clip's file.

    Args:
        path: The file.
        frames: Their numbers, in rising order.
        size: (height, width) that they must have.
        checksums: What `frame_checksums` gave for the clip.

    Raises:
        DamagedClip: If the file is missing or damaged, or has no such frames.
    """
    try:
        with av.open(str(path), options=_BITEXACT) as container:
            parts = _decode(container, frames, checksums)
    except (OSError, ValueError, av.error.FFmpegError) as error:
        raise _damage(path, one_line(error)) from error
    for name, pixels in parts.items():
        if len(pixels) != len(frames) or any(picture.shape[:2] != size for picture in pixels):
            raise _damage(path, f"other frames than were written in {name}")
    return DVGClip(**{name: _to_floats(np.stack(pixels)) for name, pixels in parts.items()})


def _encoded_frames(container: av.container.InputContainer) -> Iterator[tuple[av.Packet, ...]]:
    """Give the packets of each frame, one of each stream, without decoding them."""
    streams = container.streams.video
    if [stream.metadata.get("title") for stream in streams] != list(_STREAMS):
        raise ValueError("other streams than were written")
    for stream in streams:
        stream.codec_context.thread_count = 1
    waiting: list[deque[av.Packet]] = [deque() for _ in streams]
    for packet in container.demux(*streams):
        if packet.size:
            waiting[packet.stream_index].append(packet)
        if all(waiting):
            yield tuple(packets.popleft() for packets in waiting)


def _decode(
    container: av.container.InputContainer, frames: range, checksums: str
) -> dict[str, list[np.ndarray]]:
    """Decode the frames of each stream; the others are passed over."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in _STREAMS}
    for number, packets in enumerate(_encoded_frames(container)):
        if number not in frames:
            continue
        if _checksum(packets) != checksums[_DIGITS * number : _DIGITS * (number + 1)]:
            raise ValueError(f"frame {number} was changed")
        for name, packet in zip(_STREAMS, packets, strict=True):
            for frame in packet.decode():
                assert isinstance(frame, av.VideoFrame)
                layout = "gray" if name == "hole" else "rgb24"
                parts[name].append(frame.reformat(format=layout, **ONE_THREAD).to_ndarray())
        if number == frames[-1]:
            break
    return parts


def _checksum(packets: Sequence[av.Packet]) -> str:
    """Return the checksum of a frame's packets."""
    checksum = 0
    for packet in packets:
        checksum = zlib.crc32(bytes(packet), checksum)
    return f"{checksum:0{_DIGITS}x}"


def _damage(path: Path, reason: str) -> DamagedClip:
    """Make the error for a file that cannot be read as it was written."""
    return DamagedClip(
        f"clip must be as it was written, got {path} ({reason}); delete it and run `dataset build` again"
    )


def _to_8_bit(frames: Tensor) -> np.ndarray:  # [F, C, H, W] -> [F, H, W, 3] or [F, H, W] uint8
    """Round frames to 8 bits, the way `_to_floats` reads them."""
    pixels = frames.detach().float().clamp(0, 1).mul(255).round().byte().cpu()
    return np.ascontiguousarray(pixels[:, 0] if pixels.shape[1] == 1 else pixels.movedim(1, -1))


def _to_floats(pixels: np.ndarray) -> Tensor:  # [F, H, W, 3] or [F, H, W] uint8 -> [F, C, H, W]
    """Bring 8 bits to [0, 1]."""
    frames = torch.from_numpy(pixels)
    frames = frames[:, None] if frames.ndim == 3 else frames.movedim(-1, 1)
    return frames.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
