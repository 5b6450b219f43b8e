"""`scripts/gpu_check.sh` without a card, and with a Python that only says what it was asked to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).parents[1]
SCRIPT = REPOSITORY / "scripts" / "gpu_check.sh"
needs_bash = pytest.mark.skipif(
    sys.platform == "win32" or not (shutil.which("bash") and shutil.which("timeout")),
    reason="bash and timeout are missing",
)
SPEAKING_PYTHON = """#!/usr/bin/env bash
case "$*" in
  -c*is_available*) echo "Some card, PyTorch 2" ;;
  -c*pytest*) exit 0 ;;
  *"-m gpu"*) echo "tests marked gpu: $*" ;;
  *"not gpu"*) exit 3 ;;
  *warp_cuda*) echo "table of the warp" ;;
  *"ablation --cuda"*) echo "table of the ablation" ;;
  *film*) sleep 30 ;;
  *) exit 9 ;;
esac
"""


def check(**environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", str(SCRIPT)], env=os.environ | environment, capture_output=True, text=True, timeout=60
    )


@needs_bash
def test_without_a_card_it_says_so_in_one_line():
    if torch.cuda.is_available():
        pytest.skip("this machine has a card")
    result = check(PYTHON=sys.executable)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("gpu_check: needs an NVIDIA card that PyTorch can use")
    assert len(result.stderr.splitlines()) == 1


@needs_bash
def test_an_argument_that_it_does_not_know_is_told():
    result = subprocess.run(["bash", str(SCRIPT), "--all"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert result.stderr == "gpu_check: takes --ablation or no argument, got: --all\n"


@needs_bash
def test_the_ablation_runs_in_place_of_all_else(tmp_path):
    script = tmp_path / "repository" / "scripts" / "gpu_check.sh"
    script.parent.mkdir(parents=True)
    shutil.copy(SCRIPT, script)
    python = tmp_path / "python"
    python.write_text(SPEAKING_PYTHON)
    python.chmod(0o755)
    environment = os.environ | {"PYTHON": str(python)}
    result = subprocess.run(
        ["bash", str(script), "--ablation"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0
    assert "table of the ablation\n" in result.stdout
    assert result.stdout.splitlines()[-1].split(maxsplit=1)[0] == "ablation"
    assert "gpu_tests" not in result.stdout


@needs_bash
def test_a_step_that_fails_or_takes_too_long_does_not_stop_the_others(tmp_path):
    copy = tmp_path / "repository"
    for part in ("tests/spatialdreamer_core/video", "tests/nodes", "scripts"):
        shutil.copytree(REPOSITORY / part, copy / part)
    python = tmp_path / "python"
    python.write_text(SPEAKING_PYTHON)
    python.chmod(0o755)
    result = subprocess.run(
        ["bash", str(copy / "scripts" / "gpu_check.sh")],
        env=os.environ | {"PYTHON": str(python), "TIME_LIMIT": "3"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert "tests/spatialdreamer_core/video/test_nvenc.py" in result.stdout, "the files with such tests"
    summary = [line.split(maxsplit=1) for line in result.stdout.splitlines()[-6:]]
    names = ["gpu_tests", "kernel_tests", "warp_cuda", "film", "sampler", "frame_matrix"]
    assert [name for name, _ in summary] == names
    said = dict(summary)
    assert said["gpu_tests"].startswith("passed in")
    assert said["kernel_tests"].startswith("failed with exit code 3")
    assert said["warp_cuda"].startswith("passed in")
    assert said["film"].startswith("ended after its")
    assert said["sampler"].startswith("not run")
    assert said["frame_matrix"].startswith("not run")
    assert (copy / "out" / "gpu_check" / "warp_cuda.txt").read_text() == "table of the warp\n"
