"""Depth models in ComfyUI: downloaded if the user allows it, moved between devices by ComfyUI."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from comfy_api.latest import io

from ..spatialdreamer_core.depth import (
    AUTO,
    BUILTIN,
    DEFAULT_MODEL,
    DEFAULT_SIZE,
    MODEL_KIND,
    MODELS,
    DepthModel,
    EstimatorChoice,
    PackageError,
    choose_estimator,
    describe_choice,
    load_model,
    state_of_choice,
)
from ..spatialdreamer_core.options import option_of
from ..spatialdreamer_core.pipeline import ConvertConfig
from ..spatialdreamer_core.weights import OnProgress
from .models import (
    Fingerprints,
    KeptModel,
    download_input,
    download_progress,
    keep_model,
    register_model_folders,
)
from .presentation import show_text
from .widgets import Widget, widget

register_model_folders(MODEL_KIND, {".safetensors", ".json", ".txt"})
_FINGERPRINTS = Fingerprints()
_LOGGER = logging.getLogger(__name__)


def depth_download_input() -> io.Boolean.Input:
    """Make the input that lets a node download a depth model's weights."""
    licences: dict[str, list[str]] = {}
    for model in MODELS:
        licences.setdefault(model.licence, []).append(model.name)
    return download_input(
        "Downloads the depth model from Hugging Face into models/depth_estimation if it is missing, when the "
        f"node runs. auto brings Depth Anything V2 Small ({DEFAULT_SIZE}, Apache-2.0), and goes on with "
        "builtin where that cannot be had. Other models come only if they are chosen by name. Licences: "
        + "; ".join(f"{licence}: {', '.join(names)}" for licence, names in licences.items())
        + ".",
        default=True,
    )


def depth_stability_input() -> Widget:
    """Make the widget that says how much a model's depth is steadied."""
    return widget(option_of(ConvertConfig, "depth_stability"))


@dataclass(frozen=True)
class PreparedDepth:
    """A depth estimator that is ready to run; keep a reference to it while it runs."""

    kept: KeptModel[DepthModel] | None
    text: str  # says which one it is, and how to get better depth

    @property
    def model(self) -> DepthModel | None:
        """The model on ComfyUI's device; None stands for the builtin estimator."""
        return None if self.kept is None else self.kept.model


def prepare_model(estimator: str, *, download: bool, node_id: str | None) -> PreparedDepth:
    """Load a depth model to ComfyUI's device, and say on the node which estimator runs.

    Args:
        estimator: The choice on the widget.
        download: Whether to download missing weights.
        node_id: The node, see `show_text`.

    Raises:
        InputError: If weights of a model chosen by name are missing, or weights cannot be used.
    """
    choice = choose_estimator(
        estimator, download=download, on_progress=_download_progress(estimator, node_id)
    )
    _FINGERPRINTS.keep(*_key_and_state(estimator, download))
    kept = None
    if choice.name != BUILTIN:
        try:
            kept = keep_model(
                MODEL_KIND,
                state_of_choice(choice.name),
                lambda: load_model(choice.name),
                lambda model: model.modules,
            )
        except PackageError as error:
            if estimator != AUTO:
                raise
            choice = EstimatorChoice(BUILTIN, str(error).split("; ")[0])
    how = "turn download on" if estimator == AUTO else "choose auto, with download on"
    text = describe_choice(choice, how=how, folder=f"models/{MODEL_KIND}")
    _LOGGER.info("%s", text)
    show_text(node_id, text)
    return PreparedDepth(kept, text)


def depth_fingerprint(estimator: object, download: object) -> str:
    """Return a fingerprint that changes when a choice stands for another model."""
    return _FINGERPRINTS.tell(*_key_and_state(str(estimator), download is True))


def _key_and_state(estimator: str, download: bool) -> tuple[str, str]:
    """Return what the widgets say, and what that means now."""
    return f"{estimator} {download}", state_of_choice(estimator, download=download)


def _download_progress(estimator: str, node_id: str | None) -> OnProgress:
    """Make the `on_progress` callback of a download: moves the bar and names the model on the node."""
    on_progress, told = download_progress(), False
    name = DEFAULT_MODEL if estimator == AUTO else estimator

    def on_bytes(done: int, total: int | None) -> None:
        nonlocal told
        if not told:
            told = True
            title = next((model.title for model in MODELS if model.name == name), name)
            show_text(node_id, f"downloading {title}")
        on_progress(done, total)

    return on_bytes
