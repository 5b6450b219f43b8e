"""Load a depth model from this machine, after checking that it is the one that was asked for.

Only safetensors and plain configuration files are read, no code from a model's folder, and nothing is fetched
unless `download` says so.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..checks import InputError, check_choice, one_line
from ..memory import is_out_of_memory
from ..parsing import parsing
from ..weights import fetch_snapshot
from ..weights.download import OnProgress
from ..weights.files import read_header, read_json
from ..weights.networks import load_transformers_network
from ..weights.pipelines import load_parts, read_index
from ..weights.remote import PATIENCE
from .inverse import to_inverse_depth
from .models import MODEL_KIND, MODELS, ModelSpec, find_model
from .preprocess import Preprocessing, prepare, read_preprocessing, restore

_CLASSES = {  # by family
    "dpt": ("DPTConfig", "DPTForDepthEstimation"),
    "depth_anything": ("DepthAnythingConfig", "DepthAnythingForDepthEstimation"),
    "zoedepth": ("ZoeDepthConfig", "ZoeDepthForDepthEstimation"),
    "depth_pro": ("DepthProConfig", "DepthProForDepthEstimation"),
}
_MARIGOLD = "MarigoldDepthPipeline"
_MARIGOLD_RANGES = {"default_denoising_steps": range(1, 51), "default_processing_resolution": range(2049)}


class DepthModel(Protocol):
    """A loaded depth model."""

    spec: ModelSpec
    modules: tuple[nn.Module, ...]  # all networks in it, to be moved between devices together

    def inverse_depth(
        self,
        frames: Tensor,  # [B, 3, H, W] in [0, 1], on the modules' device
    ) -> Tensor:  # [B, 1, H, W] float32
        """Estimate inverse depth, larger = nearer, of the model's own scale and shift."""
        ...


class TransformersDepth:
    """A depth model of transformers."""

    def __init__(
        self, spec: ModelSpec, module: nn.Module, preprocessing: Preprocessing, folder: Path
    ) -> None:
        self.spec = spec
        self.modules: tuple[nn.Module, ...] = (module,)
        self._preprocessing = preprocessing
        self._folder = folder

    @torch.inference_mode()
    def inverse_depth(
        self,
        frames: Tensor,  # [B, 3, H, W]
    ) -> Tensor:  # [B, 1, H, W]
        """Estimate inverse depth, see `DepthModel`."""
        size = (frames.shape[-2], frames.shape[-1])
        with _running(self.spec, self._folder):
            return to_inverse_depth(restore(self.run(frames), self._preprocessing, size), self.spec.semantics)

    @torch.inference_mode()
    def run(
        self,
        frames: Tensor,  # [B, 3, H, W]
    ) -> Tensor:  # [B, h, w]
        """Return what the network gives, at its own size."""
        pixels = prepare(frames.float(), self._preprocessing)
        return self.modules[0](pixel_values=pixels).predicted_depth


class MarigoldDepth:
    """Marigold: a diffusion pipeline of diffusers; each frame begins with the same noise."""

    def __init__(self, spec: ModelSpec, pipeline: Any, folder: Path) -> None:
        self.spec = spec
        self._folder = folder
        self.modules: tuple[nn.Module, ...] = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
        self._pipeline = pipeline

    @torch.inference_mode()
    def inverse_depth(
        self,
        frames: Tensor,  # [B, 3, H, W]
    ) -> Tensor:  # [B, 1, H, W]
        """Estimate inverse depth, see `DepthModel`."""
        generators = [torch.Generator().manual_seed(0) for _ in frames]
        with _running(self.spec, self._folder):
            images = frames.float().clamp(0, 1)
            output = self._pipeline(
                image=images, batch_size=len(frames), generator=generators, output_type="pt"
            )
            return to_inverse_depth(output.prediction, self.spec.semantics)


class PackageError(InputError):
    """The Python package that runs a model is missing, too old or broken."""


def model_installed(spec: ModelSpec) -> bool:
    """Tell whether a model's weights are whole on this machine."""
    snapshot = spec.find()
    return snapshot is not None and not snapshot.missing


def package_installed(spec: ModelSpec) -> bool:
    """Tell whether the Python package that runs a model is installed."""
    return find_spec(spec.package) is not None


def model_available(spec: ModelSpec) -> bool:
    """Tell whether a model's weights are whole on this machine and the package that runs it is there."""
    return model_installed(spec) and package_installed(spec)


def fetch_model(
    name: str,
    *,
    download: bool = False,
    patience: float = PATIENCE,
    on_progress: OnProgress | None = None,
) -> Path:
    """Return the folder of a model's files, downloading what is missing if that is wanted.

    Args:
        name: One of `MODELS`.
        download: Whether to download missing files.
        patience: Seconds that the hub has for its first answer.
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
        patience=patience,
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
        PackageError: If the package that runs it is missing, too old or broken.
        InputError: If files are missing or damaged, or they are those of another model.
    """
    folder = fetch_model(name, download=download, on_progress=on_progress)
    spec = find_model(name)
    try:
        config = _check_architecture(spec, folder)
        classes = _import(spec)
        load = _load_marigold if spec.family == "marigold" else _load
        model = load(spec, folder, config, *classes)
    except ImportError as error:
        raise _unusable(spec, error) from error
    except InputError as error:
        if isinstance(error.__cause__, ImportError):
            raise _unusable(spec, error.__cause__) from error
        cause = str(error).rsplit("; ", 1)[0]  # without its remedy
        raise InputError(
            f"{spec.title} cannot be loaded from {folder} ({cause}); delete that folder and download it "
            f"again from {spec.address}"
        ) from error
    for module in model.modules:
        module.float().eval().requires_grad_(False).to(device)
    return model


def _check_architecture(spec: ModelSpec, folder: Path) -> dict[str, Any]:
    """Check that a folder holds the model that it should; returns its config or, of a pipeline, its index."""
    if spec.family == "marigold":
        config = read_index(folder, what=spec.title, address=spec.address)
        expected, found = _MARIGOLD, str(config.get("_class_name"))
    else:
        config = read_json(folder / "config.json")
        expected, found = spec.family, str(config.get("model_type"))
    if spec.family == "depth_anything":
        metric = "metric" if spec.semantics == "metric" else "relative"
        expected = f"{expected} ({metric})"
        found = f"{found} ({config.get('depth_estimation_type', 'relative')})"
    if found != expected:
        raise InputError(
            f"{folder} must hold {spec.title}, a model of type {expected}, got {found[:60]}; "
            f"replace it by the files from {spec.address}"
        )
    return config


def _import(spec: ModelSpec) -> tuple[Any, ...]:
    """Import the classes that run a model."""
    names = _CLASSES.get(spec.family, (_MARIGOLD,))
    try:
        library = importlib.import_module(spec.package)
        return tuple(getattr(library, name) for name in names)
    except (ImportError, AttributeError, RuntimeError) as error:
        raise ImportError(str(error)) from error


def _load(
    spec: ModelSpec, folder: Path, config: dict[str, Any], config_class: Any, network_class: Any
) -> DepthModel:
    """Load a model of transformers."""
    preprocessing = read_preprocessing(folder / "preprocessor_config.json", spec.family)
    header = read_header(folder / "model.safetensors")
    module, missing = load_transformers_network(
        network_class, config_class, config, header, file=folder / "config.json"
    )
    model = TransformersDepth(spec, module, preprocessing, folder)
    if missing:
        _check_unused(model, missing, folder)
    return model


def _check_unused(model: TransformersDepth, names: list[str], folder: Path) -> None:
    """Check that the missing tensors are never used: some layers are built but never run."""
    state = model.modules[0].state_dict()
    lacking = [state[name] for name in names if name in state and state[name].is_floating_point()]
    for tensor in lacking:
        tensor.fill_(torch.nan)
    with parsing(folder, rule=f"{model.spec.title} must run as it was published", remedy="use its own files"):
        output = model.run(torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0)))
    if not output.isfinite().all():
        raise InputError(
            f"a model's weights must fill its network, but model.safetensors lacks {len(names)} of "
            f"{len(state)} tensors, such as {names[0]}; download it again"
        )
    for tensor in lacking:
        tensor.zero_()


def _load_marigold(spec: ModelSpec, folder: Path, index: dict[str, Any], pipeline_class: Any) -> DepthModel:
    """Load a Marigold pipeline."""
    settings = {name: index.get(name) for name in _MARIGOLD_RANGES}
    wrong = [
        name
        for name, value in settings.items()
        if value is not None and not (type(value) is int and value in _MARIGOLD_RANGES[name])
    ]
    flags = {name: index.get(name, True) for name in ("scale_invariant", "shift_invariant")}
    wrong += [name for name, value in flags.items() if not isinstance(value, bool)]
    if index.get("prediction_type") != "depth":
        wrong.append("prediction_type")
    if wrong:
        raise InputError(
            f"the settings of {spec.title} must be as it was published, got {wrong[0]} of "
            f"{str(index.get(wrong[0]))[:60]!r} in {folder / 'model_index.json'}; download that file again"
        )
    parts = load_parts(folder, index, channels=8, address=spec.address)
    with parsing(folder, rule=f"a folder must hold a {_MARIGOLD}", remedy="download it again"):
        pipeline = pipeline_class(**parts, prediction_type="depth", **flags, **settings)
    pipeline.set_progress_bar_config(disable=True)
    return MarigoldDepth(spec, pipeline, folder)


@contextmanager
def _running(spec: ModelSpec, folder: Path) -> Iterator[None]:
    """Name the model that fails on a frame, as a damaged config may do; let out-of-memory errors pass."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error) or isinstance(error, InputError):
            raise
        raise InputError(
            f"{spec.title} must run as it was published, but that of {folder} fails ({one_line(error)}); "
            f"delete that folder and download it again from {spec.address}"
        ) from error


def _unusable(spec: ModelSpec, error: Exception) -> PackageError:
    """Describe a package that is missing, too old, or broken."""
    return PackageError(
        f"depth estimator {spec.name} ({spec.title}) needs the Python package {spec.package}, which cannot "
        f"be used here ({error}); install it with: pip install --upgrade {spec.package}"
    )
