"""What ComfyUI shows of a node: what it says of its run; in newer versions search words, advanced widgets."""

from __future__ import annotations

import html
import logging
from collections.abc import Sequence
from inspect import signature
from typing import Any

from comfy_api.latest import io
from server import PromptServer

_LOGGER = logging.getLogger(__name__)
_ALIASES = ("stereo", "stereoscopic", "3d", "2d to 3d", "sbs", "side by side", "vr", "anaglyph", "parallax")
ADVANCED: dict[str, Any] = {"advanced": True} if "advanced" in signature(io.Int.Input).parameters else {}
"""Arguments of an input that most users leave alone: collapsed where ComfyUI can, shown where it cannot."""


def found_by(*words: str) -> dict[str, Any]:
    """Make the arguments of a schema by which ComfyUI's search finds the node.

    Args:
        words: What people search for besides stereo and 3D; the node's name is searched anyway.

    Returns:
        The arguments, none where ComfyUI takes none.
    """
    if "search_aliases" not in signature(io.Schema).parameters:
        return {}
    return {"search_aliases": [*_ALIASES, *words]}


def show_text(node_id: str | None, *lines: str, warnings: Sequence[str] = ()) -> dict[str, list[str]]:
    """Write lines onto a node, in place of those that it showed before.

    Args:
        node_id: The node, `cls.hidden.unique_id` of a schema with `io.Hidden.unique_id`.
        lines: What to say, plain text: no Markdown, which only one of ComfyUI's two renderers knows.
        warnings: Lines that go above the others, and to the log too.

    Returns:
        What an output node adds to the `ui` of its output: the page shows the text again when it comes
        from ComfyUI's cache (see `web/js/node_text.js`). Of other nodes that have run before, the page hears
        nothing, and their text stays.
    """
    for warning in warnings:
        _LOGGER.warning(warning)
    text = "\n".join([*warnings, *lines])
    if node_id is not None and hasattr(PromptServer, "instance"):
        # Both renderers take it for HTML, and a file's name may hold anything.
        PromptServer.instance.send_progress_text(html.escape(text, quote=False), node_id)
    return {"text": [text]}
