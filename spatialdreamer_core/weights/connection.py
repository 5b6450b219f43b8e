"""Connections to servers of files: http and https alone, never from https back to http.

An address may hold a user name and password, as that of a mirror in `HF_ENDPOINT`. They are sent to its host
alone and are in no message.
"""

from __future__ import annotations

import base64
import http.client
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
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
from ..checks import InputError, one_line

CHUNK = 1 << 20  # bytes read at a time at most
PATIENCE = 30  # s that a text, or the beginning of a file, may take
_SILENCE = 30  # s without a byte
_TEXT_LIMIT = 1 << 24  # bytes of a text


class DownloadError(InputError):
    """A download that the network or the server has foiled.

    Args:
        message: What failed and what to do.
        reason: What failed, in a few words.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def fetch_text(
    url: str,
    *,
    wanted: str,
    remedy: str = "put the files there by hand",
    when_gone: str = "",
    patience: float = PATIENCE,
) -> str:
    """Fetch a small text.

    Args:
        url: Address, http or https.
        wanted: What it is needed for, for the message.
        remedy: What the user can do but check the connection, for the message.
        when_gone: What is added to that where the server has no such text.
        patience: Seconds that it may take, all in all.

    Raises:
        DownloadError: If the server cannot be reached, refuses or does not stop.
    """
    check_scheme(url)
    try:
        return _within(patience, lambda: _read_text(url)).decode()
    except (OSError, http.client.HTTPException, ValueError) as error:
        failure = describe_failure(error)
        if isinstance(error, HTTPError) and error.code == http.HTTPStatus.NOT_FOUND:
            remedy += when_gone
        raise DownloadError(
            f"cannot download {wanted}: {plain(url)} {failure}; check the connection, or {remedy}",
            f"{host_of(url)} {failure}",
        ) from error


def _read_text(url: str) -> bytes:
    """Read a text to its end."""
    with _open(url, {}) as response:
        text = b""
        while chunk := response.read1(CHUNK):
            text += chunk
            if len(text) > _TEXT_LIMIT:
                raise OSError("the answer does not end")
    return text


def plain(url: str) -> str:
    """Return an address without the user name and password that may be in it, for messages."""
    return re.sub(r"(?<=://).*@", "", url)


def host_of(url: str) -> str:
    """Return the host of an address, with its port if it has one."""
    return urlsplit(plain(url)).netloc


def check_scheme(url: str) -> None:
    """Check that an address is one of the web."""
    try:
        scheme = urlsplit(url).scheme
    except ValueError:  # such as half an IPv6 address
        scheme = ""
    if scheme not in ("http", "https"):
        raise InputError(f"the address must begin with http:// or https://, got {plain(url)}; correct it")


def open_address(url: str, headers: dict[str, str], *, patience: float = PATIENCE) -> Any:
    """Open an address with nothing but http and https, redirects included, within so many seconds."""
    return _within(patience, lambda: _open(url, headers))


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """Return what a call gives, or give it up when it takes too long.

    A timeout of the connection is not enough: it holds for each address of a host and for each read, and
    looking up a host's name has none.
    """
    outcome: Future[Any] = Future()

    def run() -> None:
        try:
            result = call()
        except Exception as error:
            if outcome.set_running_or_notify_cancel():
                outcome.set_exception(error)
            return
        if outcome.set_running_or_notify_cancel():
            outcome.set_result(result)
        elif hasattr(result, "close"):
            result.close()

    threading.Thread(target=run, name="connection", daemon=True).start()
    try:
        return outcome.result(seconds)
    except FutureTimeoutError:
        if outcome.cancel():
            raise OSError(f"no answer within {seconds:g} s") from None
        return outcome.result()


def _open(url: str, headers: dict[str, str]) -> Any:
    """Open an address, see `open_address`."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler,
        UnknownHandler,
        HTTPHandler,
        HTTPSHandler,
        HTTPDefaultErrorHandler,
        _Redirects,
        HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    agent = {"User-Agent": f"spatialdreamer/{__version__}", "Accept-Encoding": "identity"}
    request = Request(plain(url), headers={**agent, **headers})
    address = urlsplit(url)
    if address.username is not None:
        pair = f"{unquote(address.username)}:{unquote(address.password or '')}"
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    return opener.open(request, timeout=_SILENCE)


def describe_failure(error: Exception) -> str:
    """Put a failed request into words."""
    if isinstance(error, HTTPError):
        return f"answered {error.code} {error.reason}"
    reason = getattr(error, "reason", None) or error
    return f"cannot be reached ({plain(one_line(reason))})"


class _Redirects(HTTPRedirectHandler):
    """Follows redirects, but never from an encrypted connection to a plain one."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Return the request for the new address."""
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise OSError("it redirects from https to an address that is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
