"""What the documents name is there: paths, commands, options and extras; what they show runs."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
import tomllib
import torch

import spatialdreamer_core as sd
from spatialdreamer_core.cli import main
from spatialdreamer_core.pipeline import FILLERS

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "spatialdreamer_core"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / ".github").rglob("*.md")])
ELSEWHERE = ("models/", "out/", "ComfyUI/", "config.json")  # of users, and of folders of weights
SUFFIXES = "py|sh|md|toml|json|txt|js|yml|jpg|mp4"
FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def inline_code(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", read(page)))


def commands(page: Path) -> list[str]:
    """List the lines of a page's shell blocks, without comments, and the commands within its text."""
    lines = [line for kind, code in FENCE.findall(read(page)) if kind == "bash" for line in code.splitlines()]
    lines += [code for code in inline_code(page) if " " in code]
    return [line.split(" #")[0].strip() for line in lines]


@each_page
def test_paths_exist(page):
    for code in inline_code(page):
        is_path = re.fullmatch(rf"[\w.*-]+(/[\w.*-]*)+|[\w-]+\.({SUFFIXES})", code)
        if is_path and not code.startswith(ELSEWHERE):
            found = [file for base in (ROOT, LIBRARY) for file in base.glob(code.rstrip("/"))]
            assert found, code


@each_page
def test_scripts_and_benchmarks_exist(page):
    for command in commands(page):
        for script in re.findall(r"\b(?:bash|python) (scripts/\S+)", command):
            assert (ROOT / script).is_file(), command
        for test in re.findall(r"scripts/test\.sh (tests/\S+)", command):
            assert (ROOT / test).exists(), command
        for module in re.findall(r"-m (benchmarks\.[a-z]\w*)", command):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), command


@each_page
def test_extras_exist(page):
    for extra in re.findall(r"(?:spatialdreamer|\.)\[([\w,]+)\]", read(page)):
        assert set(extra.split(",")) <= set(PROJECT["optional-dependencies"]), extra


def test_the_commands_options_exist(capsys):
    with pytest.raises(SystemExit):
        main(["convert", "--help"])
    known = set(re.findall(r"--[a-z][\w-]*", capsys.readouterr().out))
    text = read(ROOT / "README.md").partition("## Command")[2].partition("## Library")[0]
    text += read(ROOT / "docs" / "command.md")
    used = {
        option for code in re.findall(r"`([^`]+)`", text) for option in re.findall(r"--[a-z][\w-]*", code)
    }
    assert used
    assert used <= known
    for page in PAGES:
        for command in commands(page):
            if command.startswith("spatialdreamer convert") and "--filler mean" not in command:  # a recipe's
                assert set(re.findall(r"--[a-z][\w-]*", command)) <= known, command


@pytest.mark.parametrize(
    "command", ["evaluate", "dataset build", "dataset check", "dataset show", "train", "export"]
)
def test_the_options_of_other_commands_exist(command, capsys):
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    known = set(re.findall(r"--[a-z][\w-]*", capsys.readouterr().out))
    lines = [
        line for page in PAGES for line in commands(page) if line.startswith(f"spatialdreamer {command} ")
    ]
    assert lines
    for line in lines:
        assert set(re.findall(r"--[a-z][\w-]*", line)) <= known, line


def test_the_example_of_measuring_runs():
    (code,) = [
        code for kind, code in FENCE.findall(read(ROOT / "docs" / "evaluation.md")) if kind == "python"
    ]
    names = {
        "frames": torch.rand(1, 3, 48, 96, generator=torch.Generator().manual_seed(0)).expand(3, -1, -1, -1)
    }
    exec(code, names)  # noqa: S102 (it is our own)
    assert {"psnr_visible", "temporal_error"} <= set(names["figures"])


def test_the_readme_quotes_its_figures_from_the_measured_file():
    page = read(ROOT / "README.md")
    metrics = json.loads(read(ROOT / "benchmarks" / "results" / "demo.json"))["metrics"]
    rows = [row for row in page.partition("| filler |")[2].splitlines() if row.startswith("| **")]
    measured, *others = rows
    gigabytes = max(metrics["peak_memory_mib"], metrics["peak_memory_4_loops_mib"]) / 1024
    assert f"| {gigabytes:.1f} GB of RAM |" in measured
    assert f"| {25 / metrics['frames_per_second']:.1f} on a CPU of 2 threads |" in measured
    assert len(others) == len(FILLERS) - 1
    assert all(row.endswith("| not measured | not measured |") for row in others)


def test_every_node_has_its_line():
    schemas = json.loads(read(ROOT / "tests" / "comfyui" / "node_schemas.json"))
    lines = re.findall(r"^\| (.+?) \|", read(ROOT / "docs" / "nodes.md"), flags=re.MULTILINE)
    names = {schema["display_name"].removeprefix("Stereo 3D: ") for schema in schemas.values()}
    assert set(lines) == names | {"node"}


def library_example() -> str:
    section = read(ROOT / "README.md").partition("## Library")[2]
    return next(code for kind, code in FENCE.findall(section) if kind == "python")


def test_the_readmes_example_runs_and_is_short():
    code = library_example()
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    assert len(calls) <= 6
    names = {"frames": torch.rand(3, 3, 48, 96, generator=torch.Generator().manual_seed(0))}
    exec(code, names)  # noqa: S102 (it is our own)
    assert names["sd"] is sd
    assert names["stereo"].shape == (3, 3, 48, 192)
    assert torch.equal(names["stereo"][..., :96], names["frames"])
    known = (names["hole"] < 0.5).expand(-1, 3, -1, -1)
    assert torch.equal(names["stereo"][..., 96:][known], names["warped"][known])
