"""The `filename_prefix` of a node that saves: what it may be, and the dates in it."""

from __future__ import annotations

import os
import re
from datetime import datetime

from ..spatialdreamer_core.checks import InputError

_DATE = re.compile(r"%date:([^%]*)%")
_PART = re.compile(r"yyyy|yy|dd?|MM?|hh?|mm?|ss?")


def check_prefix(prefix: str) -> None:
    """Check that a prefix names a file.

    Raises:
        InputError: If it is empty, names a folder alone or holds control characters.
    """
    name = os.path.basename(os.path.normpath(prefix.strip()))
    if name in ("", ".", "..") or not prefix.isprintable():
        raise InputError(
            "filename_prefix must be the start of a file name, with a subfolder before it or without, got "
            f"{prefix!r:.200}; try 'SpatialDreamer/stereo'"
        )


def fill_in_dates(prefix: str, now: datetime) -> str:
    """Replace `%date:yyyy-MM-dd%` and the like, as ComfyUI's page does for prompts of its own."""
    return _DATE.sub(lambda date: _PART.sub(lambda part: _format_part(part[0], now), date[1]), prefix)


def _format_part(part: str, now: datetime) -> str:
    """Format a part of a date as ComfyUI's page does: a doubled letter has two digits."""
    if part[0] == "y":
        return f"{now.year:04}"[-len(part) :]
    value = {"d": now.day, "M": now.month, "h": now.hour, "m": now.minute, "s": now.second}[part[0]]
    return f"{value:0{len(part)}}"
