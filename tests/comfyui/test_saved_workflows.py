"""Workflows that people saved with an earlier state of this pack: they open, keep their values, and run.

The files in `saved_workflows/` are the first published templates, as the page saved them:
widgets by position.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser
SAVED = sorted(Path(__file__).with_name("saved_workflows").glob("*.json"))
NOT_SENT = ("control_after_generate", "upload")  # widgets of the page alone


def saved_values(workflow: Path) -> dict[str, dict]:
    """Map each of this pack's nodes, by id, to its widgets' saved values by name."""
    values = {}
    for node in json.loads(workflow.read_text())["nodes"]:
        if node["type"].startswith("SpatialDreamer"):
            names = [item["name"] for item in node["inputs"] if "widget" in item]
            if "seed" in names:
                names.insert(names.index("seed") + 1, "control_after_generate")
            values[str(node["id"])] = dict(zip(names, node["widgets_values"], strict=True))
    return values


@pytest.mark.parametrize("workflow", SAVED, ids=lambda path: path.stem)
def test_a_saved_workflow_keeps_its_values_and_runs(svd_checkpoint, frontend, uploaded_clip, workflow):
    frontend.open_workflow(workflow)
    assert frontend.missing_nodes() == []
    prompt = frontend.page.evaluate("async () => (await app.graphToPrompt()).output")
    for node_id, saved in saved_values(workflow).items():
        now = prompt[node_id]["inputs"]
        for name, value in saved.items():
            assert name in NOT_SENT or now[name] == value, f"{prompt[node_id]['class_type']}.{name}"
    frontend.set_widget("LoadVideo", "file", uploaded_clip)
    for node_type, widget, value in (
        ("ImageFromBatch", "length", 3),
        ("SpatialDreamerRefinerNetEncode", "max_side", 128),
        ("SpatialDreamerTILSVDSampler", "steps", 5),
    ):
        frontend.set_widget(node_type, widget, value)
    assert frontend.queue() is None
