"""Output files that are whole or absent, and never an input."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from ..atomic import NAME_BYTES, AtomicPath, fold_name, rename, shorten_name, write_error
from ..checks import InputError

_LOGGER = logging.getLogger(__name__)


def check_output_path(
    path: str | Path,
    *,
    suffixes: Collection[str],
    inputs: Collection[str | Path] = (),
    overwrite: bool = False,
    name: str = "output",
) -> Path:
    """Check, before any expensive work, that an output file can be written; make its folder if there is none.

    Args:
        path: The file to be written.
        suffixes: Allowed file name suffixes, lower case with a dot.
        inputs: Files and folders that are read meanwhile, and so must not be the output.
        overwrite: Whether an existing file may be replaced in the end.
        name: What the file is called in messages.

    Returns:
        The absolute path.

    Raises:
        InputError: If the suffix is not allowed, the path is a folder, an input or an existing file, or it
            cannot be written.
    """
    with OutputFile(path, suffixes=suffixes, inputs=inputs, overwrite=overwrite, name=name) as output:
        return output.path


def check_another_file(
    path: str | os.PathLike[str],
    other: str | os.PathLike[str],
    *,
    name: str = "output",
    other_name: str = "input",
) -> None:
    """Check that an output is not another file of the conversion under another spelling or link.

    Args:
        path: The file to be written; it need not exist.
        other: Another file, or a folder whose files are read.
        name: What the output is called in messages.
        other_name: What the other file is called in messages.

    Raises:
        InputError: If both are one file, or the output is one of the folder's files or would become one.
    """
    path, other = Path(path), Path(other)
    if is_same_file(path, other):
        raise InputError(
            f"{name} must not be the {other_name} file itself, got {path}; choose another name or folder"
        )
    if os.path.isdir(other) and _is_among(path, other):
        raise InputError(
            f"{name} must not lie among the {other_name} files in {other}, got {path}; choose another folder"
        )


def is_same_file(first: Path, second: Path) -> bool:
    """Tell whether two paths lead to the same file or, if neither exists yet, whether they may.

    Links, hard links and other spellings of an existing file are that file. Names that do not exist count as
    one where they differ in case or in the composition of accents alone, as on macOS and Windows.
    """
    exist = os.path.exists(first), os.path.exists(second)
    if all(exist):
        return os.path.samefile(first, second)
    return not any(exist) and fold_name(os.path.realpath(first)) == fold_name(os.path.realpath(second))


class OutputFile(AtomicPath):
    """A file that is being written; use it in a `with` statement.

    Write to `partial`, then call `commit`; without that nothing stays. Whatever was there before remains
    until then.

    Args:
        path: The file to be written.
        suffixes: Allowed file name suffixes, lower case with a dot.
        inputs: Files and folders that are read meanwhile, and so must not be the output.
        overwrite: Whether an existing file may be replaced in the end.
        name: What the file is called in messages.

    Attributes:
        path: The absolute path; after `commit` that of the file.
        partial: The temporary file, empty at first.

    Raises:
        InputError: If the suffix is not allowed or the path is a folder, a device or an input; on entering,
            if the file exists or cannot be written, or another run is writing it.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        suffixes: Collection[str],
        inputs: Collection[str | Path] = (),
        overwrite: bool = False,
        name: str = "output",
    ) -> None:
        super().__init__(path, overwrite=overwrite, name=name)
        if self.path.suffix.lower() not in suffixes:
            raise InputError(f"{name} file must end in one of {', '.join(suffixes)}, got {self.path.name!r}")
        if "\0" in str(self.path):
            raise InputError(f"{name} must be a file name, got {str(self.path)!r}; leave the NUL out")
        if os.path.isdir(self.path):
            raise InputError(f"{name} must be a file, got the folder {self.path}; add a file name")
        if os.path.exists(self.path) and not os.path.isfile(self.path):
            raise InputError(
                f"{name} must be a regular file, got the pipe, socket or device {self.path}; "
                "choose another name"
            )
        for other in inputs:
            check_another_file(self.path, other, name=name)

    def __enter__(self) -> OutputFile:
        try:
            super().__enter__()
        except OSError as error:
            raise write_error(self.path, error, name=self._name) from error
        return self

    def commit(self) -> None:
        """Give the whole file its name; the temporary file must be closed.

        Where something else has taken the name meanwhile, or it cannot be given, the file gets a number, for
        finished work is not thrown away; `path` tells the name.

        Raises:
            InputError: If no name at all can be given.
        """
        target = self.path
        for path in itertools.chain((target,), _numbered(target)):
            try:
                rename(self.partial, path, replace=self._overwrite and path == target)
            except OSError as error:
                if isinstance(error, FileExistsError) or path == target:
                    continue
                raise write_error(target, error, name=self._name) from error
            if path != target:
                _LOGGER.warning("%s could not be replaced; the result is %s", target, path)
            self.path = path
            return

    def _open(self) -> None:
        """Make the temporary file."""
        super()._open()
        if not self._overwrite and os.path.lexists(self.path):
            raise InputError(
                f"{self._name} must be a new file, got {self.path}, which exists; choose another name or "
                "overwrite it (--overwrite)"
            )
        # Exclusive creation follows no link and takes no file of others.
        os.close(os.open(self.partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


def _numbered(path: Path) -> Iterator[Path]:
    """Give the names clip-2.mp4, clip-3.mp4 and so on."""
    for number in range(2, 1000):
        ending = f"-{number}{path.suffix}"
        yield path.with_name(shorten_name(path.stem, NAME_BYTES - len(os.fsencode(ending))) + ending)


def _is_among(path: Path, folder: Path) -> bool:
    """Tell whether a path is one of a folder's files, or would add one of their kind."""
    try:
        files = [file for file in folder.iterdir() if file.suffix.lower() == path.suffix.lower()]
    except OSError:
        return False  # its reader reports a folder that cannot be listed
    if os.path.exists(path):
        return any(is_same_file(path, file) for file in files)
    return bool(files) and os.path.realpath(path.parent) == os.path.realpath(folder)
