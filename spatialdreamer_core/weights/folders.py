"""Where weights are looked for: registered folders, the user's own, Hugging Face's and torch's caches.

A kind of model (such as `depth_estimation`) has its own folders. The first one is where downloads go.
Without a home folder, paths in it keep their `~`, and nothing is found there.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
import torch

from ..checks import InputError

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
    """Return the folder that downloads of a kind of model go to.

    Raises:
        InputError: If it would be in the home folder, and there is none.
    """
    folder = model_folders(kind)[0]
    if _is_homeless(folder):
        raise InputError(
            "models must have a folder, but this user has no home folder; set SPATIALDREAMER_MODELS to the "
            "path of a folder"
        )
    return folder


def place_for(kind: str, name: str = "") -> str:
    """Say where to put a model by hand.

    Args:
        kind: The kind of model.
        name: Of the model's own folder, if it has one.
    """
    folder = model_folders(kind)[0]
    return "the folder that SPATIALDREAMER_MODELS names" if _is_homeless(folder) else str(folder / name)


def hub_cache() -> Path:
    """Return the folder where Hugging Face's own tools keep what they downloaded."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return Path(os.path.expanduser(os.environ[name]))
    if os.environ.get("HF_HOME"):
        return Path(os.path.expanduser(os.environ["HF_HOME"])) / "hub"
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    return Path(os.path.expanduser(cache)) / "huggingface" / "hub"


def torch_cache() -> Path:
    """Return the folder where torch and torchvision keep the weights that they downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def _own_folder() -> Path:
    """Return the user's folder of models: `SPATIALDREAMER_MODELS`, or one in the platform's cache folder."""
    given = os.environ.get("SPATIALDREAMER_MODELS")
    if given:
        return Path(os.path.expanduser(given))
    try:
        return platformdirs.user_cache_path("spatialdreamer", appauthor=False, opinion=False) / "models"
    except RuntimeError:  # of newer versions, where there is no home folder
        return Path("~", ".cache", "spatialdreamer", "models")


def _is_homeless(folder: Path) -> bool:
    """Tell whether a folder would be in the home folder, and there is none."""
    return folder.parts[:1] == ("~",)
