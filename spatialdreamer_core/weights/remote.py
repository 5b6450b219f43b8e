"""Files on servers, looked up and received through huggingface_hub, which also fetches plain addresses.

huggingface_hub takes care of tokens, proxies, redirects and retries, and resumes broken connections. Its
`hf_hub_download` is not used: since 2.0 it discards what has arrived when it is interrupted or killed, it
verifies no checksum, and it waits as long as a server asks it to. Its requests run in threads, so that the
caller can give them up. It is imported with the first request, and only what every version since 0.27 has is
used.

An address may hold a user name and password, as that of a mirror in `HF_ENDPOINT`. They are sent to that
host only and appear in no message.
"""

from __future__ import annotations

import base64
import contextlib
import http
import queue
import re
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from inspect import signature
from typing import Any
from urllib.parse import unquote, urlsplit

from .. import __version__
from ..checks import InputError, one_line

PATIENCE = 30  # s that a server has for its first answer
_POLL = 0.5  # s after which the caller gets to check on a silent server
_MARGIN = 1  # s by which huggingface_hub's time limit exceeds ours, whose message is clearer
_BAR = "huggingface_hub.http_get"  # the progress bar that it draws on the console
_NO_HEAD = (http.HTTPStatus.METHOD_NOT_ALLOWED, http.HTTPStatus.NOT_IMPLEMENTED)


class DownloadError(InputError):
    """A download that failed because of the network or the server.

    Args:
        message: What failed and what to do.
        reason: What failed, in a few words.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Remote:
    """A file on a server, as its headers describe it."""

    url: str
    headers: dict[str, str]  # to send with requests for it
    size: int | None = None  # bytes
    etag: str | None = None  # changes with the content; on the hub a checksum
    commit: str | None = None  # in which the hub found it


def plain(url: str) -> str:
    """Return an address without the user name and password that may be in it, for messages."""
    return re.sub(r"(?<=://).*@", "", url)


def host_of(url: str) -> str:
    """Return the host of an address, with its port if it has one."""
    return urlsplit(plain(url)).netloc


def check_scheme(url: str) -> None:
    """Check that an address is http or https.

    Raises:
        InputError: If it is not.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError:  # such as half an IPv6 address
        scheme = ""
    if scheme not in ("http", "https"):
        raise InputError(f"the address must begin with http:// or https://, got {plain(url)}; correct it")


def import_hub() -> Any:
    """Import huggingface_hub.

    Raises:
        InputError: If it is missing or broken.
    """
    try:
        import huggingface_hub
        import huggingface_hub.errors
        import huggingface_hub.file_download
    except (ImportError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"downloads need the Python package huggingface_hub, which cannot be used here "
            f"({one_line(error)}); install it with: pip install --upgrade huggingface_hub"
        ) from error
    return huggingface_hub


def request_headers(url: str, *, token: bool) -> dict[str, str]:
    """Return the headers for requests to a server.

    Args:
        url: An address of the server.
        token: Whether to send the user's token for the hub, if there is one; a password in the address
            takes precedence.
    """
    address = urlsplit(url)
    headers = {"Accept-Encoding": "identity"}  # sizes and checksums are those of the file itself
    if address.username is not None:
        pair = f"{unquote(address.username)}:{unquote(address.password or '')}"
        headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        token = False
    return import_hub().utils.build_hf_headers(
        token=None if token else False,
        library_name="spatialdreamer",
        library_version=__version__,
        headers=headers,
    )


def look_up(url: str, *, token: bool = False, patience: float = PATIENCE) -> Remote:
    """Ask a server for a file's headers.

    Args:
        url: Address of the file, http or https.
        token: Whether to send the user's token for the hub.
        patience: Seconds that it has.

    Raises:
        InputError: If huggingface_hub is missing, or the server redirects to an address without encryption.
        Exception: What huggingface_hub raises, for `describe_failure`.
    """
    hub, headers = import_hub(), request_headers(url, token=token)

    def ask() -> Any:
        return hub.get_hf_file_metadata(
            plain(url), token=False, timeout=patience + _MARGIN, headers=dict(headers)
        )

    try:
        found = _within(patience, ask)
    except hub.errors.HfHubHTTPError as error:
        if not token and status_of(error) in _NO_HEAD:
            return Remote(plain(url), headers)
        raise
    check_redirect(plain(url), found.location)
    if found.commit_hash is None and found.location != plain(url):
        return Remote(plain(url), headers)  # old versions report the redirect's own headers
    return Remote(plain(url), headers, found.size, found.etag, found.commit_hash)


def check_redirect(url: str, location: str) -> None:
    """Check that a redirect leads to http or https, and never from https to http.

    Raises:
        OSError: If it does not.
    """
    scheme = urlsplit(location).scheme
    if scheme not in ("http", "https", ""):
        raise OSError(f"it redirects to an address of {scheme}")
    if scheme == "http" and url.startswith("https:"):
        raise OSError("it redirects from https to an address that is not encrypted")


def receive(remote: Remote, offset: int) -> Generator[bytes | int | None, None, None]:
    """Receive a file, or the rest of it.

    Args:
        remote: What `look_up` found.
        offset: Bytes that are there already.

    Yields:
        The next bytes; or None when nothing has arrived for a while; or, when the server starts over, the
        length to which what is there must be cut.

    Raises:
        Exception: What huggingface_hub raises, for `describe_failure`.
    """
    pipe = _Pipe(offset)
    threading.Thread(target=_send, args=(remote, offset, pipe), name="download", daemon=True).start()
    try:
        while True:
            try:
                item = pipe.items.get(timeout=_POLL)
            except queue.Empty:
                yield None
                continue
            if isinstance(item, Exception):
                raise item
            if item is _END:
                return
            yield item
    finally:
        pipe.given_up.set()


def describe_failure(error: Exception) -> str:
    """Put a failed request into words."""
    status = status_of(error)
    if status is None:
        return f"cannot be reached ({reason_of(error)})"
    try:
        text = f"answered {status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        text = f"answered {status}"
    wait = _answer_of(error).headers.get("Retry-After")
    return f"{text} and asks for a pause (Retry-After: {wait[:40]})" if wait else text


def reason_of(error: BaseException) -> str:
    """Return the system's own reason for a failed request, without those of the libraries in between."""
    while (cause := error.__cause__ or error.__context__) is not None and str(cause):
        error = cause
    return plain(one_line(error))


def status_of(error: Exception) -> int | None:
    """Return the status of the server's answer behind an error, or None if there was no answer."""
    answer = _answer_of(error)
    return None if answer is None else answer.status_code


def _answer_of(error: Exception) -> Any:
    """Return the server's answer behind an error, if there was one."""
    return getattr(error, "response", None)


_END = object()  # of a file


class _GivenUp(Exception):
    """Raised in the sending thread when nobody waits for the file any more."""


class _Pipe:
    """The file object that huggingface_hub writes to; it passes each piece to the waiting thread."""

    def __init__(self, offset: int) -> None:
        self.items: queue.Queue[Any] = queue.Queue(maxsize=1)
        self.given_up = threading.Event()
        self._position = offset

    def put(self, item: object) -> None:
        """Pass an item on, once the one before it has been taken."""
        while not self.given_up.is_set():
            with contextlib.suppress(queue.Full):
                self.items.put(item, timeout=_POLL)
                return
        raise _GivenUp

    def write(self, piece: bytes) -> int:
        self.put(piece)
        self._position += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        self._position = position
        return position

    def truncate(self) -> int:
        self.put(self._position)
        return self._position


def _send(remote: Remote, offset: int, pipe: _Pipe) -> None:
    """Write a file to a pipe, then `_END` or the error."""
    with contextlib.suppress(_GivenUp):
        try:
            hub = import_hub()
            drawn = not hub.utils.are_progress_bars_disabled(_BAR)
            hub.utils.disable_progress_bars(_BAR)
            fetch = hub.file_download.http_get
            # Before 1.0 the file may be left to hf_transfer, which takes no pipe, but not with proxies.
            options: dict[str, Any] = {"proxies": {}} if "proxies" in signature(fetch).parameters else {}
            try:
                fetch(remote.url, pipe, resume_size=offset, headers=dict(remote.headers), **options)
            finally:
                if drawn:
                    hub.utils.enable_progress_bars(_BAR)
            pipe.put(_END)
        except _GivenUp:
            raise
        except Exception as error:
            pipe.put(error)


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """Return the result of a call, or give it up when it takes too long.

    The connection's own time limit is not enough: it applies to each address of a host and to each read, and
    name lookups have none.
    """
    outcome: Future[Any] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except Exception as error:
            outcome.set_exception(error)

    threading.Thread(target=run, name="connection", daemon=True).start()
    try:
        return outcome.result(seconds)
    except FutureTimeoutError:
        if outcome.done():
            raise
        raise OSError(f"no answer within {seconds:g} s") from None
