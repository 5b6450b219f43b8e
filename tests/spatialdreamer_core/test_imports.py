"""Stages import the stages before them, never after: the data's way is the only direction."""

from __future__ import annotations

import ast
from collections import defaultdict
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
        "locking",
        "atomic",
        "memory",
        "parsing",
        "media",
    ),
    *("bars", "process", "progress_bar"),
    *("weights", "flow", "depth", "dvg", "metrics", "fill", "svd", "spatialdreamer"),
    *("stereo", "video", "pipeline", "__init__", "commands", "cli"),
)
FILLERS = ("svd", "spatialdreamer")


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
        if start not in ("pipeline", "commands", "cli", "__init__", "spatialdreamer"):
            assert not {"fill", *FILLERS} <= targets, start
    chain = (ROOT / "pipeline" / "chain.py", ROOT / "pipeline" / "stages.py")
    assert not any("FastFill" in file.read_text() for file in chain)
