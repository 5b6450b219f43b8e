"""Output file names by which 3D players recognise how a stereo video is packed."""

from __future__ import annotations

from pathlib import Path

from ..checks import check_choice
from .photo import WRITABLE_PHOTO_SUFFIXES
from .photo_kind import is_photo
from .writer import VIDEO_CONTAINERS

FORMAT_SUFFIXES: dict[str, str] = {
    "full_sbs": "_LRF_Full_SBS",
    "half_sbs": "_LR",
    "full_tb": "_TBF_fulltb",
    "half_tb": "_TB",
    "cross_eyed": "_RLF_cross",
    "anaglyph": "_redcyan",
}


def output_path_for(
    input_path: str | Path,
    *,
    format: str,
    folder: str | Path | None = None,
    container: str = ".mp4",
) -> Path:
    """Name the stereo version of a file: clip.avi becomes clip_LRF_Full_SBS.mp4.

    Args:
        input_path: The video or photo.
        format: A key of `FORMAT_SUFFIXES`.
        folder: Where the output goes; None: beside the input.
        container: Suffix of the output of a video, a key of `VIDEO_CONTAINERS`. A photo keeps its own suffix
            if it can be written, else it becomes a .png.

    Raises:
        InputError: If the format or the container is unknown.
    """
    check_choice("format", format, tuple(FORMAT_SUFFIXES))
    check_choice("container", container, tuple(VIDEO_CONTAINERS))
    input_path = Path(input_path)
    suffix = container
    if is_photo(input_path):
        suffix = input_path.suffix if input_path.suffix.lower() in WRITABLE_PHOTO_SUFFIXES else ".png"
    parent = input_path.parent if folder is None else Path(folder)
    return parent / f"{input_path.stem}{FORMAT_SUFFIXES[format]}{suffix}"
