"""Which videos browsers play, and a small H.264 copy of the beginning of one that they do not.

Every browser plays H.264 of 8 bits in 4:2:0; HEVC, 10 bits and lossless H.264 show nothing in many of them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import cv2

from .color import ColorInfo, to_8_bit
from .encoders import MAX_H264_SIDE
from .probe import open_video, probe
from .reader import read_frames
from .writer import VideoWriter

PREVIEW_SECONDS = 30.0  # of a film; more would take long for little
_MAX_WIDTH = 1280  # px
_CRF = 23
_OPEN_CODECS = ("vp8", "vp9", "av1", "libdav1d")
_H264_PROFILES = ("Baseline", "Constrained Baseline", "Main", "High")
_CONTAINERS = (".mp4", ".m4v", ".webm")  # MKV and MOV play in some
_BT709 = 1


def plays_in_browsers(path: str | Path) -> bool:
    """Tell whether a video is coded in a way that all usual browsers play.

    Raises:
        InputError: If the file is no video.
    """
    if Path(path).suffix.lower() not in _CONTAINERS:
        return False
    with open_video(path) as (_, stream):
        context = stream.codec_context
        if context.name in _OPEN_CODECS:
            return True
        return (
            context.name == "h264"
            and context.profile in _H264_PROFILES
            and max(context.width, context.height) <= MAX_H264_SIDE
        )


def write_preview(source: str | Path, target: str | Path, *, on_frame: Callable[[], None]) -> None:
    """Write the first 30 seconds of a video, at most 1280 px wide, so that browsers play them.

    Args:
        source: The video.
        target: The file to be written, an .mp4.
        on_frame: Called after each frame; may raise to interrupt, and then no file stays.

    Raises:
        InputError: If the source cannot be read or the target cannot be written.
    """
    info = probe(source)
    width = min(info.width, _MAX_WIDTH)
    height = max(1, round(info.height * width / info.width))
    writer = VideoWriter(
        target,
        width=width,
        height=height,
        frame_rate=info.frame_rate,
        time_base=info.time_base,
        crf=_CRF,
        audio_from=source,
        audio_end=PREVIEW_SECONDS,
        color=ColorInfo(matrix=_BT709, primaries=_BT709, transfer=_BT709),
        sample_aspect_ratio=info.sample_aspect_ratio,
        inputs=(source,),
    )
    with writer, closing(read_frames(source, end=PREVIEW_SECONDS, report=False)) as frames:
        for frame in frames:
            image = to_8_bit(frame.image, info.color)
            writer.write(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), frame.pts)
            on_frame()
