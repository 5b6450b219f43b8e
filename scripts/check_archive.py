"""Check an archive for ComfyUI's registry: `python scripts/check_archive.py ARCHIVE`, or `--version`.

`comfy node pack` packs what users get. The registry scans each version and flags one with suspicious files
without a word to its author, so what could look like that is found here: hidden files, kinds of files that a
node pack has no use for, code that makes code or starts a shell. `scripts/release.sh` runs this.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

import tomllib

ROOT = Path(__file__).parents[1]
LARGEST_ARCHIVE, LARGEST_FILE = 5_000_000, 2_000_000  # bytes, the archive's as they are downloaded
NEEDED = ("__init__.py", "pyproject.toml", "requirements.txt", "LICENSE", "README.md", "nodes/__init__.py")
KINDS = {".css", ".jpg", ".js", ".json", ".md", ".mjs", ".mp4", ".mts", ".py", ".svg", ".toml", ".txt"}
OTHER_NAMES = {"LICENSE", "VERSION", "py.typed"}
NOT_FOR_USERS = ("tests", "benchmarks", "docs", "scripts", "node_modules")
# flake8-bandit's rules, but for asserts, random numbers, `except: pass` and subprocess without a shell
RUFF = [
    "check",
    "--isolated",
    "--no-cache",
    "--preview",
    "--select",
    "S",
    "--ignore",
    "S101,S110,S311,S404,S603",
]
SCRIPTS_THAT_MAKE_CODE = re.compile(r"\beval\s*\(|\bnew\s+Function\b|\bdocument\.write\b|\.innerHTML\s*=")


def main() -> None:
    """Print what is wrong with an archive or the version; exit code 1 if anything is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("archive", type=Path, nargs="?")
    what.add_argument("--version", action="store_true", help="check this checkout's version and changelog")
    options = parser.parse_args()
    if options.version:
        problems = check_version(ROOT)
    else:
        problems = check_files(options.archive)
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(options.archive) as packed:
            packed.extractall(folder)
            problems += check_code(Path(folder))
            count = len(packed.namelist())
        print(f"{options.archive}: {count} files, {options.archive.stat().st_size / 1e6:.1f} MB")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    sys.exit(bool(problems))


def check_files(archive: Path) -> list[str]:
    """List what is wrong with the names and sizes of an archive's files."""
    problems = []
    size = archive.stat().st_size
    if size > LARGEST_ARCHIVE:
        problems.append(
            f"the archive must have at most {LARGEST_ARCHIVE} bytes, got {size}; see .comfyignore"
        )
    with zipfile.ZipFile(archive) as packed:
        files = {entry.filename: entry.file_size for entry in packed.infolist() if not entry.is_dir()}
    problems += [f"the archive must hold {name}" for name in NEEDED if name not in files]
    for name, size in sorted(files.items()):
        path = PurePosixPath(name)
        if any(part.startswith(".") for part in path.parts):
            problems.append(f"{name} is hidden; name it in .comfyignore")
        elif path.parts[0] in NOT_FOR_USERS:
            problems.append(f"{name} is not for users; name its folder in .comfyignore")
        elif path.suffix not in KINDS and path.name not in OTHER_NAMES:
            problems.append(f"{name} is of a kind that scanners look at twice; is it needed?")
        if size > LARGEST_FILE:
            problems.append(f"{name} must have at most {LARGEST_FILE} bytes, got {size}")
    return problems


def check_code(folder: Path) -> list[str]:
    """List the code in an unpacked archive that a scanner flags."""
    command = [sys.executable, "-m", "ruff", *RUFF, "--output-format", "json", "."]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if found.returncode not in (0, 1):
        raise RuntimeError(f"ruff must run, got: {found.stderr}")
    problems = []
    for entry in json.loads(found.stdout):
        name = Path(entry["filename"]).relative_to(folder.resolve()).as_posix()
        problems.append(f"{name}:{entry['location']['row']}: {entry['code']} {entry['message']}")
    for file in sorted(path for kind in ("*.js", "*.mjs") for path in folder.rglob(kind)):
        for match in SCRIPTS_THAT_MAKE_CODE.finditer(file.read_text(encoding="utf-8")):
            problems.append(f"{file.relative_to(folder).as_posix()}: {match.group()} makes code of text")
    return problems


def check_version(root: Path) -> list[str]:
    """List where the version of a checkout, its changelog and its templates do not agree."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = project["version"]
    changes = re.split(r"^## ", (root / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    problems = []
    if changes and changes[0].startswith("[Unreleased]") and "- " in changes.pop(0):
        problems.append(
            f"CHANGELOG.md must have nothing under [Unreleased]; move it under ## [{version}] - DATE"
        )
    newest = changes[0].splitlines()[0] if changes else "no version"
    if not re.fullmatch(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", newest):
        problems.append(
            f"CHANGELOG.md must begin with ## [{version}] - DATE, as pyproject.toml has it, got {newest}"
        )
    for file in sorted([*root.glob("workflows/*.json"), *root.glob("subgraphs/*.json")]):
        content = file.read_text(encoding="utf-8")
        ours = re.findall(rf'"cnr_id": "{project["name"]}",\s*"ver": "([^"]*)"', content)
        if set(ours) != {version}:
            problems.append(
                f"{file.name}: the nodes' ver must be {version}, got {', '.join(sorted(set(ours)))}"
            )
    return problems


if __name__ == "__main__":
    main()
