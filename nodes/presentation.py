"""What newer versions of ComfyUI show of a node beyond 0.3.75: words to find it by, and advanced widgets."""

from __future__ import annotations

from inspect import signature
from typing import Any

from comfy_api.latest import io

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
