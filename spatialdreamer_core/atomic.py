"""Files and folders that are whole or absent.

Everything is written under a hidden temporary name in the target's folder and renamed when it is whole. A
lock beside it, which the system releases however the process ends, keeps a second run from writing the same
target. So any temporary files of this target that the holder finds belong to dead runs; it removes them.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from .checks import InputError
from .locking import FileLock
from .memory import is_out_of_memory, out_of_memory_error

NAME_BYTES = 255  # longest file name that file systems allow
_FULL_DISK = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_STEM_BYTES = 64  # of the target's stem in the names of its temporary files; file systems end at 143 or 255
_ABANDONED = 24 * 3600  # s; network shares may not support locks, so other machines' files must be this old
_OPEN: set[AtomicPath] = set()  # what `discard_open_paths` removes


def partial_path_for(path: Path) -> Path:
    """Return a hidden temporary name for a path, a different one at each call.

    It is in the same folder, so that the final rename is atomic, and names the output and the machine.
    """
    stem = f".{_short_stem(path)}.partial-{_digest(path)}-{_machine()}"
    return path.with_name(f"{stem}-{secrets.token_hex(4)}{path.suffix}")


class AtomicPath:
    """A file or folder that is being written; use it in a `with` statement.

    Write to `partial`, then call `commit`; without that nothing stays. Whatever was there before remains
    until then.

    Args:
        path: The file or folder to be written.
        overwrite: Whether an existing one may be replaced in the end.
        name: What it is called in messages.

    Attributes:
        path: The absolute path.
        partial: The temporary name, at which nothing is at first.

    Raises:
        InputError: On entering, if another run is writing it.
        OSError: On entering, if its folder cannot be written.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = True, name: str = "output") -> None:
        self.path = Path(path).absolute()
        self.partial = partial_path_for(self.path)
        self._overwrite, self._name = overwrite, name
        self._lock = FileLock(self.path.with_name(f".{_short_stem(self.path)}.lock-{_digest(self.path)}"))

    def __enter__(self) -> AtomicPath:
        _OPEN.add(self)
        try:
            self._open()
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
        """Rename what is whole to its own name; a temporary file must be closed.

        Raises:
            OSError: If that fails; what was there before is still there.
        """
        before = None
        with contextlib.suppress(OSError):
            self._give_usual_mode()
        if (
            self._overwrite and self.path.is_dir() and self.partial.is_dir()
        ):  # a folder that is not empty cannot be replaced at once
            before = self.path.with_name(self.partial.name.replace(".partial-", ".before-", 1))
            os.replace(self.path, before)
        try:
            rename(self.partial, self.path, replace=self._overwrite)
        except OSError:
            if before is not None:
                os.replace(before, self.path)
            raise
        if before is not None:
            shutil.rmtree(before, ignore_errors=True)

    def discard(self) -> None:
        """Remove the temporary file or folder if it is still there, and release the lock."""
        with contextlib.suppress(OSError):
            _remove(self.partial)
        self._lock.release()
        _OPEN.discard(self)

    def _give_usual_mode(self) -> None:
        """Let those read the files who may read new ones here; safetensors makes its own private."""
        probe = partial_path_for(self.path)
        probe.touch()
        try:
            mode = stat.S_IMODE(probe.stat().st_mode)
        finally:
            probe.unlink()
        for file in (self.partial, *self.partial.rglob("*")):
            if file.is_file() and stat.S_IMODE(file.stat().st_mode) != mode:
                file.chmod(mode)

    def _open(self) -> None:
        """Take the lock and remove what dead runs left."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.path.lstat()  # raises for a name that is too long
        if not self._lock.acquire():
            raise InputError(
                f"{self._name} must be written by one run at a time, got {self.path}, which another run is "
                "writing; wait for it or choose another name"
            )
        if self._lock.is_certain:
            _remove_stale(self.path)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield the name to write a file or folder to; it becomes `path` when the block ends without an error.

    Args:
        path: What is written; what is there is replaced.

    Raises:
        InputError: If another run is writing it.
        OSError: If it cannot be written.
    """
    with AtomicPath(path) as written:
        yield written.partial
        written.commit()


@atexit.register
def discard_open_paths() -> None:
    """Remove all temporary files and folders of this process, which is about to end."""
    for path in list(_OPEN):
        path.discard()


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


def rename(source: Path, target: Path, *, replace: bool) -> None:
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


def shorten_name(text: str, length: int) -> str:
    """Cut a file's name to a number of bytes, between characters."""
    while len(os.fsencode(text)) > length:
        text = text[:-1]
    return text


def fold_name(path: str) -> str:
    """Map names that some file systems treat as equal to one spelling."""
    return unicodedata.normalize("NFC", path).casefold()


def _remove(path: Path) -> None:
    """Remove a file or folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_stale(path: Path) -> None:
    """Remove what dead runs left beside a path whose lock is held, except the only whole copy."""
    kinds = "partial|before" if path.exists() else "partial"
    named = re.compile(
        rf"\.{re.escape(_short_stem(path))}\.({kinds})-{_digest(path)}-(?P<machine>[0-9a-f]+)-[0-9a-f]+"
    )
    with os.scandir(path.parent) as entries:
        for entry in entries:
            match = named.match(entry.name)
            if match is None:
                continue
            with contextlib.suppress(OSError):
                age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                if match["machine"] == _machine() or age > _ABANDONED:
                    _remove(Path(entry.path))


def _short_stem(path: Path) -> str:
    """Return the beginning of a file's name, for people to recognise."""
    return shorten_name(path.stem, _STEM_BYTES)


def _digest(path: Path) -> str:
    """Return 8 hexadecimal digits that stand for a file's whole name, which its temporary names cut short."""
    return hashlib.sha256(os.fsencode(fold_name(path.name))).hexdigest()[:8]


def _machine() -> str:
    """Return 6 hexadecimal digits that stand for this machine."""
    return hashlib.sha256(os.fsencode(socket.gethostname())).hexdigest()[:6]
