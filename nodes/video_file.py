"""The file behind a VIDEO, with the edits that were made to it in the graph.

Newer versions of ComfyUI keep edits until the video is saved: a trim (`get_active_trim_window`), a crop or a
resize (`has_pending_frame_edits`). A trim alone is left to whoever reads the file; other edits are saved to a
temporary file first, and so is a video that is in memory.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import Input, InputImpl

from ..spatialdreamer_core.checks import InputError
from ..spatialdreamer_core.pipeline import ConvertConfig
from ..spatialdreamer_core.video import VideoInfo, probe, write_clip, write_error
from .layout import audio_to_sound, image_to_frames

_DECODABLE_BITS = 8  # a component, of what is written from memory; deeper videos are saved by ComfyUI


@dataclass(frozen=True)
class VideoFile:
    """A video file, or a part of one."""

    path: str
    start: float = 0.0  # s
    duration: float | None = None  # s; None: to the end
    info: VideoInfo | None = None  # of the file, if it has been looked at
    is_temporary: bool = False  # written for a `with` block, anew each time

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the file."""
        return not self.start and self.duration is None

    def apply_to(self, config: ConvertConfig) -> ConvertConfig:
        """Return settings that convert this part; their own start and end count from its start.

        Raises:
            InputError: If they begin behind it.
        """
        if self.is_whole:
            return config
        start, end = config.start or 0.0, config.end
        if self.duration is not None:
            if start >= self.duration:
                raise InputError(
                    f"start must be less than the trimmed video's duration ({self.duration:.2f} s), got "
                    f"{start:g} s"
                )
            end = self.duration if end is None else min(end, self.duration)
        return replace(config, start=self.start + start, end=None if end is None else self.start + end)


@contextmanager
def open_video_file(video: Input.Video, *, whole: bool = False) -> Iterator[VideoFile]:
    """Find the file behind a video, or write one that lasts as long as the `with` block.

    Args:
        video: The video.
        whole: Whether a part of a file has to become a file of its own.

    Raises:
        InputError: If it is no video, or there is no room for a temporary file.
    """
    found = _find_file(video)
    if found is not None and (found.is_whole or not whole):
        yield found
        return
    folder = folder_paths.get_temp_directory()
    os.makedirs(folder, exist_ok=True)
    handle, path = tempfile.mkstemp(prefix="spatialdreamer_", suffix=".mp4", dir=folder)
    os.close(handle)
    try:
        try:
            _save(video, path)
        except OSError as error:
            raise write_error(Path(path), error, name="the temporary file of an edited video") from error
        yield VideoFile(path, is_temporary=True)
    finally:
        os.remove(path)


def _find_file(video: Input.Video) -> VideoFile | None:
    """Return the file behind a video, unless it is in memory or has edits beyond a trim.

    Raises:
        InputError: If the file is no video.
    """
    if type(video).get_stream_source is Input.Video.get_stream_source:
        return None  # the default encodes the whole video into memory
    if _call(video, "has_pending_frame_edits", default=False):
        return None
    source = video.get_stream_source()
    if not isinstance(source, str):
        return None
    info = probe(source)
    original = InputImpl.VideoFromFile(source)
    if video.get_dimensions() != original.get_dimensions():
        return None  # cropped, by a version that cannot be asked
    start, duration = _call(video, "get_active_trim_window", default=(0.0, 0.0))
    if not start and not duration:
        whole = video.get_duration() == original.get_duration()
        return VideoFile(source, info=info) if whole else None
    # ComfyUI rounds down to the stream's clock, on which the frames lie.
    first = int(start / info.time_base)
    last = int((start + duration) / info.time_base)
    return VideoFile(
        source,
        start=float(first * info.time_base),
        duration=float((last - first) * info.time_base) if duration else None,
        info=info,
    )


def _save(video: Input.Video, path: str) -> None:
    """Write a video with its edits, as near to lossless as this version of ComfyUI can."""
    deep = _call(video, "get_bit_depth", default=_DECODABLE_BITS) > _DECODABLE_BITS
    if isinstance(video, InputImpl.VideoFromComponents) and not deep:
        components = video.get_components()
        write_clip(
            image_to_frames("video", components.images),
            path,
            frame_rate=components.frame_rate,
            sound=audio_to_sound(components.audio),
            codec="libx264",
            crf=0,
            preset="ultrafast",
            pixel_format="yuv444p",
            overwrite=True,
        )
        return
    lossless = {} if _is_bytes_of_a_file(video) else {"crf": 0, "preset": "ultrafast"}
    known = signature(video.save_to).parameters
    video.save_to(path, **{name: value for name, value in lossless.items() if name in known})


def _is_bytes_of_a_file(video: Input.Video) -> bool:
    """Tell whether a video is an unedited file in memory, whose streams are copied if no quality is named."""
    return (
        type(video).get_stream_source is not Input.Video.get_stream_source
        and not isinstance(video.get_stream_source(), str)
        and not _call(video, "has_pending_frame_edits", default=False)
        and not any(_call(video, "get_active_trim_window", default=(0.0, 0.0)))
    )


def _call(video: Input.Video, name: str, *, default: Any) -> Any:
    """Call a method that older versions of ComfyUI lack."""
    return getattr(video, name)() if hasattr(video, name) else default
