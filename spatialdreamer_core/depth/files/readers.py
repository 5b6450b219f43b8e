"""The reader for a depth file: by its suffix, and by the suffix of its files if it is a folder.

A reader yields frames as they are stored, [h, w]: floats, or unsigned integers of which the largest is white.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Generator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...checks import InputError
from ...media import check_regular_file, natural_order
from ...parsing import parsing
from .arrays import count_npy, count_npz, read_npy, read_npz
from .exr import read_exr
from .pictures import PICTURE_SUFFIXES, read_picture
from .videos import read_depth_video

Frames = Generator[np.ndarray, None, None]  # each [h, w], as stored
_ARRAY_READERS = {".npy": read_npy, ".npz": read_npz}
_ARRAY_COUNTERS = {".npy": count_npy, ".npz": count_npz}
_PICTURE_READERS = {".exr": read_exr, **dict.fromkeys(PICTURE_SUFFIXES, read_picture)}
_SPELLINGS = {".tiff": ".tif", ".jpeg": ".jpg"}
DEPTH_SUFFIXES = (*_ARRAY_READERS, *_PICTURE_READERS)  # other files are taken for videos


class Reader(NamedTuple):
    """What reads a depth file or folder."""

    read: Callable[[int], Frames]  # given the number of frames to skip
    length: Callable[[], int | None]  # the number of all frames, if that is known without decoding


def find_reader(path: Path) -> Reader:
    """Return what reads a file or folder.

    A folder's files are its frames, in natural order (2 before 10); they must be of one kind, and if they
    are numbered, none may be missing in between.

    Raises:
        InputError: If there is nothing at the path, it is a pipe or a device, or a folder holds no depth,
            more than one kind or not all frames.
    """
    with parsing(path, rule="depth must be a file or folder that can be read", remedy="check the name"):
        if not path.exists():
            raise InputError(f"depth must be an existing file or folder, got {path}; check the name")
        if path.is_dir():
            files = _files_of(path)
            return Reader(lambda skip: _read_each(files[skip:]), lambda: len(files))
        check_regular_file(path, name="depth")
    suffix = path.suffix.lower()
    if suffix in _ARRAY_READERS:
        return Reader(lambda skip: _ARRAY_READERS[suffix](path, skip), lambda: _ARRAY_COUNTERS[suffix](path))
    if suffix in _PICTURE_READERS:
        return Reader(lambda skip: _read_each([path][skip:]), lambda: 1)
    return Reader(lambda skip: read_depth_video(path, skip), lambda: None)


def _files_of(folder: Path) -> list[Path]:
    """List the depth files of a folder in natural order."""
    files = [
        file
        for file in folder.iterdir()
        if file.suffix.lower() in DEPTH_SUFFIXES
        and not file.name.startswith(".")
        and (file.is_file() or not file.exists())  # a dead link is an error, not a frame less
    ]
    kinds = sorted({_kind(file) for file in files})
    if len(kinds) != 1:
        found = ", ".join(kinds) or "none"
        raise InputError(
            f"a folder of depth must hold files of one kind ({', '.join(DEPTH_SUFFIXES)}), got {found} "
            f"in {folder}; move the others to another folder"
        )
    files.sort(key=natural_order)
    _check_numbers(files, folder)
    return files


def _kind(file: Path) -> str:
    """Return a file's suffix in its usual spelling."""
    suffix = file.suffix.lower()
    return _SPELLINGS.get(suffix, suffix)


def _check_numbers(files: list[Path], folder: Path) -> None:
    """Check that no frame is missing or there twice, where names are numbered one by one."""
    numbered = [re.fullmatch(r"(.*?)([0-9]+)[^0-9]*", file.stem.lower()) for file in files]
    if len({match and match[1] for match in numbered}) != 1:
        return  # not numbered, or something else than the number changes, too
    numbers = [int(match[2]) for match in numbered if match]
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    for file, number, step in zip(files, numbers, steps, strict=False):
        if step == 0 or (step > 1 and 2 * steps.count(1) >= len(steps)):  # other steps are times, for example
            what = "two of the same number" if step == 0 else f"no number {number + 1}"
            raise InputError(
                f"a folder of depth must hold one file for each frame, got {what} after {file.name} in "
                f"{folder}; add what is missing, or number the files anew"
            )


def _read_each(files: list[Path]) -> Frames:
    """Read one frame from each file."""
    for file in files:
        suffix = file.suffix.lower()
        if suffix in _PICTURE_READERS:
            yield _PICTURE_READERS[suffix](file)
            continue
        count = _ARRAY_COUNTERS[suffix](file)
        if count != 1:
            raise InputError(
                f"a file in a folder of depth must hold one frame, got {count} in {file}; "
                "give that file itself, or one frame in each file"
            )
        yield from _ARRAY_READERS[suffix](file, 0)
