"""The templates in ComfyUI's own page, as a person opens and runs them."""

from __future__ import annotations

import pytest

from .server import NODE_IDS, WORKFLOWS

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_open_a_template_run_it_and_see_the_result(frontend, uploaded_clip, workflow):
    frontend.open_workflow(workflow)
    assert frontend.missing_nodes() == []
    frontend.set_widget("LoadVideo", "file", uploaded_clip)
    assert frontend.queue() is None
    frontend.wait_for_results()


def test_every_node_can_be_added_by_hand(frontend):
    for node_id in NODE_IDS:
        assert frontend.add_node(node_id), node_id
    assert frontend.missing_nodes() == []
