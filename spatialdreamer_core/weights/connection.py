"""Connections to servers of files: http and https alone, never from https back to http.

An address may hold a user name and password, as that of a mirror in `HF_ENDPOINT`. They are sent to its host
alone and are in no message.
"""

from __future__ import annotations

import base64
import http.client
import re
import time
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
_SILENCE = 30  # s without a byte
_TEXT_TIME = 60  # s that a text may take
_TEXT_LIMIT = 1 << 24  # bytes of a text


def fetch_text(url: str, *, wanted: str, remedy: str = "put the files there by hand") -> str:
    """Fetch a small text.

    Args:
        url: Address, http or https.
        wanted: What it is needed for, for the message.
        remedy: What the user can do but check the connection, for the message.

    Raises:
        InputError: If the server cannot be reached, refuses or does not stop.
    """
    check_scheme(url)
    deadline = time.monotonic() + _TEXT_TIME
    try:
        with open_address(url, {}) as response:
            text = b""
            while chunk := response.read1(CHUNK):
                text += chunk
                if len(text) > _TEXT_LIMIT or time.monotonic() > deadline:
                    raise OSError("the answer does not end")
        return text.decode()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise InputError(
            f"cannot download {wanted}: {plain(url)} {describe_failure(error)}; check the connection, "
            f"or {remedy}"
        ) from error


def plain(url: str) -> str:
    """Return an address without the user name and password that may be in it, for messages."""
    return re.sub(r"(?<=://).*@", "", url)


def check_scheme(url: str) -> None:
    """Check that an address is one of the web."""
    try:
        scheme = urlsplit(url).scheme
    except ValueError:  # such as half an IPv6 address
        scheme = ""
    if scheme not in ("http", "https"):
        raise InputError(f"the address must begin with http:// or https://, got {plain(url)}; correct it")


def open_address(url: str, headers: dict[str, str]) -> Any:
    """Open an address with nothing but http and https, redirects included."""
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
