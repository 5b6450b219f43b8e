"""The nodes' schemas as saved workflows rely on them, and the tables of the help pages, which follow them.

After a deliberate change: `bash scripts/test.sh tests/comfyui/test_contract.py --update-contract`. It also
gives a new input its row in the help page, whose meaning may then be written out.
"""

from __future__ import annotations

import json
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
HEAD = ["Name", "Meaning", "Type", "Default", "Range"]  # of a help page's inputs
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


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def line_of(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


def split_page(text: str) -> tuple[str, list[list[str]], str]:
    """Split a page into what stands before the rows of its inputs, the rows, and what stands after them."""
    before, _, rest = text.partition("## Inputs\n\n")
    table, _, after = rest.partition("\n\n")
    rows = [(cells_of(line) + [""] * len(HEAD))[: len(HEAD)] for line in table.splitlines()[2:]]
    return before, rows, after


def said_of(kind: str, about: dict, section: str) -> list[str]:
    """Return a widget's type and default as they are to stand in the table."""
    default = about["default"]
    if isinstance(default, bool):
        shown = str(default).lower()
    else:
        shown = f"{default:g}" if isinstance(default, (int, float)) else default
    name = {"COMBO": "choice"}.get(kind, kind)
    return [name + (", optional" if section == "optional" else ""), shown]


def range_of(option: Option) -> str:
    """Return what an option may be as it is to stand in the table."""
    values = [option.range] if option.range else []
    if option.choices and not callable(option.choices):
        values.append(", ".join(option.list_choices()))
    if option.nullable and option.none_as is not None:
        values.append(f"{option.none_as:g}: {option.none_means}")
    return "; ".join(values)


@pytest.mark.parametrize("node", NODE_IDS)
def test_each_input_has_its_row_and_options_say_what_they_are(node, request):
    page = PAGES / f"{node}.md"
    before, rows, after = split_page(page.read_text(encoding="utf-8"))
    sections = json.loads(CONTRACT.read_text(encoding="utf-8"))[node]["input"]
    known = {cells[0]: cells for cells in rows}
    expected = []
    for section in ("required", "optional"):
        for name, (kind, about) in sections.get(section, {}).items():
            option = WIDGETS.get(node, {}).get(name)
            cells = known.get(name, [name, option.help if option else "", "", "", ""])
            if "default" in about:  # not a socket, nor a choice of files
                cells[2:4] = said_of(kind, about, section)
                cells[4] = range_of(option) if option else cells[4]
            expected.append(cells)
    if request.config.getoption("--update-contract") and expected:
        table = [line_of(HEAD), "|---|---|---|---|---|", *map(line_of, expected)]
        page.write_text(f"{before}## Inputs\n\n" + "\n".join(table) + f"\n\n{after}", encoding="utf-8")
        rows = expected
    if not expected:  # the page says that there are none
        expected = rows
    assert rows == expected, "rerun with --update-contract, then read the difference"
