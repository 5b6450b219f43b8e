"""Depth models in ComfyUI, moved between devices by it."""

from __future__ import annotations

from functools import lru_cache

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..spatialdreamer_core.depth import (
    BUILTIN,
    DEFAULT_STRENGTH,
    MAX_STRENGTH,
    MODEL_KIND,
    DepthModel,
    load_model,
    prepare_estimator,
)
from .models import download_input, download_progress, make_patcher, move_to_device, register_model_folders
from .presentation import ADVANCED

register_model_folders(MODEL_KIND, {".safetensors", ".json", ".txt"})


def depth_download_input() -> io.Boolean.Input:
    """Make the input that lets a node download a depth model's weights."""
    return download_input(
        "Download the depth estimator's weights from Hugging Face if they are missing, into "
        "models/depth_estimation. Mind their licence."
    )


def depth_stability_input() -> io.Float.Input:
    """Make the widget that says how much a model's depth is steadied."""
    return io.Float.Input(
        "depth_stability",
        default=DEFAULT_STRENGTH,
        min=0.0,
        max=MAX_STRENGTH,
        step=0.05,
        optional=True,
        tooltip="How much the depth of a depth model is steadied over time, 0 to 0.95: the share that each "
        "frame takes over from the one before, where they agree. 0 leaves each frame as the model gives it; "
        "any other value also corrects jumps of the whole map. builtin is steady by itself.",
        **ADVANCED,
    )


def prepare_model(estimator: str, *, download: bool) -> DepthModel | None:
    """Load a depth model to ComfyUI's device; None stands for the builtin estimator.

    Args:
        estimator: The choice on the widget.
        download: Whether to download missing weights.

    Raises:
        InputError: If weights are missing or cannot be used.
    """
    name = prepare_estimator(estimator, download=download, on_progress=download_progress())
    if name == BUILTIN:
        return None
    model, patcher = _load(name)
    move_to_device(patcher)
    return model


@lru_cache(maxsize=1)
def _load(name: str) -> tuple[DepthModel, ModelPatcher]:
    """Load a model for ComfyUI to move; the last one is kept."""
    model = load_model(name)
    return model, make_patcher(model.modules)
