"""Optical flow models in ComfyUI, moved between devices by it."""

from __future__ import annotations

from functools import lru_cache

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..spatialdreamer_core.flow import (
    FLOW_MODEL_KIND,
    FLOW_MODELS,
    FlowModel,
    load_flow_model,
    prepare_flow,
)
from .models import download_input, download_progress, make_patcher, move_to_device, register_model_folders

register_model_folders(FLOW_MODEL_KIND, {".safetensors", ".pth"})


def flow_download_input() -> io.Boolean.Input:
    """Make the input that lets a node download a flow model's weights."""
    return download_input(
        "Download RAFT's weights from download.pytorch.org if they are missing, into models/optical_flow. "
        "Mind the terms of the data they were trained on."
    )


def prepare_flow_model(method: str, *, download: bool) -> str | FlowModel:
    """Return what `estimate_flow` takes for a method; a model is loaded to ComfyUI's device.

    Args:
        method: The choice on the widget.
        download: Whether to download missing weights.

    Raises:
        InputError: If weights are missing or cannot be used.
    """
    prepare_flow(method, download=download, on_progress=download_progress())
    if method not in (model.name for model in FLOW_MODELS):
        return method
    model, patcher = _load(method)
    move_to_device(patcher)
    return model


@lru_cache(maxsize=1)
def _load(name: str) -> tuple[FlowModel, ModelPatcher]:
    """Load a model for ComfyUI to move; the last one is kept."""
    model = load_flow_model(name)
    return model, make_patcher([model.module])
