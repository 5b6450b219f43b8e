"""Rules for the node pack that need no server: what is shipped, required, documented and imported."""

from __future__ import annotations

import ast
import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib

from .comfyui.server import BLUEPRINTS, NODE_IDS, REPOSITORY, WORKFLOWS, packaged_files

COMFYUI_HAS = (
    "torch torchvision torchaudio numpy pillow safetensors transformers av scipy tqdm psutil aiohttp"
    " huggingface-hub"  # which transformers needs
)
COMFYUI_MODULES = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "nodes", "server"}
WIDGETS = {"COMBO", "FLOAT", "INT", "BOOLEAN", "STRING"}
CORE = REPOSITORY / "spatialdreamer_core"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def imported_modules(file: Path) -> set[str]:
    """List the top-level names of a file's absolute imports."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def requirements() -> list[str]:
    lines = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def package_name(requirement: str) -> str:
    return re.split(r"[<>=!~\[; ]", requirement)[0].lower()


def test_requirements_bring_only_what_comfyui_lacks_and_pin_nothing():
    for requirement in requirements():
        assert package_name(requirement) not in COMFYUI_HAS.split(), requirement
        assert not re.search(r"==|~=|<", requirement), f"{requirement}: would roll other packs back"


def test_requirements_agree_with_the_package():
    needed = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["diffusion"]]
    wanted = {name for name in map(package_name, needed) if name not in COMFYUI_HAS.split()}
    assert {package_name(requirement) for requirement in requirements()} == wanted


def test_constraints_name_each_dependency():
    lines = (REPOSITORY / "scripts" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {
        re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in lines if not line.startswith("#")
    }
    extras = [item for items in PROJECT["optional-dependencies"].values() for item in items]
    for requirement in [*PROJECT["dependencies"], *extras]:
        assert package_name(requirement) in pinned | {"spatialdreamer"}, requirement


def test_core_imports_nothing_of_comfyui():
    for file in CORE.rglob("*.py"):
        assert not imported_modules(file) & COMFYUI_MODULES, file


def test_the_pack_imports_its_library_by_relative_import_only():
    for file in [REPOSITORY / "__init__.py", *(REPOSITORY / "nodes").glob("*.py")]:
        assert "spatialdreamer_core" not in imported_modules(file), file
        assert "NODE_CLASS_MAPPINGS" not in file.read_text(encoding="utf-8"), file


def test_the_nodes_load_without_the_libraries_that_only_models_need():
    """They take seconds to import and may be missing: what needs them is imported where a node runs."""
    modules = set()
    for file in (REPOSITORY / "nodes").glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        modules |= {
            node.module
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and node.level == 2 and node.module is not None
        }
    assert "spatialdreamer_core.spatialdreamer.sampler_config" in modules
    program = "; ".join(
        [
            "import sys",
            *(f"import {module}" for module in sorted(modules)),
            "assert not {'diffusers', 'transformers'} & set(sys.modules)",
        ]
    )
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr


def test_node_ids_are_literals_in_direct_subclasses():
    """ComfyUI-Manager's scanner finds a node only so; ids are for ever, as saved workflows name them."""
    found = []
    for file in (REPOSITORY / "nodes").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and "io.ComfyNode" in map(ast.unparse, node.bases):
                ids = re.findall(r"node_id='(\w+)'", ast.unparse(node))
                assert ids == [node.name], file
                found += ids
    assert sorted(found) == list(NODE_IDS)


@pytest.mark.parametrize("module", ["spatialdreamer_core", "spatialdreamer_core.cli"])
def test_importing_the_library_uses_no_network(module):
    program = (
        "import importlib, socket\n"
        "def refuse(*_, **__): raise AssertionError('network used at import')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        f"importlib.import_module({module!r})\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr


def test_the_package_for_the_registry_is_whole_and_lean():
    """Its size is held in test_release.py."""
    files = {file.as_posix() for file in packaged_files()}
    for needed in ("__init__.py", "pyproject.toml", "requirements.txt", "LICENSE", "nodes/convert.py"):
        assert needed in files
    for node_id in NODE_IDS:
        assert f"web/docs/{node_id}.md" in files, "left out of the package, or not written"
    for workflow in (*WORKFLOWS, *BLUEPRINTS):
        assert f"{workflow.parent.name}/{workflow.name}" in files
    assert not [
        file for file in files if file.startswith(("tests/", "scripts/", "benchmarks/", ".ci/", "docs/"))
    ]
    assert not [file for file in files if file.startswith(("node_modules/", "package", "tsconfig"))]


def test_each_node_has_a_help_page_and_no_page_lacks_its_node():
    pages = {page.stem for page in (REPOSITORY / "web" / "docs").glob("*.md")}
    assert pages == set(NODE_IDS)
    for node_id in NODE_IDS:
        text = (REPOSITORY / "web" / "docs" / f"{node_id}.md").read_text(encoding="utf-8")
        assert text.startswith("# "), node_id
        assert len(text) > 200, node_id
        inputs = text.partition("## Inputs\n\n")[2].partition("\n\n")[0]
        assert "|" not in inputs, f"{node_id}: a table is cut off in the narrow panel"


def test_the_templates_are_there():
    jobs = "quick_stereo photo film dvg_stages m2svid spatialdreamer frame_matrix training_pair"
    assert {path.stem for path in WORKFLOWS} == set(jobs.split())
    assert {path.stem for path in BLUEPRINTS} == {"2D to 3D video"}


def nodes_of(workflow: Path) -> list[dict]:
    """List the nodes of a workflow, or those in a subgraph blueprint."""
    content = json.loads(workflow.read_text(encoding="utf-8"))
    assert content["version"] == 0.4
    subgraphs = content.get("definitions", {}).get("subgraphs", [])
    return [node for graph in subgraphs or [content] for node in graph["nodes"]]


each_workflow = pytest.mark.parametrize("workflow", [*WORKFLOWS, *BLUEPRINTS], ids=lambda path: path.stem)


@each_workflow
def test_a_template_is_in_the_form_that_comfyui_saves(workflow):
    nodes = nodes_of(workflow)
    for node in nodes:
        if node["type"] in {"MarkdownNote", "Note"}:
            continue
        properties = node["properties"]
        assert properties["Node name for S&R"] == node["type"]
        assert properties["cnr_id"] == (PROJECT["name"] if node["type"] in NODE_IDS else "comfy-core"), node[
            "type"
        ]
        assert properties["ver"], node["type"]
    assert {node["type"] for node in nodes} & set(NODE_IDS)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_template_says_what_to_do_and_which_weights_it_needs(workflow):
    nodes = nodes_of(workflow)
    (note,) = (node["widgets_values"][0] for node in nodes if node["type"] == "MarkdownNote")
    assert "Load Demo Clip" in note, "and what takes its place"
    for node in nodes:
        runs = node["mode"] == 0
        if runs and node["type"] in {"SpatialDreamerModelLoader", "SpatialDreamerM2SVidLoader"}:
            (model,) = node["properties"]["models"]
            assert model["name"] == node["widgets_values"][0]
            assert model["name"] in note
            assert f"*models/{model['directory']}*" in note


@pytest.mark.parametrize("blueprint", BLUEPRINTS, ids=lambda path: path.stem)
def test_a_blueprint_is_one_node_that_shows_some_of_the_widgets_within(blueprint):
    content = json.loads(blueprint.read_text(encoding="utf-8"))
    (node,), (subgraph,) = content["nodes"], content["definitions"]["subgraphs"]
    assert node["type"] == subgraph["id"]
    assert node["title"] == subgraph["name"] == blueprint.stem
    for side in ("inputs", "outputs"):
        slots = [(slot["name"], slot["type"]) for slot in subgraph[side]]
        assert [(slot["name"], slot["type"]) for slot in node[side]] == slots
    inner = {node["id"]: node for node in subgraph["nodes"]}
    links = {link["id"]: link for link in subgraph["links"]}
    for slot in subgraph["inputs"]:
        (link,) = (links[number] for number in slot["linkIds"])
        target = inner[link["target_id"]]["inputs"][link["target_slot"]]
        assert (target["name"], target["link"]) == (slot["name"], link["id"])


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_the_links_of_a_template_hold_at_both_ends(workflow):
    content = json.loads(workflow.read_text(encoding="utf-8"))
    nodes = {node["id"]: node for node in content["nodes"]}
    ends = set()
    for number, source, out, target, into, kind in content["links"]:
        assert number in nodes[source]["outputs"][out]["links"]
        assert nodes[target]["inputs"][into]["link"] == number
        assert kind in (nodes[source]["outputs"][out]["type"], "*")
        ends |= {("out", source, number), ("in", target, number)}
    for node in nodes.values():
        assert {("in", node["id"], entry["link"]) for entry in node["inputs"] if entry["link"]} <= ends
        assert {("out", node["id"], n) for slot in node["outputs"] for n in slot["links"] or []} <= ends


CHOSEN = {"checkpoint", "weights", "unet", "fps", "filename_prefix"}  # all other values are the defaults
CHOSEN_IN = {"spatialdreamer": {"steps", "strength", "dilate"}}  # for a model without trained weights


def fits(value, options):
    """Tell whether a widget takes a value, as far as its schema says."""
    default = options.get("default")
    if options.get("options"):
        return value in options["options"]
    if "min" in options:
        return not isinstance(value, bool) and options["min"] <= value <= options["max"]
    return default is None or isinstance(value, type(default))


@each_workflow
def test_a_template_has_a_value_for_each_widget_and_notes_that_can_be_read(workflow):
    schemas = json.loads((REPOSITORY / "tests" / "comfyui" / "node_schemas.json").read_text(encoding="utf-8"))
    for node in nodes_of(workflow):
        if node["type"] == "MarkdownNote":
            assert "`" not in node["widgets_values"][0], "code is unreadable in Nodes 2.0"
        if node["type"] not in NODE_IDS:
            continue
        sections = schemas[node["type"]]["input"]
        inputs = sections.get("required", {}) | sections.get("optional", {})
        widgets = {name: options for name, (kind, options) in inputs.items() if kind in WIDGETS}
        seeds = sum(options.get("control_after_generate", False) for options in widgets.values())
        assert len(node["widgets_values"]) == len(widgets) + seeds, f"{node['type']}: stale, save it anew"
        assert [entry["name"] for entry in node["inputs"] if "widget" in entry] == list(widgets)
        values = iter(node["widgets_values"])
        for name, options in widgets.items():
            value = next(values)
            assert fits(value, options), f"{node['type']}: {name} is {value}, so all after it may be shifted"
            if name not in CHOSEN | CHOSEN_IN.get(workflow.stem, set()):
                assert value == options["default"], f"{node['type']}: {name}"
            if options.get("control_after_generate"):
                next(values)
        if "depth" in widgets or "estimator" in widgets:
            assert "auto" in node["widgets_values"]
            assert "builtin" not in node["widgets_values"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_template_has_a_picture(workflow):
    picture = workflow.with_suffix(".jpg").read_bytes()
    assert picture.startswith(b"\xff\xd8")
    size = next(  # of the start-of-frame marker
        struct.unpack(">HH", picture[match.start() + 5 : match.start() + 9])
        for match in re.finditer(rb"\xff[\xc0-\xc2]\x00\x11\x08", picture)
    )
    assert min(size) >= 200, f"{size[1]}x{size[0]} is too small for the template browser"
    assert len(picture) < 400_000


def documents() -> list[Path]:
    pages = [*(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "web" / "docs").rglob("*.md")]
    return [*pages, *REPOSITORY.glob("*.md"), *(REPOSITORY / "benchmarks").rglob("*.md")]


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_the_links_of_a_document_lead_somewhere(document):
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)[^)]*\)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        pages = REPOSITORY / "web" / "docs"  # from which ComfyUI's page reads those of all languages
        folder = pages if pages in document.parents else document.parent
        file = folder / path if path else document
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, target
