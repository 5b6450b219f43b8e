"""The depth estimators to choose from: the builtin one, `auto`, and the depth models."""

from __future__ import annotations

import logging
import os
from functools import lru_cache

import torch

from ..checks import InputError, check_choice, check_flag
from ..weights import EstimatorInfo
from ..weights.download import OnProgress
from .loading import DepthModel, fetch_model, load_model, model_available
from .models import DEFAULT_MODEL, MODELS, ModelSpec, find_model

_LOGGER = logging.getLogger(__name__)

BUILTIN = "builtin"
AUTO = "auto"


def estimator_names() -> tuple[str, ...]:
    """List the names that `estimate_depth` takes."""
    return (BUILTIN, AUTO, *(model.name for model in MODELS))


def names_file(depth: str) -> bool:
    """Tell whether a text stands for a depth file or folder rather than for an estimator.

    Raises:
        InputError: If it is no estimator's name, and there is nothing at such a path.
    """
    if depth in estimator_names():
        return False
    if not os.path.exists(depth):  # of any text: Path raises on names that are too long
        raise InputError(
            f"depth must be one of {', '.join(estimator_names())}, or an existing file or folder, got "
            f"{depth!r}"
        )
    return True


def list_estimators() -> list[EstimatorInfo]:
    """List the depth estimators: first those without weights, then the models, best first."""
    builtin = "From motion, position, upright shapes, haze and focus; no weights, no download. Preview grade."
    auto = f"{find_model(DEFAULT_MODEL).title} if its weights are there, else the built-in one."
    return [
        EstimatorInfo(BUILTIN, "Built-in (preview grade)", "Apache-2.0", True, builtin),
        EstimatorInfo(AUTO, "Automatic", "Apache-2.0", True, auto),
        *(_describe(model) for model in MODELS),
    ]


def resolve_estimator(name: str, *, download: bool = False) -> str:
    """Return the estimator that a name stands for: `auto` becomes the default model or the builtin one.

    Args:
        name: One of `estimator_names`.
        download: Whether missing weights are to be downloaded; `auto` is the default model then.

    Raises:
        InputError: If the name is unknown.
    """
    check_choice("estimator", name, estimator_names())
    check_flag("download", download)
    if name != AUTO:
        return name
    if download or model_available(find_model(DEFAULT_MODEL)):
        return DEFAULT_MODEL
    _say_how_to_get_better()
    return BUILTIN


def prepare_estimator(name: str, *, download: bool = False, on_progress: OnProgress | None = None) -> str:
    """Make sure that an estimator's files are there, downloading them if that is wanted.

    Args:
        name: One of `estimator_names`.
        download: Whether to download missing files.
        on_progress: Called with the bytes that are there and their total; may raise to interrupt.

    Returns:
        The estimator that the name stands for, see `resolve_estimator`.

    Raises:
        InputError: If the name is unknown, files are missing and not downloaded, or cannot be.
    """
    name = resolve_estimator(name, download=download)
    if name != BUILTIN:
        fetch_model(name, download=download, on_progress=on_progress)
    return name


def open_estimator(
    name: str, *, device: torch.device | str = "cpu", download: bool = False
) -> DepthModel | None:
    """Load the model behind an estimator's name; None stands for the builtin estimator, which needs none.

    Args:
        name: One of `estimator_names`.
        device: Where a model runs.
        download: Whether to download missing files.

    Raises:
        InputError: If the name is unknown, or see `load_model`.
    """
    name = resolve_estimator(name, download=download)
    if name == BUILTIN:
        _warn_preview_grade()
        return None
    return load_model(name, device=device, download=download)


def _describe(model: ModelSpec) -> EstimatorInfo:
    """Describe a model as it is on this machine."""
    snapshot = model.find()
    folder = None if snapshot is None else snapshot.folder
    available = model_available(model)
    if available:
        note = f"In {folder}."
    elif snapshot is None:
        note = f"Weights: {model.address}."
    elif snapshot.missing:
        note = f"Incomplete: {folder} lacks {', '.join(snapshot.missing)}. Weights: {model.address}."
    else:
        note = f"In {folder}, but needs the Python package {model.package}."
    return EstimatorInfo(
        model.name, model.title, model.licence, available, note, model.commercial, folder, model.address
    )


@lru_cache(maxsize=1)
def _warn_preview_grade() -> None:
    """Warn once per process that the builtin estimator is preview grade."""
    _LOGGER.warning("depth estimator `builtin` is preview grade: use a depth model for final results")


@lru_cache(maxsize=1)
def _say_how_to_get_better() -> None:
    """Say once per process how to get a depth model."""
    model = find_model(DEFAULT_MODEL)
    _LOGGER.info(
        "depth: %s (%s) is not installed, the built-in estimator is used; get it with `download` or from %s",
        model.title,
        model.licence,
        model.address,
    )
