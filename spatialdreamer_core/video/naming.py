"""Output file names by which 3D players recognise how a stereo video is packed."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from ..atomic import NAME_BYTES, shorten_name
from ..checks import check_choice
from ..stereo import quilt_suffix
from .containers import VIDEO_CONTAINERS
from .photo import WRITABLE_PHOTO_SUFFIXES
from .photo_kind import PHOTO_SUFFIXES, is_photo
from .stereo_photo import WIGGLE_SUFFIXES

FILM_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv", ".f4v", ".3gp", ".3g2"),
    *(".mpg", ".mpeg", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".mxf", ".ogv", ".rm", ".rmvb", ".dv", ".gif"),
)

FORMAT_SUFFIXES: dict[str, str] = {
    "full_sbs": "_LRF_Full_SBS",
    "half_sbs": "_LR",
    "full_tb": "_TBF_fulltb",
    "half_tb": "_TB",
    "cross_eyed": "_RLF_cross",
    "anaglyph": "_redcyan",
    "row_interlaced": "_row_interlaced",
    "column_interlaced": "_column_interlaced",
    "checkerboard": "_checkerboard",
    "frame_sequential": "_frame_sequential",
    "rgbd": "_RGBD",
    "vr180": "_180x180_LR",
    "quilt": "_qs2x1",
    "wiggle": "_wiggle",
}
"""What each format adds to a name; `format_suffix` adds the views' shape for quilts."""


def format_suffix(format: str, *, aspect: float | None = None) -> str:
    """Return what a format adds to a file's name, for players to know it.

    Args:
        format: A key of `FORMAT_SUFFIXES`.
        aspect: Width over height of a view as it is shown, which quilts say in their names; None leaves it
            out.
    """
    if format == "quilt" and aspect is not None:
        return quilt_suffix(columns=2, rows=1, aspect=aspect)
    return FORMAT_SUFFIXES[format]


def output_path_for(
    input_path: str | Path,
    *,
    format: str,
    folder: str | Path | None = None,
    container: str = ".mp4",
    aspect: float | None = None,
) -> Path:
    """Name the stereo version of a file: clip.avi becomes clip_LRF_Full_SBS.mp4.

    Where another film (or photo) of that name lies beside it, such as clip.mp4 or clip.mov, the suffix stays
    in the name, clip.avi_LRF_Full_SBS.mp4, unless it is the output's own: so both fit into one folder. A name
    that would be too long is cut before the format.

    Args:
        input_path: The video or photo.
        format: A key of `FORMAT_SUFFIXES`.
        folder: Where the output goes; None: beside the input.
        container: Suffix of the output of a video, a key of `VIDEO_CONTAINERS`. A photo keeps its own suffix
            if it can be written, else it becomes a .png; a wiggle picture becomes a .gif.
        aspect: Width over height of a view as it is shown, see `format_suffix`.

    Raises:
        InputError: If the format or the container is unknown.
    """
    check_choice("format", format, tuple(FORMAT_SUFFIXES))
    check_choice("container", container, tuple(VIDEO_CONTAINERS))
    input_path = Path(input_path)
    suffix = container
    if is_photo(input_path):
        allowed = WIGGLE_SUFFIXES if format == "wiggle" else WRITABLE_PHOTO_SUFFIXES
        suffix = input_path.suffix if input_path.suffix.lower() in allowed else next(iter(allowed))
    stem = input_path.stem
    kind = PHOTO_SUFFIXES if is_photo(input_path) else FILM_SUFFIXES
    if input_path.suffix.lower() != suffix.lower() and _has_namesake(input_path, kind):
        stem = input_path.name
    parent = input_path.parent if folder is None else Path(folder)
    ending = f"{format_suffix(format, aspect=aspect)}{suffix}"
    return parent / f"{shorten_name(stem, NAME_BYTES - len(os.fsencode(ending)))}{ending}"


def _has_namesake(path: Path, suffixes: Collection[str]) -> bool:
    """Tell whether a file of certain kinds with the same stem but another suffix lies beside a file."""
    try:
        others = [other for other in path.parent.iterdir() if other.name != path.name]
    except OSError:
        return False
    return any(
        other.stem.casefold() == path.stem.casefold() and other.suffix.lower() in suffixes for other in others
    )
