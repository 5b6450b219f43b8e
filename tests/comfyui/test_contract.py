"""The nodes' schemas as saved workflows rely on them, and the inputs in the help pages, which follow them.

After a deliberate change: `bash scripts/test.sh tests/comfyui/test_contract.py --update-contract`. It also
gives a new input its line in the help page, whose meaning may then be written out.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from spatialdreamer_core.options import Option

from .server import NODE_IDS, REPOSITORY
from .test_options import WIDGETS

CONTRACT = Path(__file__).with_name("node_schemas.json")
FILE_CHOICES = [  # what lies in ComfyUI's folders
    ("SpatialDreamerLoadDepth", "required", "file"),
    ("SpatialDreamerM2SVidLoader", "required", "checkpoint"),
    ("SpatialDreamerM2SVidLoader", "optional", "svd"),
    ("SpatialDreamerModelLoader", "required", "checkpoint"),
    ("SpatialDreamerModelLoader", "required", "weights"),
    ("SpatialDreamerModelLoader", "optional", "unet"),
    ("SpatialDreamerModelLoader", "optional", "refiner"),
]
LINE = re.compile(
    r"- \*\*(?P<name>\w+)\*\* \((?P<facts>.*?)\): (?P<meaning>.*)"
)  # of an input in a help page
PAGES = REPOSITORY / "web" / "docs"
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


def split_page(text: str) -> tuple[str, list[str], str]:
    """Split a page into what stands before the lines of its inputs, the lines, and what stands after them."""
    before, _, rest = text.partition("## Inputs\n\n")
    lines, _, after = rest.partition("\n\n")
    return before, lines.splitlines(), after


def facts_of(kind: str, about: dict, section: str, option: Option | None, written: str) -> str:
    """Return what is to stand in brackets behind an input's name.

    Args:
        kind: Its type.
        about: Its attributes.
        section: Whether it is required or optional.
        option: What it is made of, if it is.
        written: What stands there now; its end is kept where nothing but a person can know it.
    """
    facts = {"COMBO": "choice"}.get(kind, kind) + (", optional" if section == "optional" else "")
    default = about.get("default")
    if isinstance(default, bool):
        facts += f", default {str(default).lower()}"
    elif default not in (None, ""):
        facts += f", default {default:g}" if isinstance(default, int | float) else f", default {default}"
    if option and (limits := range_of(option)):
        return f"{facts}, {limits}"
    return written if written.startswith(facts) else facts


def range_of(option: Option) -> str:
    """Return what an option may be as it is to stand in brackets."""
    values = [option.range] if option.range else []
    if option.choices and not callable(option.choices):
        values.append(f"one of {', '.join(option.list_choices())}")
    if option.nullable and option.none_as is not None:
        values.append(f"{option.none_as:g}: {option.none_means}")
    return "; ".join(values)


@pytest.mark.parametrize("node", NODE_IDS)
def test_each_input_has_its_line_and_options_say_what_they_are(node, request):
    page = PAGES / f"{node}.md"
    before, lines, after = split_page(page.read_text(encoding="utf-8"))
    sections = json.loads(CONTRACT.read_text(encoding="utf-8"))[node]["input"]
    known = {line["name"]: line for line in map(LINE.fullmatch, lines) if line}
    expected = []
    for section in ("required", "optional"):
        for name, (kind, about) in sections.get(section, {}).items():
            option = WIDGETS.get(node, {}).get(name)
            written = known.get(name) or {"facts": "", "meaning": option.help if option else ""}
            facts = facts_of(kind, about, section, option, written["facts"])
            expected.append(f"- **{name}** ({facts}): {written['meaning']}")
    expected = expected or ["None."]
    if request.config.getoption("--update-contract"):
        page.write_text(f"{before}## Inputs\n\n" + "\n".join(expected) + f"\n\n{after}", encoding="utf-8")
        lines = expected
    assert lines == expected, "rerun with --update-contract, then read the difference"
