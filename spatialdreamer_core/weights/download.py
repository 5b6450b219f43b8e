"""Download one file: resumed where it was cut, checked, and put in place only when whole.

One process or thread at a time writes the bytes to `<target>.part` beside the target. A partial file is kept
when the connection breaks or the caller interrupts, and the next call continues it if the server still has
the same file. It is removed when its size or checksum is wrong.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checks import InputError
from ..locking import FileLock
from .remote import (
    PATIENCE,
    DownloadError,
    Remote,
    check_scheme,
    describe_failure,
    host_of,
    look_up,
    plain,
    reason_of,
    receive,
    status_of,
)

_LOGGER = logging.getLogger(__name__)
_SLOWEST = 20_000  # bytes/s on average; a slower download is given up and can be continued
_GRACE = 300  # s that every download may take, however small
_LIMIT = 1 << 37  # bytes of a file whose size is not known
_CHUNK = 1 << 20  # bytes read at a time from the disk
_POLL = 0.5  # s between checks whether another download of the file has ended

OnProgress = Callable[[int, "int | None"], None]


@dataclass(frozen=True)
class Checksum:
    """A file's expected checksum."""

    digits: str  # hexadecimal
    git: bool = False  # whether it is the SHA-1 of a git blob; else SHA-256
    whole: bool = True  # whether the digits are all of it, and not just its beginning

    @staticmethod
    def of_etag(etag: str | None) -> Checksum | None:
        """Return the checksum that the hub gives as a file's etag, if it is one."""
        if etag is None or not re.fullmatch("[0-9a-f]{40}([0-9a-f]{24})?", etag):
            return None
        return Checksum(etag, git=len(etag) == 40)

    @property
    def name(self) -> str:
        """The name of its kind."""
        return "git checksum" if self.git else "SHA-256 checksum"

    def measure(self, file: Path) -> str:
        """Compute a file's checksum of this kind."""
        digest = hashlib.sha1(usedforsecurity=False) if self.git else hashlib.sha256()
        if self.git:
            digest.update(b"blob %d\0" % file.stat().st_size)
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def fits(self, found: str) -> bool:
        """Tell whether a computed checksum is the expected one."""
        return found[: None if self.whole else len(self.digits)] == self.digits.lower()


def download(
    url: str,
    target: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    sha256_prefix: str | None = None,
    size: int | None = None,
    limit: int = _LIMIT,
    patience: float = PATIENCE,
    on_progress: OnProgress | None = None,
) -> Path:
    """Download a file, or the rest of it if an earlier try was cut.

    Args:
        url: Address of the file, http or https; a user name and password in it are sent to its host alone.
        target: Where the file goes; its folder is made, and an older file of the name is replaced at the end.
        sha256: Checksum in hexadecimal digits; without it and `sha256_prefix` only the size is checked.
        sha256_prefix: How the checksum begins, where no more of it is published.
        size: Size in bytes; None takes the server's word.
        limit: Bytes that a file of unknown size may have.
        patience: Seconds that the server has to begin.
        on_progress: Called with the bytes that are there and their total (None if unknown); may raise to
            interrupt, which keeps the partial file.

    Returns:
        The target.

    Raises:
        InputError: If the address is of another kind, the disk is full, or size or checksum differ.
        DownloadError: If the server cannot be reached, refuses or is too slow, or the connection breaks.
    """
    check_scheme(url)
    digits = sha256 or sha256_prefix
    checksum = None if digits is None else Checksum(digits, whole=sha256 is not None)
    fetch_file(
        lambda: look_up(url, patience=patience),
        Path(target),
        address=plain(url),
        checksum=checksum,
        size=size,
        limit=limit,
        on_progress=on_progress,
    )
    return Path(target)


def fetch_file(
    ask: Callable[[], Remote],
    target: Path,
    *,
    address: str,
    checksum: Checksum | None,
    size: int | None,
    limit: int = _LIMIT,
    on_progress: OnProgress | None = None,
) -> None:
    """Fetch a file to its place, see `download`.

    Args:
        ask: Looks the file up on its server; called only when bytes are missing.
        target: Where it goes.
        address: Where it comes from, for messages.
        checksum: Its expected checksum, if there is one.
        size: Its size in bytes, if known.
        limit: Bytes that a file of unknown size may have.
        on_progress: See `download`.

    Raises:
        InputError: See `download`.
        DownloadError: See `download`.
    """
    work = _Download(ask, target, address, checksum, size, limit, on_progress)
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        before = _stamp(target)
    with _alone(target, lambda: work.report(_size_of(work.partial), size)) as waited:
        if not (waited and _stamp(target) not in (None, before)):  # another one has just fetched it
            work.run()


def check_writable(folder: Path, name: str) -> None:
    """Check, before any server is asked, that a folder exists or can be made, as far as can be told.

    Args:
        folder: Where a file is to go.
        name: The file's name, for the message.

    Raises:
        InputError: If a file is in a folder's place, or files cannot be made there.
    """
    ancestor = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    with _writing(folder / name):
        if not ancestor.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{ancestor} is no folder")
        if not os.access(ancestor, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"{ancestor} is read-only")


def partial_file(target: Path) -> Path:
    """Return the file that a download collects its bytes in until it is whole."""
    return target.with_name(target.name + ".part")


def unreachable(what: str, address: str, error: Exception, remedy: str) -> DownloadError:
    """Describe a server that does not deliver.

    Args:
        what: What was wanted.
        address: What was asked for.
        error: What a request raised.
        remedy: What the user can do but check the connection.
    """
    failure = describe_failure(error)
    return DownloadError(
        f"cannot download {what}: {address} {failure}; check the connection, or {remedy}",
        f"{host_of(address)} {failure}",
    )


@dataclass
class _Download:
    """One attempt to fetch a file; nobody else touches its partial file. See `fetch_file`."""

    ask: Callable[[], Remote]
    target: Path
    address: str
    checksum: Checksum | None
    size: int | None
    limit: int
    on_progress: OnProgress | None

    def __post_init__(self) -> None:
        self.partial = partial_file(self.target)
        self._etag = self.target.with_name(self.target.name + ".part.etag")  # of the version being fetched

    def report(self, done: int, total: int | None) -> None:
        """Tell the caller how far it is."""
        if self.on_progress is not None:
            self.on_progress(done, total)

    def run(self) -> None:
        """Fetch the file."""
        with _writing(self.target):
            if self.partial.is_symlink():
                self.partial.unlink()  # its target is not ours
            offset = _size_of(self.partial)
            if self.size is not None and offset > self.size:
                self._drop()
                offset = 0
        if self.size is not None:
            self._check_space(self.size - offset)
        if self.size is None or offset < self.size:
            self._fetch(offset)
        self._check_content()
        with _writing(self.target):
            os.replace(self.partial, self.target)
            self._etag.unlink(missing_ok=True)

    def _fetch(self, offset: int) -> None:
        """Receive the file into the partial one, from an offset on if possible."""
        try:
            remote = self.ask()
        except InputError:
            raise
        except Exception as error:
            raise self._unreachable(error) from error
        total = self.size if remote.size is None else remote.size
        if (self.size is not None and total != self.size) or (total or 0) > self.limit:
            raise self._wrong_size(total, self.size)
        offset = self._start_at(offset, remote, total)
        if total is not None:
            self._check_space(total - offset)
        if total is None or offset < total:
            self._receive(remote, offset, total)

    def _start_at(self, offset: int, remote: Remote, total: int | None) -> int:
        """Return the offset to continue from; bytes of another version are removed."""
        with _writing(self.target):
            known = self._etag.read_text(encoding="latin-1") if self._etag.is_file() else None
            # Only the etag or the checksum tells whether the file has changed meanwhile.
            same = self.checksum is not None if known is None else known == remote.etag
            if offset and (not same or total is None or offset > total):
                self._drop()
                offset = 0
            self.partial.touch()
            if remote.etag is not None:
                self._etag.write_text(remote.etag, encoding="latin-1", errors="replace")
        return offset

    def _receive(self, remote: Remote, offset: int, total: int | None) -> None:
        """Append what the server sends to the partial file."""
        most = self.limit if total is None else total
        deadline = time.monotonic() + _GRACE + (most if total is None else total - offset) / _SLOWEST
        done = offset
        with _writing(self.target):
            stream = self.partial.open("ab")
        with stream, closing(receive(remote, offset)) as pieces:
            while (piece := self._next(pieces)) is not _END:
                if isinstance(piece, int):
                    with _writing(self.target):
                        stream.truncate(piece)
                    done = piece
                elif piece is not None:
                    done += len(piece)
                    if done > most:
                        stream.close()
                        raise self._wrong_size(done, total)
                    with _writing(self.target):
                        stream.write(piece)
                self.report(done, total)
                if time.monotonic() > deadline:
                    raise self._cut(f"was slower than {_SLOWEST // 1000} kB/s")
        if total is not None and done < total:
            raise self._cut(f"ended after {done} of {total} bytes")

    def _next(self, pieces: Iterator[bytes | int | None]) -> Any:
        """Return the next piece, or `_END`."""
        try:
            return next(pieces, _END)
        except Exception as error:
            if status_of(error) is not None:
                raise self._unreachable(error) from error
            raise self._cut(reason_of(error)) from error

    def _drop(self) -> None:
        """Remove the partial file."""
        for file in (self.partial, self._etag):
            file.unlink(missing_ok=True)

    def _check_space(self, needed: int) -> None:
        """Check that the disk has room for this many more bytes."""
        free = shutil.disk_usage(self.target.parent).free
        if needed > free:
            raise InputError(
                f"{self.target.name} needs {needed / 1e9:.2f} GB more in {self.target.parent}, where "
                f"{free / 1e9:.2f} GB are free; make room or choose another folder"
            )

    def _check_content(self) -> None:
        """Check the whole file's size and checksum; remove it if they differ."""
        with _writing(self.target):
            found_size = self.partial.stat().st_size
        if self.size is not None and found_size != self.size:
            raise self._wrong_size(found_size, self.size)
        if self.checksum is None:
            return
        with _writing(self.target):
            found = self.checksum.measure(self.partial)
        if not self.checksum.fits(found):
            self._drop()
            raise InputError(
                f"{self.target.name} must have the {self.checksum.name} {self.checksum.digits.lower()}"
                f"{'' if self.checksum.whole else '...'}, got {found} from {self.address}; the file was "
                f"removed, try again or download it from elsewhere to {self.target.parent}"
            )

    def _wrong_size(self, found: int | None, size: int | None) -> InputError:
        """Remove the partial file, and describe the wrong size."""
        self._drop()
        wanted = f"at most {self.limit}" if size is None else str(size)
        return InputError(
            f"{self.target.name} must have {wanted} bytes, got {found} from {self.address}; "
            "the file was removed, try again"
        )

    def _unreachable(self, error: Exception) -> DownloadError:
        """Describe a server that does not deliver."""
        remedy = f"download the file elsewhere and put it into {self.target.parent}"
        return unreachable(self.target.name, self.address, error, remedy)

    def _cut(self, reason: str) -> DownloadError:
        """Describe a connection that broke."""
        return DownloadError(
            f"the download of {self.address} was cut ({reason}); the part that arrived is kept as "
            f"{self.partial}: try again to continue it",
            f"the connection to {host_of(self.address)} was cut ({reason})",
        )


_END = object()  # of a file


@contextmanager
def _alone(target: Path, look: Callable[[], None]) -> Iterator[bool]:
    """Let one process or thread at a time download a file; yields whether it had to wait for another.

    Args:
        target: The file.
        look: Called while waiting; may raise to interrupt.
    """
    lock, waited = FileLock(target.with_name(f".{target.name}.lock")), False
    while True:
        with _writing(target):
            if lock.acquire():
                break
        if not waited:
            _LOGGER.info("another download of %s is running: waiting for it", target)
        waited = True
        look()
        time.sleep(_POLL)
    try:
        yield waited
    finally:
        lock.release()


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Turn the system's errors while writing into an `InputError`."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise InputError(
                f"the disk of {target.parent} is full; make room for {target.name} and try again"
            ) from error
        raise InputError(
            f"{target.parent} must be writable for {target.name}: {error.strerror or error}; "
            "choose another folder"
        ) from error


def _stamp(file: Path) -> tuple[int, int] | None:
    """Return what changes when a file is replaced; None if there is none."""
    if not file.exists():
        return None
    state = file.stat()
    return state.st_ino, state.st_mtime_ns


def _size_of(file: Path) -> int:
    """Return how many bytes a file has; 0 if there is none."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
