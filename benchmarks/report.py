"""Print a benchmark's table and write its result file, one format for all benchmarks."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import torch

from spatialdreamer_core.atomic import replacing

_ROOT = Path(__file__).resolve().parent.parent


def write_result(
    name: str,
    metrics: Mapping[str, float],
    notes: str = "",
) -> Path:
    """Write `benchmarks/results/NAME.json`.

    Args:
        name: The benchmark's name, the module's own; end it with `-cuda` for a result measured on a GPU.
        metrics: Flat names and numbers.
        notes: What a reader must know to judge the numbers.

    Returns:
        The file written.
    """
    result = {
        "name": name,
        "commit": _commit(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "machine": {"cpu": _cpu(), "gpu": _gpu(), "torch": torch.__version__},
        "metrics": {key: round(float(value), 6) for key, value in metrics.items()},
        "notes": notes,
    }
    path = _ROOT / "benchmarks" / "results" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def format_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lay rows out in columns; floats get three decimals."""
    cells = [[f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(len(line[column]) for line in [list(header), *cells]) for column in range(len(header))]
    lines = [list(header), ["-" * width for width in widths], *cells]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )


def _commit() -> str:
    """Return the checked-out commit, with `+` behind it if files differ from it."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    """Run a git command in the project's folder and return what it prints."""
    command = ["git", "-C", str(_ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _cpu() -> str:
    """Return the processor's name, as far as the system tells it, and the number of threads used."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {torch.get_num_threads()} threads"


def _gpu() -> str | None:
    """Return the GPU's name, or None without one."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
