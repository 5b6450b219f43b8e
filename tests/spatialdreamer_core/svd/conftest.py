"""ComfyUI's own networks, asked once for all tests of this folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

REPOSITORY = Path(__file__).parents[3]
COMFYUI = Path(os.environ.get("COMFYUI_DIR", REPOSITORY / ".cache" / "comfyui-0.3.75"))
FRAMES = 3


def randomise(model):
    """Change norms, biases and mixing factors, which start all alike, so that two swapped ones show."""
    with torch.no_grad():
        for module in model.modules:
            for parameter in module.parameters():
                if parameter.ndim == 1:
                    parameter += torch.randn_like(parameter) / 2
    return model


def run_comfyui(checkpoint: Path, folder: Path) -> SimpleNamespace:
    """Let ComfyUI's networks work on a checkpoint; skip the test without a ComfyUI, but fail it in CI."""
    from safetensors.torch import load_file, save_file

    from ..tiny_svd import CONTEXT

    if not (COMFYUI / "main.py").is_file():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no ComfyUI in .cache; run scripts/test.sh")
    torch.manual_seed(7)
    inputs = {
        "sample": torch.randn(FRAMES, 8, 16, 16),
        "timestep": torch.tensor([0.7]),
        "context": torch.randn(1, 1, CONTEXT).repeat(FRAMES, 1, 1),
        "time_ids": torch.tensor([[6.0, 127.0, 0.02]]),
        "pictures": torch.rand(FRAMES, 3, 32, 32) * 2 - 1,
        "latents": torch.randn(FRAMES, 4, 4, 4),
        "pixels": torch.randn(FRAMES, 3, 224, 224),
    }
    files = [folder / name for name in ("inputs.safetensors", "outputs.safetensors", "shapes.json")]
    save_file(inputs, files[0])
    script = Path(__file__).with_name("comfyui_networks.py")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests" / "comfyui" / "server_site")}
    subprocess.run([sys.executable, script, COMFYUI, checkpoint, *files], env=environment, check=True)
    shapes = {name: tuple(shape) for name, shape in json.loads(files[2].read_text()).items()}
    return SimpleNamespace(inputs=inputs, outputs=load_file(files[1]), shapes=shapes)


@pytest.fixture(scope="session")
def comfyui_networks(tmp_path_factory) -> SimpleNamespace:
    """What ComfyUI's networks make of a tiny checkpoint, the file itself, and their tensors at full size."""
    from spatialdreamer_core.svd import save_sgm

    from ..tiny_svd import make_model

    folder = tmp_path_factory.mktemp("comfyui_networks")
    save_sgm(randomise(make_model()), folder / "svd_tiny.safetensors")
    result = run_comfyui(folder / "svd_tiny.safetensors", folder)
    result.checkpoint = folder / "svd_tiny.safetensors"
    return result
