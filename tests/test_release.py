"""What a release's archive is checked for, and the script that makes one."""

from __future__ import annotations

import importlib.util
import subprocess
import zipfile

import pytest

from .comfyui.server import COMFYUI, REPOSITORY, packaged_files

_spec = importlib.util.spec_from_file_location("check_archive", REPOSITORY / "scripts" / "check_archive.py")
check_archive = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(check_archive)
CHANGES = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-12-01\n\n- A change.\n"
OURS = '"cnr_id": "pack", "ver": "{}"'


def pack(path, files: dict[str, str]):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**dict.fromkeys(check_archive.NEEDED, ""), **files}.items():
            archive.writestr(name, content)
    return path


def test_this_checkout_makes_a_good_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "pack.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in packaged_files():
            archive.write(REPOSITORY / file, file.as_posix())
        archive.extractall(tmp_path / "unpacked")
    assert check_archive.check_files(tmp_path / "pack.zip") == []
    assert check_archive.check_code(tmp_path / "unpacked") == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (".env", ".env is hidden"),
        ("nodes/.idea/x.json", "nodes/.idea/x.json is hidden"),
        ("tests/test_x.py", "tests/test_x.py is not for users"),
        ("nodes/fast.so", "nodes/fast.so is of a kind"),
        ("run", "run is of a kind"),
        ("spatialdreamer_core/x.pyc", "x.pyc is of a kind"),
    ],
)
def test_a_file_that_does_not_belong_there_is_named(tmp_path, name, said):
    (problem,) = check_archive.check_files(pack(tmp_path / "pack.zip", {name: ""}))
    assert said in problem


def test_what_is_missing_or_too_large_is_named(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        archive.writestr("__init__.py", "#" * 3000)
    monkeypatch.setattr(check_archive, "LARGEST_ARCHIVE", 1000)
    monkeypatch.setattr(check_archive, "LARGEST_FILE", 2999)
    problems = " ".join(check_archive.check_files(tmp_path / "pack.zip"))
    assert "the archive must have at most 1000 bytes, got 3" in problems
    assert "__init__.py must have at most 2999 bytes, got 3000" in problems
    assert "the archive must hold LICENSE" in problems


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("nodes/a.py", "exec('1')\n", "nodes/a.py:1: S102"),
        ("nodes/a.py", "eval('1')\n", "S307"),
        ("nodes/a.py", "import pickle\npickle.load(open('x', 'rb'))\n", "S301"),
        ("nodes/a.py", "import subprocess\nsubprocess.run('x', shell=True)\n", "S602"),
        ("nodes/a.py", "import os\nos.system('x')\n", "S605"),
        ("web/js/a.js", "const f = new Function('x')\n", "web/js/a.js: new Function makes code"),
        ("web/js/a.mjs", "eval(text)\n", "web/js/a.mjs: eval( makes code"),
        ("web/js/a.js", "node.innerHTML = name\n", "innerHTML"),
    ],
)
def test_code_that_a_scanner_flags_is_named(tmp_path, name, code, said):
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_text(code)
    assert said in " ".join(check_archive.check_code(tmp_path))


@pytest.mark.parametrize(
    ("changes", "ver", "said"),
    [
        (CHANGES, "1.2.0", []),
        (
            CHANGES.replace("[Unreleased]\n", "[Unreleased]\n\n- More.\n"),
            "1.2.0",
            ["nothing under [Unreleased]"],
        ),
        (CHANGES.replace("1.2.0", "1.1.0"), "1.2.0", ["must begin with ## [1.2.0] - DATE", "got [1.1.0]"]),
        (CHANGES.replace(" - 2026-12-01", ""), "1.2.0", ["must begin with ## [1.2.0] - DATE"]),
        ("# Changelog\n", "1.2.0", ["got no version"]),
        (CHANGES, "1.1.0", ["clip.json: the nodes' ver must be 1.2.0, got 1.1.0"]),
    ],
)
def test_the_version_is_one_everywhere(tmp_path, changes, ver, said):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "pack"\nversion = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(changes)
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "clip.json").write_text(OURS.format(ver))
    problems = check_archive.check_version(tmp_path)
    assert bool(problems) == bool(said)
    for words in said:
        assert words in " ".join(problems)


def test_the_templates_are_of_this_version():
    assert [
        problem for problem in check_archive.check_version(REPOSITORY) if "CHANGELOG" not in problem
    ] == []


@pytest.mark.slow
@pytest.mark.skipif(not (COMFYUI / "main.py").is_file(), reason="no ComfyUI in .cache")
def test_a_release_is_made_and_loads():
    command = ["bash", "scripts/release.sh", "--rehearse"]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "the pack loads" in run.stdout
    assert "comfy node publish" in run.stdout


def test_a_wrong_option_of_the_release_is_refused():
    command = ["bash", "scripts/release.sh", "--publish"]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert "the one option is --rehearse, got --publish" in run.stderr
