"""Stages import the stages before them, never after: the data's way is the only direction."""

from __future__ import annotations

import ast
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import spatialdreamer_core

ROOT = Path(spatialdreamer_core.__file__).parent
ORDER = (  # from what all stages stand on to what knows all of them
    *(
        "lazy_names",
        "checks",
        "options",
        "arguments",
        "contracts",
        "memory",
        "locking",
        "atomic",
        "comparing",
    ),
    *("remapping", "triton_probe", "kernels", "parsing", "media", "bars", "process", "progress_bar"),
    *("weights", "flow", "depth", "dvg", "fill", "metrics", "svd", "spatialdreamer", "m2svid"),
    "frame_matrix",
    *("stereo", "video", "pipeline", "evaluation", "training", "__init__"),
    *(
        "conversion_previews",
        "commands",
        "film_commands",
        "dataset_commands",
        "train_commands",
        "m2svid_commands",
        "spatial_command",
        "cli",
    ),
)
FILLERS = ("spatialdreamer", "m2svid", "frame_matrix")  # on svd


def imports() -> dict[str, set[str]]:
    """Map each module or package at the top to those that it imports."""
    found = defaultdict(set)
    for file in ROOT.rglob("*.py"):
        parts = file.relative_to(ROOT).with_suffix("").parts
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = parts[: len(parts) - node.level]
                names = (node.module or "").split(".") if node.module else [a.name for a in node.names]
                target = (*base, *names)[0] if (*base, *names) else ""
                if base or (ROOT / target).is_dir() or (ROOT / f"{target}.py").is_file():
                    found[parts[0]].add(target)
    return found


def test_no_arrow_points_to_a_later_stage():
    found = imports()
    assert set(found) <= set(ORDER), "new at the top: give it its place in the order"
    wrong = [
        f"{start} imports {target}"
        for start, targets in found.items()
        for target in targets
        if target != start and ORDER.index(target) > ORDER.index(start)
    ]
    assert wrong == []


def test_only_the_pipeline_knows_more_than_one_filler():
    for start, targets in imports().items():
        if start not in ("pipeline", "training", "commands", "cli", "__init__", *FILLERS):
            assert not any({"fill", "svd", filler} <= targets for filler in FILLERS), start
        if start in FILLERS:
            assert targets.isdisjoint({*FILLERS} - {start}), start
    for file in (ROOT / "training").glob("*.py"):  # its dataset takes any filler, all the rest trains one
        assert "from ..fill" not in file.read_text(encoding="utf-8"), file
    for file in (ROOT / "pipeline").glob("*.py"):
        assert "FastFill" not in file.read_text() or file.name == "fillers.py"


def module_imports() -> dict[str, set[str]]:
    """Map each module to those of the library that it imports as it is imported itself."""
    modules = {}
    for file in ROOT.rglob("*.py"):
        parts = file.relative_to(ROOT.parent).with_suffix("").parts
        modules[parts[:-1] if parts[-1] == "__init__" else parts] = file
    found = {}
    for parts, file in modules.items():
        package = parts if file.name == "__init__.py" else parts[:-1]
        targets = set()
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ImportFrom) and node.level:
                base = package[: len(package) - node.level + 1] + tuple(filter(None, [node.module]))
                names = {(*base, *alias.name.split(".")) for alias in node.names}
                targets |= {name if name in modules else tuple(".".join(base).split(".")) for name in names}
        found[".".join(parts)] = {".".join(target) for target in targets if target != parts}
    return found


def test_no_module_imports_itself_in_a_circle():
    order = list(TopologicalSorter(module_imports()).static_order())
    assert order.index("spatialdreamer_core.flow.motion") < order.index("spatialdreamer_core.pipeline.frames")
