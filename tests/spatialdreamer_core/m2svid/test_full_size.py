"""The real architecture at its full size, with random weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_full_size_networks_run_a_window_on_a_cpu_inside_8_gb():
    script = Path(__file__).with_name("full_size.py")
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=1800)
    assert run.returncode == 0, run.stderr[-2000:]
    unet, peak = map(int, run.stdout.split()[-2:])
    assert unet == pytest.approx(1.52e9, rel=0.02)
    assert peak < 8e9
