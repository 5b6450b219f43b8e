"""Where weights are looked for: registered folders, the user's own, Hugging Face's and torch's caches.

A kind of model (such as `depth_estimation`) has its own folders. The first one is where downloads go.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

_REGISTERED: dict[str, list[Path]] = {}


def add_model_folder(kind: str, path: str | os.PathLike[str]) -> None:
    """Look for a kind of model in one more folder; folders are searched in the order they were added.

    Args:
        kind: The kind of model, such as `depth_estimation`.
        path: The folder; it need not exist yet.
    """
    folders = _REGISTERED.setdefault(kind, [])
    if Path(path) not in folders:
        folders.append(Path(path))


def model_folders(kind: str) -> list[Path]:
    """List the folders for a kind of model: registered ones, then the user's own."""
    return [*_REGISTERED.get(kind, []), _own_folder() / kind]


def download_folder(kind: str) -> Path:
    """Return the folder that downloads of a kind of model go to."""
    return model_folders(kind)[0]


def hub_cache() -> Path:
    """Return the folder where Hugging Face's own tools keep what they downloaded."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return Path(os.environ[name]).expanduser()
    if os.environ.get("HF_HOME"):
        return Path(os.environ["HF_HOME"]).expanduser() / "hub"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache).expanduser() / "huggingface" / "hub"


def torch_cache() -> Path:
    """Return the folder where torch and torchvision keep the weights that they downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def _own_folder() -> Path:
    """Return the user's folder of models: `SPATIALDREAMER_MODELS`, or one in the platform's cache folder."""
    if os.environ.get("SPATIALDREAMER_MODELS"):
        return Path(os.environ["SPATIALDREAMER_MODELS"]).expanduser()
    if sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "spatialdreamer" / "models"
