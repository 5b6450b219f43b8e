"""Download one file: resumed where it was cut, checked, and put in place only when whole.

The bytes go to `<target>.part` beside the target, by one process or thread at a time. A partial file is kept
when the connection breaks and is continued by the next call, if the server still has the same file; it is
removed when its size or checksum is wrong.

This is not left to huggingface_hub, which downloads each file anew after a cut, checks no checksum, finds a
wrong size when all of it is on the disk, follows redirects from https to http, and cannot be interrupted by a
callback where it uses its own storage protocol. RAFT's weights come from elsewhere anyway.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from filelock import FileLock, Timeout

from ..checks import InputError
from .connection import (
    CHUNK,
    PATIENCE,
    DownloadError,
    check_scheme,
    describe_failure,
    host_of,
    open_address,
    plain,
)

_LOGGER = logging.getLogger(__name__)
_SLOWEST = 20_000  # bytes/s on average; what is slower is given up and can be continued
_GRACE = 300  # s that any download may take
_LIMIT = 1 << 37  # bytes of a file whose size is not known
_POLL = 0.5  # s between two looks at whether another download of the file has ended
_RANGE_NOT_SATISFIABLE = 416

OnProgress = Callable[[int, "int | None"], None]


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
    target = Path(target)
    checksum = sha256 or sha256_prefix
    work = _Download(url, target, size, limit, checksum, sha256 is not None, patience, on_progress)
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        before = _stamp(target)
    with _alone(target, lambda: work.report(_size_of(work.partial), size)) as waited:
        if not (waited and _stamp(target) not in (None, before)):  # another one has just brought it
            work.run()
    return target


def check_writable(folder: Path, name: str) -> None:
    """Check, before anything is asked of a server, that a folder is there or can be made, as far as it shows.

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


class _Download:
    """One try to bring a file, whose partial file nobody else touches."""

    def __init__(
        self,
        url: str,
        target: Path,
        size: int | None,
        limit: int,
        checksum: str | None,
        whole: bool,
        patience: float,
        on_progress: OnProgress | None,
    ) -> None:
        self.url, self.target, self.size, self.limit = url, target, size, limit
        self.checksum, self.whole = checksum, whole  # the checksum, and whether it is more than a beginning
        self.patience = patience
        self.partial = partial_file(target)
        self._validator = target.with_name(target.name + ".part.etag")  # tells whether it is the same file
        self._on_progress = on_progress

    def report(self, done: int, total: int | None) -> None:
        """Tell the caller how far it is."""
        if self._on_progress is not None:
            self._on_progress(done, total)

    def run(self) -> None:
        """Bring the file."""
        with _writing(self.target):
            if self.partial.is_symlink():
                self.partial.unlink()  # what it points to is not ours
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
            self._validator.unlink(missing_ok=True)

    def _fetch(self, offset: int) -> None:
        """Stream the file, from an offset on if the server can, to the partial one."""
        validator = self._validator.read_text(encoding="latin-1") if self._validator.is_file() else None
        if offset and validator is None and self.checksum is None:
            offset = 0  # nothing would tell that the file has changed meanwhile
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and validator:
            headers["If-Range"] = validator
        try:
            response = open_address(self.url, headers, patience=self.patience)
        except HTTPError as error:
            if error.code == _RANGE_NOT_SATISFIABLE and offset:
                self._drop()
                return self._fetch(0)
            raise self._unreachable(error) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._unreachable(error) from error
        with response:
            resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT and re.match(
                rf"bytes {offset}-", response.headers.get("Content-Range", "")
            )
            done = offset if resumed else 0
            total = self.size if response.length is None else done + response.length
            if (self.size is not None and total != self.size) or (total or 0) > self.limit:
                raise self._wrong_size(total)
            if total is not None and self.size is None:
                self._check_space(total - done)
            with _writing(self.target):
                if not resumed:
                    self._drop()
                    if validator := _read_validator(response.headers):
                        self._validator.write_text(validator, encoding="latin-1")
                stream = self.partial.open("ab")
            with stream:
                done = self._copy(response, stream, done, total)
        if total is not None and done < total:
            raise self._cut(f"ended after {done} of {total} bytes")
        return None

    def _copy(self, response: Any, stream: Any, done: int, total: int | None) -> int:
        """Copy what comes to the partial file; returns how many bytes it has."""
        most = self.limit if total is None else total
        deadline = time.monotonic() + _GRACE + (most if total is None else total - done) / _SLOWEST
        while chunk := self._read(response):
            done += len(chunk)
            if done > most:
                raise self._wrong_size(done)
            with _writing(self.target):
                stream.write(chunk)
            self.report(done, total)
            if time.monotonic() > deadline:
                raise self._cut(f"was slower than {_SLOWEST // 1000} kB/s")
        return done

    def _read(self, response: Any) -> bytes:
        """Read the next bytes, as many as there are."""
        try:
            return response.read1(CHUNK)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._cut(str(error) or type(error).__name__) from error

    def _drop(self) -> None:
        """Remove what has come."""
        for file in (self.partial, self._validator):
            file.unlink(missing_ok=True)

    def _check_space(self, needed: int) -> None:
        """Check that the disk has room for so many more bytes."""
        free = shutil.disk_usage(self.target.parent).free
        if needed > free:
            raise InputError(
                f"{self.target.name} needs {needed / 1e9:.2f} GB more in {self.target.parent}, where "
                f"{free / 1e9:.2f} GB are free; make room or choose another folder"
            )

    def _check_content(self) -> None:
        """Check size and checksum, or how it begins, of the whole file; remove it if they differ."""
        with _writing(self.target):
            found_size = self.partial.stat().st_size
        if self.size is not None and found_size != self.size:
            raise self._wrong_size(found_size)
        if self.checksum is None:
            return
        checksum = self.checksum.lower()
        digest = hashlib.sha256()
        with _writing(self.target), self.partial.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
        found = digest.hexdigest()
        if found[: None if self.whole else len(checksum)] != checksum:
            self._drop()
            raise InputError(
                f"{self.target.name} must have the SHA-256 checksum {checksum}{'' if self.whole else '...'}, "
                f"got {found} from {plain(self.url)}; the file was removed, try again or download it from "
                f"elsewhere to {self.target.parent}"
            )

    def _wrong_size(self, found: int | None) -> InputError:
        """Remove what has come, and describe a file of another size."""
        self._drop()
        wanted = f"at most {self.limit}" if self.size is None else str(self.size)
        return InputError(
            f"{self.target.name} must have {wanted} bytes, got {found} from {plain(self.url)}; "
            "the file was removed, try again"
        )

    def _unreachable(self, error: Exception) -> InputError:
        """Describe a server that gives nothing."""
        failure = describe_failure(error)
        return DownloadError(
            f"cannot download {self.target.name}: {plain(self.url)} {failure}; "
            f"check the connection, or download the file elsewhere and put it into {self.target.parent}",
            f"{host_of(self.url)} {failure}",
        )

    def _cut(self, reason: str) -> InputError:
        """Describe a connection that broke."""
        return DownloadError(
            f"the download of {plain(self.url)} was cut ({reason}); what came is kept as {self.partial}: try "
            "again to continue it",
            f"the connection to {host_of(self.url)} was cut ({reason})",
        )


def _read_validator(headers: Any) -> str | None:
    """Return what tells one content of an address from a later one: a strong ETag, or when it was changed."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified")


@contextmanager
def _alone(target: Path, look: Callable[[], None]) -> Iterator[bool]:
    """Let one process and thread at a time bring a file; says whether another one was waited for.

    Args:
        target: The file.
        look: Called while waiting; may raise to interrupt.
    """
    path = target.with_name(f".{target.name}.lock")
    lock, waited = FileLock(path), False
    while True:
        try:
            with _writing(target):
                lock.acquire(timeout=_POLL if waited else 0)
            break
        except Timeout:
            if not waited:
                _LOGGER.info("another download of %s is running: waiting for it", target)
            waited = True
            look()
    try:
        yield waited
    finally:
        if os.name != "nt":  # there an open file cannot be removed; releasing does it
            path.unlink(missing_ok=True)
        lock.release()
        if os.name == "nt":
            try:
                path.unlink(missing_ok=True)
            except OSError:
                pass  # another one has taken it


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Describe a folder that takes no file."""
    try:
        yield
    except Timeout:
        raise
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
