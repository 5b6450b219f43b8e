"""Which files belong together: each result with its truth and its given view."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..atomic import shorten_name
from ..checks import InputError
from ..video import PHOTO_SUFFIXES
from ..video.naming import FILM_SUFFIXES
from .views import check_exists, list_files, split_name

_LONGEST = 200  # bytes of a name, to which plots add their endings


class PairFiles(NamedTuple):
    """A result, and what it is compared with; each a file, or a folder of pictures."""

    name: str  # for tables and file names, different for each result
    result: Path
    truth: Path | None
    left: Path | None


def find_pairs(results: Sequence[Path], *, truth: Path | None, left: Path | None) -> list[PairFiles]:
    """Match results with truths and given views.

    A folder that holds videos stands for each of them, one that holds pictures is a clip of frames; other
    files in them do not count. Where the truth (or the given view) is such a folder of videos, each result
    belongs to the one of its name, with or without the endings by which players know a format; else all
    results belong to it.

    Args:
        results: Files or folders.
        truth: A file or folder, or None.
        left: A file or folder, or None.

    Raises:
        InputError: If a path is missing or empty, or a result has no counterpart.
    """
    files = [file for path in results for file in _expand(path, "RESULT")]
    names = _name(files)
    truths, lefts = _counterparts(truth, "truth"), _counterparts(left, "left")
    return [
        PairFiles(name, file, _match(file, truths, truth, "truth"), _match(file, lefts, left, "left"))
        for name, file in zip(names, files, strict=True)
    ]


def _expand(path: Path, option: str) -> list[Path]:
    """List what a path stands for."""
    check_exists(path, name=option)
    if not path.is_dir():
        return [path]
    files = list_files(path, name=option)
    pictures = [file for file in files if file.suffix.lower() in PHOTO_SUFFIXES]
    videos = [file for file in files if file.suffix.lower() in FILM_SUFFIXES]
    if pictures and videos:
        raise InputError(
            f"{option} must be a folder of pictures or one of videos, got both in {path} (such as "
            f"{pictures[0].name} and {videos[0].name}); keep them apart"
        )
    if not pictures and not videos:
        raise InputError(f"{option} must be a folder with pictures or videos, got none in {path}")
    return [path] if pictures else videos


def _counterparts(path: Path | None, option: str) -> list[Path]:
    """List the candidates."""
    return [] if path is None else _expand(path, option)


def _match(file: Path, candidates: list[Path], given: Path | None, option: str) -> Path | None:
    """Find a result's counterpart."""
    if given is None:
        return None
    if candidates == [given]:
        return given
    found = [other for other in candidates if _bare(other) == _bare(file)]
    if len(found) != 1:
        raise InputError(
            f"{option} must hold one file for each result, got {len(found)} in {given} for {file.name}; name "
            "them alike"
        )
    return found[0]


def _bare(path: Path) -> str:
    """Return a file's name without what tells its format."""
    return split_name(path.stem)[1].casefold()


def _name(files: list[Path]) -> list[str]:
    """Name each result by its file, with its folder's name or a number where two are alike."""
    stems = [(file.absolute().name if file.is_dir() else file.stem) for file in files]
    uses = Counter(stem.casefold() for stem in stems)
    names = [
        shorten_name(f"{file.absolute().parent.name}_{stem}" if uses[stem.casefold()] > 1 else stem, _LONGEST)
        for file, stem in zip(files, stems, strict=True)
    ]
    taken: set[str] = set()
    for i, name in enumerate(names):
        numbers = itertools.count(2)
        while names[i].casefold() in taken:
            names[i] = f"{name}-{next(numbers)}"
        taken.add(names[i].casefold())
    return names
