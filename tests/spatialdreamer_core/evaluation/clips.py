"""A rendered clip with its true second view, written as users have it."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
import torch

from spatialdreamer_core.metrics import make_clip
from spatialdreamer_core.stereo import pack

SIZE = (64, 96)
FRAMES = 4


def scene(frames=FRAMES, size=SIZE, baseline=0.1):
    return make_clip("translate_right", size=size, frames=frames, baseline=baseline)


def write_video(path, frames, *, aspect=None, codec="ffv1", pixel_format="bgr0", metadata=None):
    """Write frames [F, 3, H, W] without loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = frames.shape[-1], frames.shape[-2]
        stream.pix_fmt = pixel_format
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        stream.metadata.update(metadata or {})
        container.start_encoding()
        for picture in pictures(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_folder(folder, frames):
    """Write frames as PNG files whose names count from 8 to 12: natural order, not that of letters."""
    folder.mkdir()
    for index, picture in enumerate(pictures(frames), start=8):
        cv2.imwrite(str(folder / f"frame_{index}.png"), picture[..., ::-1])
    return folder


def pictures(frames):
    return [np.ascontiguousarray(picture) for picture in to_8_bit(frames).permute(0, 2, 3, 1).numpy()]


def to_8_bit(frames):
    return (frames.clamp(0, 1) * 255).round().to(torch.uint8)


def packed(left, right, format="full_sbs"):
    return pack(left, right, format=format)
