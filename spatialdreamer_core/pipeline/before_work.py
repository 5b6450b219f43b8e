"""What is known and checked of a conversion before any work: settings, files, memory."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ..checks import InputError
from ..video.completeness import check_whole
from ..video.limits import require_film_memory
from ..video.output import check_another_file
from ..video.photo_kind import FILM, is_photo, photo_kind
from ..video.probe import VideoInfo, probe
from ..video.projection import check_flat, photo_projection
from ..video.reader import has_frames
from ..video.stereo_photo import STEREO_PHOTO_SUFFIXES
from ..video.stereo_source import check_one_view, photo_stereo
from .config import ConvertConfig
from .device import choose_device
from .film.sidecar import read_sidecar

_LOGGER = logging.getLogger(__name__)


def check_conversion(
    input_path: Path | str,
    output_path: Path | str,
    config: ConvertConfig,
    *,
    preview_path: Path | str | None = None,
) -> None:
    """Check all of a conversion that can be checked without opening a file.

    Raises:
        InputError: If a setting breaks its rule, the device is not there, the input is a folder, or an output
            is an input or the other output.
    """
    config.check()
    choose_device(config.device)
    input_path, output_path = Path(input_path), Path(output_path)
    for name, path in (("input", input_path), ("output", output_path), ("preview", preview_path)):
        if "\0" in str(path):
            raise InputError(f"{name} must be a file name, got {str(path)!r}; leave the NUL out")
    if os.path.isdir(input_path):
        raise InputError(f"input must be a video or photo, got the folder {input_path}; give one file in it")
    if config.sidecar is not None:
        read_sidecar(config.sidecar)
    outputs = {"output": output_path}
    if preview_path is not None:
        check_another_file(preview_path, output_path, name="preview", other_name="output")
        outputs["preview"] = Path(preview_path)
    for name, path in outputs.items():
        check_another_file(path, input_path, name=name)
        if config.depth_file is not None:
            check_another_file(path, config.depth_file, name=name, other_name="depth")


def inputs_of(input_path: Path, config: ConvertConfig) -> tuple[Path, ...]:
    """List what a conversion reads."""
    return (input_path,) if config.depth_file is None else (input_path, Path(config.depth_file))


def is_photo_asked(input_path: Path, output_path: Path) -> bool:
    """Tell how a file is converted: an animated picture is a film, unless a photo is asked for."""
    if is_photo(input_path):
        return True
    is_picture = photo_kind(input_path) not in (None, FILM)
    return is_picture and output_path.suffix.lower() in STEREO_PHOTO_SUFFIXES


def look_at_input(
    path: Path, config: ConvertConfig, info: VideoInfo | None, *, photo: bool
) -> VideoInfo | None:
    """Check that the input is one that the settings fit, and say what speaks against it.

    Args:
        path: The input.
        config: The settings.
        info: What `probe` says of it, if it has been looked at already.
        photo: Whether it is converted as a photo.

    Returns:
        What `probe` says of it; None of a photo.

    Raises:
        InputError: If it cannot be read, shows two views or a sphere, or the format is not one for it.
        IncompleteInput: If it is cut short.
    """
    info = None if photo else _check_film(path, config, info)
    warning = check_one_view(path, stated=photo_stereo(path) if info is None else info.stereo)
    if warning is not None:
        _LOGGER.warning("%s", warning)
    if config.projection == "auto":
        check_flat(path, stated=photo_projection(path) if info is None else info.projection)
    _check_format(config.format, path, photo=photo)
    return info


def _check_format(format: str, path: Path, *, photo: bool) -> None:
    """Check that a format is one for photos, or for films."""
    if format == "wiggle" and not photo:
        raise InputError(
            f"the format wiggle must have a photo, whose two views a GIF or WebP shows in turn, got the film "
            f"{path}; convert a picture of it, or choose frame_sequential"
        )
    if format == "frame_sequential" and photo:
        raise InputError(
            f"the format frame_sequential must have a film, got the photo {path}; choose wiggle, or full_sbs"
        )


def _check_film(path: Path, config: ConvertConfig, info: VideoInfo | None) -> VideoInfo:
    """Look at a film before the work: what it holds, whether memory suffices and all of it is there."""
    info = info or probe(path)
    require_film_memory(info.width, info.height, path)
    for name in info.dynamic_metadata:
        _LOGGER.warning("%s: its %s metadata is left out; the picture under it is converted", path, name)
    if config.end is None and not config.allow_incomplete:
        check_whole(path)
    return info


def count_frames(info: VideoInfo, config: ConvertConfig) -> int | None:
    """Estimate how many frames lie between start and end."""
    if info.frame_count is None:
        return None
    if config.start is None and config.end is None:
        return info.frame_count
    duration = info.duration or info.frame_count / float(info.frame_rate)
    start, end = config.start or 0.0, min(config.end or duration, duration)
    if start >= duration:
        if has_frames(info.path, start=start):
            return None  # the duration is wrong
        raise InputError(f"start must be less than the video's duration ({duration:.2f} s), got {start:g} s")
    return max(1, round((end - start) * float(info.frame_rate)))
