"""Download one file: resumed where it was cut, checked, and put in place only when whole.

The bytes go to `<target>.part` beside the target. A partial file is kept when the connection breaks and is
continued by the next call, if the server can do that; it is removed when its checksum is wrong.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from .. import __version__
from ..checks import InputError

_CHUNK = 1 << 20  # bytes
_TIMEOUT = 30  # s without a byte
_RANGE_NOT_SATISFIABLE = 416

OnProgress = Callable[[int, "int | None"], None]


def download(
    url: str,
    target: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    sha256_prefix: str | None = None,
    size: int | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """Download a file, or the rest of it if an earlier try was cut.

    Args:
        url: Address of the file, http or https.
        target: Where the file goes; its folder is made, and an older file of the name is replaced at the end.
        sha256: Checksum in hexadecimal digits; without it and `sha256_prefix` only the size is checked.
        sha256_prefix: How the checksum begins, where no more of it is published.
        size: Size in bytes; None takes the server's word.
        on_progress: Called with the bytes that are there and their total (None if unknown); may raise to
            interrupt, which keeps the partial file.

    Returns:
        The target.

    Raises:
        InputError: If the address is of another kind, the server cannot be reached or refuses, the connection
            breaks, the disk is full, or size or checksum differ.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise InputError(f"the address must begin with http:// or https://, got {url}; correct it")
    target = Path(target)
    partial = partial_file(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        offset = partial.stat().st_size if partial.exists() else 0
        if size is not None and offset > size:
            partial.unlink()
            offset = 0
    except OSError as error:
        raise _unwritable(target, error) from error
    if size is not None:
        _check_space(target, size - offset)
    if size is None or offset < size:
        _fetch(url, partial, offset, target, size, on_progress)
    _check_content(url, partial, target, size, sha256 or sha256_prefix, whole=sha256 is not None)
    os.replace(partial, target)
    return target


def partial_file(target: Path) -> Path:
    """Return the file that a download collects its bytes in until it is whole."""
    return target.with_name(target.name + ".part")


def fetch_text(url: str, *, wanted: str) -> str:
    """Fetch a small text.

    Args:
        url: Address, http or https.
        wanted: What it is needed for, for the message.

    Raises:
        InputError: If the server cannot be reached or refuses.
    """
    try:
        with _open(url, {}) as response:
            return response.read().decode()
    except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot download {wanted}: {url} {_reason(error)}; check the connection, or put the files there "
            "by hand"
        ) from error


def _open(url: str, headers: dict[str, str]) -> Any:
    """Open an address with nothing but http and https, redirects included."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler,
        UnknownHandler,
        HTTPHandler,
        HTTPSHandler,
        HTTPDefaultErrorHandler,
        HTTPRedirectHandler,
        HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    agent = {"User-Agent": f"spatialdreamer/{__version__}", "Accept-Encoding": "identity"}
    return opener.open(Request(url, headers={**agent, **headers}), timeout=_TIMEOUT)


def _fetch(
    url: str, partial: Path, offset: int, target: Path, size: int | None, on_progress: OnProgress | None
) -> None:
    """Stream the file, from an offset on if the server can, to the partial one."""
    try:
        response = _open(url, {"Range": f"bytes={offset}-"} if offset else {})
    except HTTPError as error:
        if error.code == _RANGE_NOT_SATISFIABLE and offset:
            partial.unlink()
            return _fetch(url, partial, 0, target, size, on_progress)
        raise _unreachable(url, target, error) from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, target, error) from error
    with response:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT and re.match(
            rf"bytes {offset}-", response.headers.get("Content-Range", "")
        )
        done = offset if resumed else 0
        length = response.headers.get("Content-Length")
        total = size if length is None else done + int(length)
        if total is not None and size is None:
            _check_space(target, total - done)
        try:
            stream = partial.open("ab" if resumed else "wb")
        except OSError as error:
            raise _unwritable(target, error) from error
        with stream:
            while chunk := _read(response, url, partial):
                _write(stream, chunk, target)
                done += len(chunk)
                if on_progress is not None:
                    on_progress(done, total)
    if total is not None and done < total:
        raise _cut(url, partial, f"ended after {done} of {total} bytes")
    return None


def _read(response: Any, url: str, partial: Path) -> bytes:
    """Read the next bytes."""
    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _cut(url, partial, str(error) or type(error).__name__) from error


def _write(stream: Any, chunk: bytes, target: Path) -> None:
    """Write bytes to the partial file."""
    try:
        stream.write(chunk)
    except OSError as error:
        raise _unwritable(target, error) from error


def _check_space(target: Path, needed: int) -> None:
    """Check that the disk has room for so many more bytes."""
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise InputError(
            f"{target.name} needs {needed / 1e9:.2f} GB more in {target.parent}, where {free / 1e9:.2f} GB "
            "are free; make room or choose another folder"
        )


def _check_content(
    url: str, partial: Path, target: Path, size: int | None, checksum: str | None, *, whole: bool
) -> None:
    """Check size and checksum, or how it begins, of the whole file; remove it if they differ."""
    found_size = partial.stat().st_size
    if size is not None and found_size != size:
        partial.unlink()
        raise InputError(
            f"{target.name} must have {size} bytes, got {found_size} from {url}; "
            "the file was removed, try again"
        )
    if checksum is None:
        return
    checksum = checksum.lower()
    digest = hashlib.sha256()
    with partial.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    found = digest.hexdigest()
    if found[: None if whole else len(checksum)] != checksum:
        partial.unlink()
        raise InputError(
            f"{target.name} must have the SHA-256 checksum {checksum}{'' if whole else '...'}, got {found} "
            f"from {url}; the file was removed, try again or download it from elsewhere to {target.parent}"
        )


def _unreachable(url: str, target: Path, error: Exception) -> InputError:
    """Describe a server that gives nothing."""
    return InputError(
        f"cannot download {target.name}: {url} {_reason(error)}; check the connection, or download the file "
        f"elsewhere and put it into {target.parent}"
    )


def _cut(url: str, partial: Path, reason: str) -> InputError:
    """Describe a connection that broke."""
    return InputError(
        f"the download of {url} was cut ({reason}); what came is kept as {partial}: try again to continue it"
    )


def _unwritable(target: Path, error: OSError) -> InputError:
    """Describe a folder that takes no file."""
    if error.errno == errno.ENOSPC:
        return InputError(f"the disk of {target.parent} is full; make room for {target.name} and try again")
    return InputError(
        f"{target.parent} must be writable for {target.name}: {error.strerror or error}; "
        "choose another folder"
    )


def _reason(error: Exception) -> str:
    """Put a failed request into words."""
    if isinstance(error, HTTPError):
        return f"answered {error.code} {error.reason}"
    return f"cannot be reached ({getattr(error, 'reason', None) or error or type(error).__name__})"
