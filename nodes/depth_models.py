"""Depth models in ComfyUI, moved between devices by it."""

from __future__ import annotations

from functools import lru_cache

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..spatialdreamer_core.depth import BUILTIN, MODEL_KIND, DepthModel, load_model, prepare_estimator
from .models import download_input, download_progress, make_patcher, move_to_device, register_model_folders

register_model_folders(MODEL_KIND, {".safetensors", ".json", ".txt"})


def depth_download_input() -> io.Boolean.Input:
    """Make the input that lets a node download a depth model's weights."""
    return download_input(
        "Download the depth estimator's weights from Hugging Face if they are missing, into "
        "models/depth_estimation. Mind their licence."
    )


def prepare_model(estimator: str, *, download: bool) -> str | DepthModel:
    """Return what `estimate_depth` takes for an estimator; a model is loaded to ComfyUI's device.

    Args:
        estimator: The choice on the widget.
        download: Whether to download missing weights.

    Raises:
        InputError: If weights are missing or cannot be used.
    """
    name = prepare_estimator(estimator, download=download, on_progress=download_progress())
    if name == BUILTIN:
        return name
    model, patcher = _load(name)
    move_to_device(patcher)
    return model


@lru_cache(maxsize=1)
def _load(name: str) -> tuple[DepthModel, ModelPatcher]:
    """Load a model for ComfyUI to move; the last one is kept."""
    model = load_model(name)
    return model, make_patcher(model.modules)
