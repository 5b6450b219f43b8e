"""The reader for a depth file: by its suffix, and by the suffix of its files if it is a folder.

A reader yields frames as they are stored, [h, w]: floats, or unsigned integers of which the largest is white.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np

from ...checks import InputError
from .arrays import read_npy, read_npz
from .exr import read_exr
from .pictures import PICTURE_SUFFIXES, read_picture
from .videos import read_depth_video

Frames = Generator[np.ndarray, None, None]  # each [h, w], as stored
_ARRAY_READERS = {".npy": read_npy, ".npz": read_npz}
_PICTURE_READERS = {".exr": read_exr, **dict.fromkeys(PICTURE_SUFFIXES, read_picture)}
DEPTH_SUFFIXES = (*_ARRAY_READERS, *_PICTURE_READERS)  # other files are taken for videos


def find_reader(path: Path) -> Callable[[int], Frames]:
    """Return what reads a file or folder, given the number of frames to skip.

    A folder's files are its frames, in natural order (2 before 10); they must be of one kind.

    Raises:
        InputError: If there is nothing at the path, or a folder holds no depth or more than one kind.
    """
    if not os.path.exists(path):
        raise InputError(f"depth must be an existing file or folder, got {path}; check the name")
    if path.is_dir():
        files = _files_of(path)
        return lambda skip: _read_each(files[skip:])
    suffix = path.suffix.lower()
    if suffix in _ARRAY_READERS:
        return lambda skip: _ARRAY_READERS[suffix](path, skip)
    if suffix in _PICTURE_READERS:
        return lambda skip: _read_each([path][skip:])
    return lambda skip: read_depth_video(path, skip)


def _files_of(folder: Path) -> list[Path]:
    """List the depth files of a folder in natural order."""
    files = [
        file
        for file in folder.iterdir()
        if file.suffix.lower() in DEPTH_SUFFIXES and not file.name.startswith(".") and file.is_file()
    ]
    kinds = sorted({file.suffix.lower() for file in files})
    if len(kinds) != 1:
        found = ", ".join(kinds) or "none"
        raise InputError(
            f"a folder of depth must hold files of one kind ({', '.join(DEPTH_SUFFIXES)}), got {found} "
            f"in {folder}; move the others to another folder"
        )
    return sorted(files, key=_natural_order)


def _natural_order(file: Path) -> list[tuple[int, int, str]]:
    """Make a key that sorts numbers in names by their value."""
    parts = re.split(r"([0-9]+)", file.name.lower())
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def _read_each(files: list[Path]) -> Frames:
    """Read one frame from each file."""
    for file in files:
        suffix = file.suffix.lower()
        if suffix in _PICTURE_READERS:
            yield _PICTURE_READERS[suffix](file)
            continue
        frames = list(_ARRAY_READERS[suffix](file, 0))
        if len(frames) != 1:
            raise InputError(
                f"a file in a folder of depth must hold one frame, got {len(frames)} in {file}; "
                "give that file itself, or one frame in each file"
            )
        yield frames[0]
