"""Depth models in ComfyUI: its folders of models, its memory management, its progress bar."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache

import folder_paths
from comfy import model_management, model_patcher
from comfy.utils import ProgressBar
from comfy_api.latest import io
from torch.nn import ModuleList

from ..spatialdreamer_core.depth import (
    BUILTIN,
    DEFAULT_STRENGTH,
    MAX_STRENGTH,
    MODEL_KIND,
    DepthModel,
    load_model,
    prepare_estimator,
)
from ..spatialdreamer_core.weights import add_model_folder

_Patcher = getattr(model_patcher, "CoreModelPatcher", model_patcher.ModelPatcher)  # of newer versions
_WORKING_MEMORY = 2 << 30  # bytes, for the frames in work; batches then follow what is free
_EXTENSIONS = {".safetensors", ".json", ".txt"}


def register_model_folders() -> None:
    """Look for depth models in ComfyUI's `models/depth_estimation` and where extra_model_paths.yaml says."""
    folder_paths.add_model_folder_path(MODEL_KIND, os.path.join(folder_paths.models_dir, MODEL_KIND))
    paths, extensions = folder_paths.folder_names_and_paths[MODEL_KIND]
    if isinstance(extensions, set):
        extensions |= _EXTENSIONS
    for path in paths:
        add_model_folder(MODEL_KIND, path)


def download_input() -> io.Boolean.Input:
    """Make the input that lets a node download weights."""
    return io.Boolean.Input(
        "download",
        default=False,
        optional=True,
        tooltip="Download the depth estimator's weights from Hugging Face if they are missing, into "
        "models/depth_estimation. Mind their licence.",
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
    model_management.load_models_gpu([patcher], memory_required=_WORKING_MEMORY)
    patcher.model.to(patcher.load_device)  # when short of memory, only ComfyUI's own layers are moved in part
    return model


@lru_cache(maxsize=1)
def _load(name: str) -> tuple[DepthModel, model_patcher.ModelPatcher]:
    """Load a model for ComfyUI to move; the last one is kept."""
    model = load_model(name)
    device, offload_device = model_management.get_torch_device(), model_management.unet_offload_device()
    # ComfyUI notes the device on the module, which transformers' classes do not allow: hence the list.
    return model, _Patcher(ModuleList(model.modules), device, offload_device)


def download_progress() -> Callable[[int, int | None], None]:
    """Make the `on_progress` callback of a download: moves the bar, raises if the user cancelled."""
    bar = ProgressBar(1)

    def on_progress(done: int, total: int | None) -> None:
        model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(done, total or done + 1)

    return on_progress
