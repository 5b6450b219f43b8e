"""Optical flow models in ComfyUI, moved between devices by it."""

from __future__ import annotations

from comfy_api.latest import io

from ..spatialdreamer_core.flow import (
    FLOW_MODEL_KIND,
    FLOW_MODELS,
    FlowModel,
    find_flow_model,
    load_flow_model,
    prepare_flow,
)
from ..spatialdreamer_core.weights.files import file_stamp
from .models import (
    Fingerprints,
    KeptModel,
    download_input,
    download_progress,
    keep_model,
    register_model_folders,
)

register_model_folders(FLOW_MODEL_KIND, {".safetensors", ".pth"})
_FINGERPRINTS = Fingerprints()


def flow_download_input() -> io.Boolean.Input:
    """Make the input that lets a node download a flow model's weights."""
    return download_input(
        "Download RAFT's weights from download.pytorch.org if they are missing, into models/optical_flow. "
        "Mind the terms of the data they were trained on."
    )


def prepare_flow_model(method: str, *, download: bool) -> KeptModel[FlowModel] | None:
    """Load a flow model to ComfyUI's device; None stands for a method that needs none.

    Args:
        method: The choice on the widget.
        download: Whether to download missing weights.

    Raises:
        InputError: If weights are missing or cannot be used.
    """
    prepare_flow(method, download=download, on_progress=download_progress())
    _FINGERPRINTS.keep(method, _fingerprint_of(method))
    if method not in (model.name for model in FLOW_MODELS):
        return None
    return keep_model(
        FLOW_MODEL_KIND,
        _state_of(method),
        lambda: load_flow_model(method),
        lambda model: [model.module],
    )


def flow_fingerprint(method: object) -> str:
    """Return a fingerprint that changes when a method's weights are replaced."""
    return _FINGERPRINTS.tell(str(method), _fingerprint_of(str(method)))


def _fingerprint_of(method: str) -> str:
    """Return a method with the state of its weights, if it has some."""
    return f"{method} {_state_of(method) if any(method == model.name for model in FLOW_MODELS) else None}"


def _state_of(name: str) -> tuple[str, int, int] | None:
    """Return the file of a model's weights and what changes when it is replaced; None if there is none."""
    file = find_flow_model(name).find()
    if file is None:
        return None
    return str(file), *file_stamp(file)
