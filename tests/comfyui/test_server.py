"""The pack in a running ComfyUI: it loads, and the server hands out what belongs to it."""

from __future__ import annotations

import subprocess
from urllib.parse import quote

import pytest

from .server import NODE_IDS, PACK, WORKFLOWS, import_failure, install_pack, start_command


def test_every_node_is_listed(comfy_server):
    assert tuple(comfy_server.pack_info()) == NODE_IDS


def test_the_log_has_no_complaint_about_the_pack(comfy_server):
    log = comfy_server.log()
    assert import_failure(log, PACK) == ""
    assert "Unable to parse pyproject.toml" not in log


def test_the_pack_loads_under_the_name_that_the_registry_gives_it(comfyui, tmp_path):
    install_pack(tmp_path, "spatialdreamer")
    command = start_command(tmp_path, "--quick-test-for-ci")
    run = subprocess.run(**command, timeout=180, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert run.returncode == 0, run.stdout
    assert import_failure(run.stdout, "spatialdreamer") == ""


def test_the_help_pages_are_served(comfy_server):
    for node_id, node in comfy_server.pack_info().items():
        page = comfy_server.read(f"/extensions/{PACK}/docs/{node_id}.md").decode()
        assert page.startswith(f"# {node['display_name']}\n"), node_id


def test_every_node_is_found_by_what_people_search(comfy_server):
    for node_id, node in comfy_server.pack_info().items():
        assert "stereo 3d" in node["display_name"].lower(), node_id
        if "search_aliases" in node:  # newer than 0.3.75
            assert {"sbs", "vr", "2d to 3d", "anaglyph"} <= set(node["search_aliases"]), node_id


def test_the_templates_are_listed(comfy_server):
    listed = comfy_server.get("/api/workflow_templates")
    assert sorted(listed.get(PACK, [])) == [path.stem for path in WORKFLOWS]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_each_template_is_served_with_its_picture(comfy_server, workflow):
    address = f"/api/workflow_templates/{PACK}/{quote(workflow.stem)}"
    assert comfy_server.read(f"{address}.json") == workflow.read_bytes()
    assert comfy_server.read(f"{address}.jpg").startswith(b"\xff\xd8")


def test_each_node_is_under_one_category_and_describes_everything(comfy_server):
    for name, node in comfy_server.pack_info().items():
        assert node["category"].split("/")[0] == "SpatialDreamer", name
        assert node["description"], name
        assert all(node["output_tooltips"]), name
        for inputs in (node["input"].get("required", {}), node["input"].get("optional", {})):
            for socket, (_, options) in inputs.items():
                assert options.get("tooltip"), f"{name}.{socket}"
