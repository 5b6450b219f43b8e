"""Output files that are whole or absent, and never an input.

A file is written under a hidden temporary name in the target's folder and gets its own name when it is whole.
A lock beside it, which the system releases when its process ends in whatever way, keeps a second run off the
same output meanwhile; so whoever holds it knows that temporary files of this output that lie there are of
dead runs, and removes them.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import hashlib
import itertools
import logging
import os
import re
import secrets
import socket
import time
import unicodedata
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType

from ..checks import InputError
from ..locking import FileLock
from ..memory import is_out_of_memory, out_of_memory_error

_LOGGER = logging.getLogger(__name__)

NAME_BYTES = 255  # longest name that file systems take
_FULL_DISK = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_STEM_BYTES = 64  # of the target's stem in the names of its temporary files; file systems end at 143 or 255
_ABANDONED = 24 * 3600  # seconds; a network share may not pass on locks, so others' files must be this old
_OPEN: set[OutputFile] = set()  # what `discard_open_outputs` removes


def partial_path_for(path: Path) -> Path:
    """Return a hidden temporary name for an output file, another one at each call.

    It is in the same folder, so that the final rename is atomic, and names the output and the machine.
    """
    stem = f".{_short_stem(path)}.partial-{_digest(path)}-{_machine()}"
    return path.with_name(f"{stem}-{secrets.token_hex(4)}{path.suffix}")


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
    """Check that an output is not another file of the conversion, by whatever spelling or link.

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
    """Tell whether two paths lead to one file; of two that do not exist yet, whether they may.

    Links, hard links and other spellings of an existing file are that file. Names that do not exist count as
    one where they differ in case or in the composition of accents alone, as on macOS and Windows.
    """
    exist = os.path.exists(first), os.path.exists(second)
    if all(exist):
        return os.path.samefile(first, second)
    return not any(exist) and _folded(os.path.realpath(first)) == _folded(os.path.realpath(second))


class OutputFile:
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
        self.path = Path(path).absolute()
        self._name, self._overwrite = name, overwrite
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
        self.partial = partial_path_for(self.path)
        self._lock = FileLock(self.path.with_name(f".{_short_stem(self.path)}.lock-{_digest(self.path)}"))

    def __enter__(self) -> OutputFile:
        _OPEN.add(self)
        try:
            self._open()
        except OSError as error:
            self.discard()
            raise write_error(self.path, error, name=self._name) from error
        except BaseException:
            self.discard()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.discard()

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
                _rename(self.partial, path, replace=self._overwrite and path == target)
            except OSError as error:
                if isinstance(error, FileExistsError) or path == target:
                    continue
                raise write_error(target, error, name=self._name) from error
            if path != target:
                _LOGGER.warning("%s could not be replaced; the result is %s", target, path)
            self.path = path
            return

    def discard(self) -> None:
        """Remove the temporary file, if it is still there, and let others write this output."""
        with contextlib.suppress(OSError):
            self.partial.unlink()
        self._lock.release()
        _OPEN.discard(self)

    def _open(self) -> None:
        """Take the lock, remove what dead runs left, and make the temporary file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.path.lstat()  # tells of a name that is too long
        if not self._lock.acquire():
            raise InputError(
                f"{self._name} must be written by one run at a time, got {self.path}, which another run is "
                "writing; wait for it or choose another name"
            )
        if self._lock.is_certain:
            _remove_stale(self.path)
        if not self._overwrite and os.path.lexists(self.path):
            raise InputError(
                f"{self._name} must be a new file, got {self.path}, which exists; choose another name or "
                "overwrite it (--overwrite)"
            )
        # Exclusive creation follows no link and takes no file of others.
        os.close(os.open(self.partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


@atexit.register
def discard_open_outputs() -> None:
    """Remove the temporary files of all outputs that are open in this process, which is about to end."""
    for output in list(_OPEN):
        output.discard()


def write_error(path: Path, error: OSError, *, name: str = "output") -> InputError:
    """Turn the system's error while writing a file into one message for the user."""
    reason = error.strerror or str(error)
    if is_out_of_memory(error):
        return out_of_memory_error(error)
    if error.errno in _FULL_DISK:
        return InputError(
            f"{name} folder must have room for {path.name}, got {reason!r} in {path.parent}; "
            "free space or choose another folder"
        )
    if error.errno == errno.EFBIG:
        return InputError(
            f"{name} file must fit the file system, got {reason!r} for {path}; "
            "write a shorter part or choose another drive"
        )
    return InputError(f"{name} must be writable, got {reason!r} for {path}; choose another folder or name")


def _rename(source: Path, target: Path, *, replace: bool) -> None:
    """Rename a file; unless it may replace the target, raise FileExistsError where there is one."""
    if replace:
        os.replace(source, target)
        return
    if os.name == "nt":
        os.rename(source, target)  # replaces nothing there
        return
    try:
        os.link(source, target)  # unlike a rename, it fails where there is a file
    except FileExistsError:
        raise
    except OSError:  # FAT and some network shares have no hard links
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        try:
            os.replace(source, target)
        except OSError:
            target.unlink()
            raise
    else:
        with contextlib.suppress(OSError):
            source.unlink()


def _numbered(path: Path) -> Iterator[Path]:
    """Give the names clip-2.mp4, clip-3.mp4 and so on."""
    for number in range(2, 1000):
        ending = f"-{number}{path.suffix}"
        yield path.with_name(shorten_name(path.stem, NAME_BYTES - len(os.fsencode(ending))) + ending)


def _remove_stale(path: Path) -> None:
    """Remove the temporary files of dead runs on an output whose lock is held."""
    named = re.compile(
        rf"\.{re.escape(_short_stem(path))}\.partial-{_digest(path)}-(?P<machine>[0-9a-f]+)-[0-9a-f]+"
    )
    with os.scandir(path.parent) as entries:
        for entry in entries:
            match = named.match(entry.name)
            if match is None:
                continue
            with contextlib.suppress(OSError):
                age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                if match["machine"] == _machine() or age > _ABANDONED:
                    os.unlink(entry.path)


def _is_among(path: Path, folder: Path) -> bool:
    """Tell whether a path is one of a folder's files, or would be one more of their kind."""
    try:
        files = [file for file in folder.iterdir() if file.suffix.lower() == path.suffix.lower()]
    except OSError:
        return False  # a folder that cannot be listed is an error of its reader
    if os.path.exists(path):
        return any(is_same_file(path, file) for file in files)
    return bool(files) and os.path.realpath(path.parent) == os.path.realpath(folder)


def _folded(path: str) -> str:
    """Bring names that some file systems take for one to one spelling."""
    return unicodedata.normalize("NFC", path).casefold()


def _short_stem(path: Path) -> str:
    """Return the beginning of a file's name, for the eye."""
    return shorten_name(path.stem, _STEM_BYTES)


def shorten_name(text: str, length: int) -> str:
    """Cut a file's name to a number of bytes, between characters."""
    while len(os.fsencode(text)) > length:
        text = text[:-1]
    return text


def _digest(path: Path) -> str:
    """Return 8 hexadecimal digits of a file's whole name, which is cut in its temporary files' names."""
    return hashlib.sha256(os.fsencode(_folded(path.name))).hexdigest()[:8]


def _machine() -> str:
    """Return 6 hexadecimal digits of this machine's name."""
    return hashlib.sha256(os.fsencode(socket.gethostname())).hexdigest()[:6]
