"""The nodes' schemas as saved workflows rely on them: names, types, order, defaults, ranges.

After a deliberate change: `bash scripts/test.sh tests/comfyui/test_contract.py --update-contract`.
"""

from __future__ import annotations

import json
from pathlib import Path

CONTRACT = Path(__file__).with_name("node_schemas.json")
FILE_CHOICES = [  # what lies in ComfyUI's folders
    ("SpatialDreamerLoadDepth", "required", "file"),
    ("SpatialDreamerModelLoader", "required", "checkpoint"),
    ("SpatialDreamerModelLoader", "required", "weights"),
    ("SpatialDreamerModelLoader", "optional", "unet"),
    ("SpatialDreamerModelLoader", "optional", "refiner"),
]
PROSE = {"tooltip", "description", "output_tooltips", "python_module"}  # free to change


def without_prose(value):
    if isinstance(value, dict):
        return {key: without_prose(item) for key, item in value.items() if key not in PROSE}
    return [without_prose(item) for item in value] if isinstance(value, list) else value


def flatten(value, path: str = "") -> dict[str, str]:
    """Map each leaf's path to its text; the order of inputs is a leaf of its own (`input_order`)."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        items = enumerate(value)
    else:
        return {path: json.dumps(value)}
    return {leaf: text for key, item in items for leaf, text in flatten(item, f"{path}.{key}").items()}


def test_the_schemas_are_those_of_the_contract(comfy_server, request):
    schemas = without_prose(comfy_server.pack_info())
    for node, section, name in FILE_CHOICES:
        schemas[node]["input"][section][name][1]["options"] = []
    if request.config.getoption("--update-contract"):
        CONTRACT.write_text(json.dumps(schemas, indent=1) + "\n")
    frozen, now = flatten(json.loads(CONTRACT.read_text())), flatten(schemas)
    changes = [
        f"{path[1:]}: {frozen.get(path, '(absent)')} -> {now.get(path, '(absent)')}"
        for path in sorted(frozen.keys() | now.keys())
        if frozen.get(path) != now.get(path)
    ]
    assert not changes, "saved workflows may break; if meant, rerun with --update-contract:\n" + "\n".join(
        changes
    )
