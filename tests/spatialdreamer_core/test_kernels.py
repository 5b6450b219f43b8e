"""When Triton kernels do the work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spatialdreamer_core import kernels

ROOT = Path(__file__).parents[2]
ASK = (
    "import torch; from spatialdreamer_core import kernels; print(kernels.use_kernels(torch.zeros(1), None))"
)


def test_not_on_the_cpu():
    assert not kernels.use_kernels(torch.zeros(1))


def test_on_the_cpu_where_kernels_are_interpreted():
    pytest.importorskip("triton", reason="Triton is not installed")
    command = [sys.executable, "-c", ASK]
    result = subprocess.run(
        command, env=os.environ | {"TRITON_INTERPRET": "1"}, cwd=ROOT, capture_output=True, text=True
    )
    assert result.stdout.strip() == "True", result.stderr


def test_not_for_gradients_nor_for_two_devices(monkeypatch):
    monkeypatch.setattr(kernels, "kernels_run", lambda device: True)
    there, elsewhere = torch.zeros(1), torch.zeros(1, device="meta")
    assert kernels.use_kernels(there, None)
    assert not kernels.use_kernels(there, elsewhere)
    there.requires_grad_()
    assert not kernels.use_kernels(there)
    with torch.no_grad():
        assert kernels.use_kernels(there)


def test_where_kernels_fail_torch_is_kept_with_a_warning(monkeypatch, caplog):
    pytest.importorskip("triton", reason="Triton is not installed")
    monkeypatch.setattr(kernels, "INTERPRETED", True)  # but Triton was imported to compile
    assert not kernels.kernels_run.__wrapped__(torch.device("cpu"))
    assert "Triton does not run on cpu" in caplog.text


def test_without_triton_torch_is_kept_silently(monkeypatch, caplog):
    monkeypatch.setattr(kernels, "INTERPRETED", True)
    monkeypatch.setitem(sys.modules, "spatialdreamer_core.triton_probe", None)
    assert not kernels.kernels_run.__wrapped__(torch.device("cpu"))
    assert not caplog.text
