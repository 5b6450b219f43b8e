"""Yes and no as texts, which shared workflows may hold: ComfyUI takes every text but an empty one for yes.

It does so before a node sees the value, so a `download` of "false" would download. Prompts are therefore
looked through as they arrive; ComfyUI's own checks follow.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from comfy_api.latest import io
from server import PromptServer

_NO = ("", "0", "false", "no", "off", "none", "null")


def read_flags_of(nodes: Iterable[type[io.ComfyNode]]) -> None:
    """Let texts that mean no count as no in prompts, where nodes take yes or no."""
    flags = {node.__name__: _flags_of(node) for node in nodes}  # their ids are the classes' names

    def on_prompt(request: dict[str, Any]) -> dict[str, Any]:
        """Correct the content of a POST to /prompt, of any form, in place."""
        prompt = request.get("prompt")
        for node in prompt.values() if isinstance(prompt, dict) else ():
            inputs = node.get("inputs") if isinstance(node, dict) else None
            if not isinstance(inputs, dict):
                continue
            for name in flags.get(str(node.get("class_type")), set()).intersection(inputs):
                if isinstance(inputs[name], str) and inputs[name].strip().lower() in _NO:
                    inputs[name] = False
        return request

    if hasattr(PromptServer, "instance"):  # not where ComfyUI runs without a server
        PromptServer.instance.add_on_prompt_handler(on_prompt)


def _flags_of(node: type[io.ComfyNode]) -> set[str]:
    """List the inputs of a node that take yes or no."""
    return {entry.id for entry in node.define_schema().inputs or () if isinstance(entry, io.Boolean.Input)}
