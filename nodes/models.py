"""Models in ComfyUI: its folders of models, its memory management, its progress bar."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import folder_paths
from comfy import model_management, model_patcher
from comfy.utils import ProgressBar
from comfy_api.latest import io
from torch.nn import Module, ModuleList

from ..spatialdreamer_core.weights import add_model_folder

_WORKING_MEMORY = 2 << 30  # bytes, for the frames in work


def register_model_folders(kind: str, extensions: set[str]) -> None:
    """Look for a kind of model in ComfyUI's `models/<kind>` and where extra_model_paths.yaml says.

    Args:
        kind: The kind of model, see `add_model_folder`.
        extensions: The suffixes of its files.
    """
    folder_paths.add_model_folder_path(kind, os.path.join(folder_paths.models_dir, kind))
    paths, known = folder_paths.folder_names_and_paths[kind]
    folder_paths.folder_names_and_paths[kind] = (paths, extensions.union(known))
    for path in paths:
        add_model_folder(kind, path)


def download_input(tooltip: str) -> io.Boolean.Input:
    """Make the input that lets a node download weights; the tooltip says which and where to."""
    return io.Boolean.Input("download", default=False, optional=True, tooltip=tooltip)


def make_patcher(modules: Iterable[Module]) -> model_patcher.ModelPatcher:
    """Let ComfyUI move the modules of a model together."""
    device, offload_device = model_management.get_torch_device(), model_management.unet_offload_device()
    # ComfyUI notes the device on the module, which transformers' classes do not allow: hence the list.
    # Newer versions' CoreModelPatcher moves weights while its own layers run, and makes no room for others.
    return model_patcher.ModelPatcher(ModuleList(modules), device, offload_device)


def move_to_device(*patchers: model_patcher.ModelPatcher, memory: int = _WORKING_MEMORY) -> None:
    """Bring models to ComfyUI's device, with room for the frames in work, in bytes."""
    model_management.load_models_gpu(list(patchers), memory_required=memory)
    for patcher in patchers:
        if hasattr(patcher, "unpin_all_weights"):
            patcher.unpin_all_weights()  # pinned memory would stay so after the weights have left it
        patcher.model.to(patcher.load_device)  # short of memory, only ComfyUI's own layers are moved in part


def download_progress() -> Callable[[int, int | None], None]:
    """Make the `on_progress` callback of a download: moves the bar, raises if the user cancelled."""
    bar = ProgressBar(1)

    def on_progress(done: int, total: int | None) -> None:
        model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(done, total or done + 1)

    return on_progress
