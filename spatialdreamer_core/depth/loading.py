"""Load a depth model from this machine, after checking that it is the one that was asked for.

Only safetensors and plain configuration files are read, no code from a model's folder, and nothing is fetched
unless `download` says so.
"""

from __future__ import annotations

import importlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..checks import InputError, check_choice, one_line
from ..weights import fetch_snapshot
from ..weights.download import OnProgress
from .inverse import to_inverse_depth
from .models import MODEL_KIND, MODELS, ModelSpec, find_model
from .preprocess import Preprocessing, prepare, read_preprocessing, restore

_TOLERATED = 0.1  # share of tensors a checkpoint may lack; some lack layers that are built but never used


class DepthModel(Protocol):
    """A loaded depth model."""

    spec: ModelSpec
    modules: tuple[nn.Module, ...]  # what takes part in it, to be moved between devices together

    def inverse_depth(
        self,
        frames: Tensor,  # [B, 3, H, W] in [0, 1], on the modules' device
    ) -> Tensor:  # [B, 1, H, W] float32
        """Estimate inverse depth, larger = nearer, of the model's own scale and shift."""
        ...


class TransformersDepth:
    """A depth model of transformers."""

    def __init__(self, spec: ModelSpec, module: nn.Module, preprocessing: Preprocessing) -> None:
        self.spec = spec
        self.modules: tuple[nn.Module, ...] = (module,)
        self._preprocessing = preprocessing

    @torch.inference_mode()
    def inverse_depth(
        self,
        frames: Tensor,  # [B, 3, H, W]
    ) -> Tensor:  # [B, 1, H, W]
        """Estimate inverse depth, see `DepthModel`."""
        output = self.modules[0](pixel_values=prepare(frames.float(), self._preprocessing)).predicted_depth
        size = (frames.shape[-2], frames.shape[-1])
        return to_inverse_depth(restore(output, self._preprocessing, size), self.spec.semantics)


class MarigoldDepth:
    """Marigold: a diffusion pipeline of diffusers; each frame begins with the same noise."""

    def __init__(self, spec: ModelSpec, pipeline: Any) -> None:
        self.spec = spec
        self.modules: tuple[nn.Module, ...] = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
        self._pipeline = pipeline

    @torch.inference_mode()
    def inverse_depth(
        self,
        frames: Tensor,  # [B, 3, H, W]
    ) -> Tensor:  # [B, 1, H, W]
        """Estimate inverse depth, see `DepthModel`."""
        generators = [torch.Generator().manual_seed(0) for _ in frames]
        output = self._pipeline(
            image=frames.float().clamp(0, 1), batch_size=len(frames), generator=generators, output_type="pt"
        )
        return to_inverse_depth(output.prediction, self.spec.semantics)


def model_available(spec: ModelSpec) -> bool:
    """Tell whether a model's weights are whole on this machine and the package that runs it is there."""
    snapshot = spec.find()
    return snapshot is not None and not snapshot.missing and find_spec(spec.package) is not None


def fetch_model(name: str, *, download: bool = False, on_progress: OnProgress | None = None) -> Path:
    """Return the folder of a model's files, downloading what is missing if that is wanted.

    Args:
        name: One of `MODELS`.
        download: Whether to download missing files.
        on_progress: Called with the bytes that are there and their total; may raise to interrupt.

    Raises:
        InputError: If files are missing and not downloaded, or cannot be.
    """
    check_choice("estimator", name, tuple(model.name for model in MODELS))
    spec = find_model(name)
    return fetch_snapshot(
        spec.find(),
        MODEL_KIND,
        spec.repository,
        spec.files,
        model=f"depth estimator {name} ({spec.title})",
        licence=spec.licence,
        switches="--download, download=True, or the node's `download`",
        revision=spec.revision,
        download=download,
        on_progress=on_progress,
    )


def load_model(
    name: str,
    *,
    device: torch.device | str = "cpu",
    download: bool = False,
    on_progress: OnProgress | None = None,
) -> DepthModel:
    """Load a depth model.

    Args:
        name: One of `MODELS`.
        device: Where it runs.
        download: Whether to download missing files.
        on_progress: Of the download, see `fetch_model`.

    Raises:
        InputError: If the package that runs it is missing, files are missing or damaged, or they are those of
            another model.
    """
    folder = fetch_model(name, download=download, on_progress=on_progress)
    spec = find_model(name)
    _check_architecture(spec, folder)
    library = _import(spec)
    model = (
        _load_marigold(spec, folder, library) if spec.family == "marigold" else _load(spec, folder, library)
    )
    for module in model.modules:
        module.float().eval().requires_grad_(False).to(device)
    return model


def _check_architecture(spec: ModelSpec, folder: Path) -> None:
    """Check that a folder holds the model that it should."""
    file = folder / ("model_index.json" if spec.family == "marigold" else "config.json")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        found = config.get("_class_name") if spec.family == "marigold" else config.get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise _damaged(spec, folder, f"{file.name}: {error}") from error
    expected: str = "MarigoldDepthPipeline" if spec.family == "marigold" else spec.family
    if spec.family == "depth_anything":
        metric = "metric" if spec.semantics == "metric" else "relative"
        expected, found = (
            f"{expected} ({metric})",
            f"{found} ({config.get('depth_estimation_type', 'relative')})",
        )
    if found != expected:
        raise InputError(
            f"{folder} must hold {spec.title}, a model of type {expected}, got {found}; "
            f"replace it by the files from {spec.address}"
        )


def _import(spec: ModelSpec) -> Any:
    """Import the package that runs a model."""
    try:
        library = importlib.import_module(spec.package)
        return (
            library.MarigoldDepthPipeline
            if spec.family == "marigold"
            else library.AutoModelForDepthEstimation
        )
    except (ImportError, AttributeError, RuntimeError) as error:
        raise _unusable(spec, error) from error


def _load(spec: ModelSpec, folder: Path, auto_class: Any) -> DepthModel:
    """Load a model of transformers."""
    preprocessing = read_preprocessing(folder / "preprocessor_config.json", spec.family)
    try:
        module, report = auto_class.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except ImportError as error:
        raise _unusable(spec, error) from error
    except Exception as error:
        raise _damaged(spec, folder, error) from error
    missing, count = len(report["missing_keys"]), len(module.state_dict())
    if missing > _TOLERATED * count:
        raise _damaged(spec, folder, f"model.safetensors lacks {missing} of {count} tensors")
    return TransformersDepth(spec, module, preprocessing)


def _load_marigold(spec: ModelSpec, folder: Path, pipeline_class: Any) -> DepthModel:
    """Load a Marigold pipeline."""
    try:
        pipeline = pipeline_class.from_pretrained(
            folder, variant="fp16", local_files_only=True, use_safetensors=True
        )
    except ImportError as error:
        raise _unusable(spec, error) from error
    except Exception as error:
        raise _damaged(spec, folder, error) from error
    pipeline.set_progress_bar_config(disable=True)
    return MarigoldDepth(spec, pipeline)


def _unusable(spec: ModelSpec, error: Exception) -> InputError:
    """Describe a package that is missing, too old, or broken."""
    return InputError(
        f"depth estimator {spec.name} ({spec.title}) needs the Python package {spec.package}, which cannot "
        f"be used here ({error}); install it with: pip install --upgrade {spec.package}"
    )


def _damaged(spec: ModelSpec, folder: Path, error: object) -> InputError:
    """Describe files that are there but cannot be loaded."""
    return InputError(
        f"{spec.title} cannot be loaded from {folder} ({one_line(error)}); delete that folder and download "
        f"it again from {spec.address}"
    )
