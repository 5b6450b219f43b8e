"""A lock between processes, threads and, where the file system passes it on, machines."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path

_ATTEMPTS = 100
_TAKEN = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}


class FileLock:
    """A lock by a file beside the guarded one; the system releases it when the process ends.

    The file is removed on release. One that a killed process left is taken over.

    Args:
        path: The lock's own file, whose folder exists.

    Attributes:
        is_certain: Whether the file system has locks, so that nobody else can hold this one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None
        self.is_certain = False

    def acquire(self) -> bool:
        """Take the lock at once; returns False if somebody else has it.

        Raises:
            OSError: If its file cannot be made.
        """
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        for _ in range(_ATTEMPTS):
            self._handle = os.open(self._path, flags, 0o666)
            try:
                _lock(self._handle)
                self.is_certain = True
            except OSError as error:
                if error.errno in _TAKEN:
                    self._close()
                    return False
                self.is_certain = False  # this file system has no locks, so other runs cannot be detected
            if _is_same(self._handle, self._path):
                return True
            self._close()  # its last holder has just removed it
        return False

    def release(self) -> None:
        """Release the lock; does nothing if it is not held."""
        if self._handle is None:
            return
        if os.name != "nt":
            with contextlib.suppress(OSError):
                self._path.unlink()  # while it is held: nobody else can have taken it
            self._close()
            return
        self._close()  # Windows removes no open file
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _close(self) -> None:
        """Close the file, which releases the lock."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            os.close(handle)


def _lock(handle: int) -> None:
    """Lock an open file, or raise OSError."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_same(handle: int, path: Path) -> bool:
    """Tell whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False
