"""Models in ComfyUI: its folders of models, its memory management, its progress bar."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

import folder_paths
from comfy import model_management, model_patcher
from comfy.patcher_extension import CallbacksMP
from comfy.utils import ProgressBar
from comfy_api.latest import io
from torch.nn import Module, ModuleList

from ..spatialdreamer_core.checks import InputError
from ..spatialdreamer_core.weights import add_model_folder

_WORKING_MEMORY = 2 << 30  # bytes, for the frames in work
_Model = TypeVar("_Model")


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


def list_model_files(folders: Mapping[str, str], suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Find the files of some suffixes among ComfyUI's models, by the names that widgets show.

    Args:
        folders: Kinds of models, each with what stands before its files' names.
        suffixes: In lower case.
    """
    found: dict[str, Path] = {}
    for kind, prefix in folders.items():
        for name in folder_paths.get_filename_list(kind):
            path = folder_paths.get_full_path(kind, name)
            if path is not None and name.lower().endswith(suffixes):
                found[prefix + name] = Path(path)
    return found


def lacks_library(model: str, error: ImportError) -> InputError:
    """Make the error that says what a video model needs beside ComfyUI."""
    return InputError(
        f"{model} needs diffusers 0.33 and transformers 4.48 or newer, which cannot be used here ({error}); "
        "install them with: pip install --upgrade diffusers transformers"
    )


def download_input(tooltip: str, *, default: bool = False) -> io.Boolean.Input:
    """Make the input that lets a node download weights; the tooltip says which and where to."""
    return io.Boolean.Input("download", default=default, optional=True, tooltip=tooltip)


def make_patcher(modules: Iterable[Module]) -> model_patcher.ModelPatcher:
    """Let ComfyUI move the modules of a model together."""
    device, offload_device = model_management.get_torch_device(), model_management.unet_offload_device()
    # ComfyUI notes the device on the module, which transformers' classes do not allow: hence the list.
    # The CoreModelPatcher of newer versions moves weights only within ComfyUI's own layers.
    return model_patcher.ModelPatcher(ModuleList(modules), device, offload_device)


def move_to_device(*patchers: model_patcher.ModelPatcher, memory: int = _WORKING_MEMORY) -> None:
    """Move models to ComfyUI's device, leaving room for the frames in work, in bytes."""
    model_management.load_models_gpu(list(patchers), memory_required=memory)
    for patcher in patchers:
        if hasattr(patcher, "unpin_all_weights"):
            patcher.unpin_all_weights()  # pinned memory would stay so after the weights have left it
        patcher.model.to(patcher.load_device)  # short of memory, only ComfyUI's own layers are moved in part


@dataclass(eq=False)
class KeptModel(Generic[_Model]):
    """A model that ComfyUI manages; keep a reference to this for as long as the model is used."""

    model: _Model
    patcher: model_patcher.ModelPatcher


_LOADED: WeakValueDictionary[Hashable, KeptModel[Any]] = WeakValueDictionary()
_LATEST: dict[str, KeptModel[Any]] = {}  # by kind; what keeps a model between nodes and runs


def keep_model(
    kind: str, state: Hashable, load: Callable[[], _Model], modules: Callable[[_Model], Iterable[Module]]
) -> KeptModel[_Model]:
    """Return a model on ComfyUI's device, loaded once for all nodes and runs.

    It stays until ComfyUI unloads it (its button that frees memory does, and models that need the room), or
    another one of its kind is asked for.

    Args:
        kind: The kind of model, of which the latest is kept.
        state: Changes when another model is meant or its files have been replaced.
        load: Loads it.
        modules: Lists what ComfyUI moves.
    """
    kept = _LOADED.get((kind, state))
    latest = _LATEST.get(kind)
    if latest is not None and latest is not kept:
        _forget(kind, latest)  # before another one takes its memory
        latest.patcher.remove_callbacks_with_key(CallbacksMP.ON_DETACH, kind)
    latest = None
    if kept is None:
        model = load()
        kept = KeptModel(model, make_patcher(modules(model)))
        _forget_when_unloaded(kind, kept)
        _LOADED[kind, state] = kept
    move_to_device(kept.patcher)
    _LATEST[kind] = kept  # now, as making room may have unloaded it first
    return kept


def _forget_when_unloaded(kind: str, kept: KeptModel[Any]) -> None:
    """Drop a model when ComfyUI unloads it.

    ComfyUI still needs the model while it unloads it. So the callback keeps it in a reference cycle, which
    Python's garbage collector breaks: ComfyUI runs it after freeing memory and after each prompt.
    """

    def on_detach(_: model_patcher.ModelPatcher, unpatch_all: bool = True) -> None:
        if unpatch_all:  # else it is about to be loaded again
            _forget(kind, kept)

    kept.patcher.add_callback_with_key(CallbacksMP.ON_DETACH, kind, on_detach)


def _forget(kind: str, kept: KeptModel[Any]) -> None:
    """Drop a model if it is the latest of its kind."""
    if _LATEST.get(kind) is kept:
        del _LATEST[kind]


class Fingerprints:
    """Fingerprints of choices of models for `fingerprint_inputs`: they change when the files do.

    Files that a node's own run has downloaded do not count as a change: ComfyUI asks before the run, so the
    next run would compute the same result again.
    """

    def __init__(self) -> None:
        self._told: dict[str, str] = {}  # by choice
        self._same: dict[tuple[str, str], str] = {}  # the fingerprint before, by choice and state

    def tell(self, choice: str, state: str) -> str:
        """Return the fingerprint of a choice in its present state."""
        self._told[choice] = self._same.get((choice, state), state)
        return self._told[choice]

    def keep(self, choice: str, state: str) -> None:
        """Make the state of a choice after a run count as the one before it."""
        if choice in self._told:
            self._same[choice, state] = self._told[choice]


def download_progress() -> Callable[[int, int | None], None]:
    """Make the `on_progress` callback of a download: moves the bar, raises if the user cancelled."""
    bar = ProgressBar(1)

    def on_progress(done: int, total: int | None) -> None:
        model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(done, total or done + 1)

    return on_progress
