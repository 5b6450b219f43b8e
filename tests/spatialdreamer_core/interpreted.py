"""Run test files in Triton's interpreter, which Triton must know of before it is first imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"
not_interpreted = pytest.mark.skipif(INTERPRETED, reason="this is the interpreter")
runs_kernel = pytest.mark.skipif(
    not INTERPRETED and DEVICE == "cpu", reason="no CUDA device here: the interpreter runs it"
)


def run_interpreted(*files: Path, select: str = "") -> None:
    """Run test files, or those of their tests that pytest's -k selects, in a process of their own, and fail
    as they do. It sees no GPU: what is interpreted runs on the CPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, files), "-k", select]
    environment = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    root = Path(__file__).parents[2]
    result = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout
