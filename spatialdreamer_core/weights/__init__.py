"""Weights of models: where they are looked for, and how they are downloaded when the user asks for it."""

from .download import OnProgress, download
from .estimator_info import EstimatorInfo
from .fetch import fetch_snapshot
from .folders import add_model_folder, download_folder, hub_cache, model_folders, place_for, torch_cache
from .hub import Snapshot, download_snapshot, find_snapshot, repository_address
from .stable_diffusion import stable_diffusion_files

__all__ = [
    "EstimatorInfo",
    "OnProgress",
    "Snapshot",
    "add_model_folder",
    "download",
    "download_folder",
    "download_snapshot",
    "fetch_snapshot",
    "find_snapshot",
    "hub_cache",
    "model_folders",
    "place_for",
    "repository_address",
    "stable_diffusion_files",
    "torch_cache",
]
