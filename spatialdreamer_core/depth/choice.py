"""Which estimator runs where none was chosen: the default model, or the builtin one with the reason why.

Where `prepare_estimator` fails, `choose_estimator` lets `auto` go on, so that a first run without a network
ends in a result; `describe_choice` says what ran and how to get better depth.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from ..checks import InputError, check_choice, check_flag
from ..weights import place_for
from ..weights.download import OnProgress
from ..weights.hub import downloads_are_off
from ..weights.remote import DownloadError
from .catalogue import AUTO, BUILTIN, estimator_names, prepare_estimator
from .loading import fetch_model, model_available, model_installed, package_installed
from .models import DEFAULT_MODEL, DEFAULT_SIZE, MODEL_KIND, MODELS, find_model

_LOGGER = logging.getLogger(__name__)

_PATIENCE = 5  # s that the hub has for its first answer
_SLOW = 1  # s; a try that failed after more of them is not made again at once
_RETRY_AFTER = 300  # s until it is made again


@dataclass(frozen=True)
class EstimatorChoice:
    """Which estimator runs.

    Attributes:
        name: `builtin` or the name of a model.
        obstacle: What stands in the way of the default model although `auto` was chosen, as the end of a
            sentence about it, such as "could not be downloaded: ..."; None if nothing does.
        failed: Whether it was a download that failed.
    """

    name: str
    obstacle: str | None = None
    failed: bool = False


@dataclass(frozen=True)
class _Failure:
    """A download of the default model that failed."""

    choice: EstimatorChoice
    slow: bool
    retry_at: float  # s, of the monotonic clock


_failure: _Failure | None = None  # the last one


def choose_estimator(
    name: str, *, download: bool = False, on_progress: OnProgress | None = None
) -> EstimatorChoice:
    """Choose what runs as `prepare_estimator` does, but let `auto` go on with the builtin estimator.

    It does so where the default model cannot be had: without a network, where the hub refuses or does not
    answer within seconds, or where the folder of models takes no files. A try that failed slowly is made
    again after five minutes. Damaged files show when the model is loaded, and are an error there.

    Args:
        name: One of `estimator_names`.
        download: Whether to download missing files; `auto` brings no other model than the default one.
        on_progress: Called with the bytes that are there and their total; may raise to interrupt.

    Raises:
        InputError: If the name is unknown, or files of a model that was chosen by name are missing and not
            downloaded, or cannot be.
    """
    global _failure
    check_choice("estimator", name, estimator_names())
    check_flag("download", download)
    if name != AUTO:
        return EstimatorChoice(prepare_estimator(name, download=download, on_progress=on_progress))
    model = find_model(DEFAULT_MODEL)
    if not package_installed(model):
        return EstimatorChoice(BUILTIN, f"needs the Python package {model.package}")
    if model_installed(model):
        return EstimatorChoice(DEFAULT_MODEL)
    if not download:
        found = model.find()
        lacking = None if found is None else f"lacks {', '.join(found.missing)} in {found.folder}"
        return EstimatorChoice(BUILTIN, lacking)
    begun = time.monotonic()
    if _failure is not None and _failure.slow and begun < _failure.retry_at:
        return _failure.choice
    try:
        fetch_model(DEFAULT_MODEL, download=True, patience=_PATIENCE, on_progress=on_progress)
    except InputError as error:
        _LOGGER.warning("%s", error)
        reason = error.reason if isinstance(error, DownloadError) else str(error).split("; ")[0]
        choice = EstimatorChoice(BUILTIN, f"could not be downloaded: {reason}", failed=True)
        ended = time.monotonic()
        _failure = _Failure(choice, ended - begun > _SLOW, ended + _RETRY_AFTER)
        return choice
    _failure = None
    return EstimatorChoice(DEFAULT_MODEL)


def describe_choice(choice: EstimatorChoice, *, how: str, folder: str | None = None) -> str:
    """Say which estimator runs, and how to get better depth.

    Args:
        choice: What runs.
        how: How to download the default model, such as "add --download".
        folder: The folder of depth models as it is to be called; None: its path.
    """
    model = find_model(DEFAULT_MODEL)
    if choice.name != BUILTIN:
        return f"depth: {find_model(choice.name).title}."
    said = "depth: builtin, preview grade."
    what = f"{model.title}, {DEFAULT_SIZE}, {model.licence}"
    by_hand = f"put {model.address} into {folder or place_for(MODEL_KIND)}"
    if choice.obstacle is None:
        if model_available(model):
            return f"{said} For better depth choose auto: {model.title} is installed."
        return f"{said} For better depth {how} ({what}), or {by_hand}."
    said = f"{said} {model.title} {choice.obstacle}."
    if not package_installed(model):
        return f"{said} For better depth: pip install {model.package}."
    if choice.failed:
        return f"{said} For better depth run it again later, or {by_hand}."
    return f"{said} For better depth {how} ({what})."


def state_of_choice(name: str, *, download: bool = False) -> str:
    """Return what changes when the same choice may mean another model, or other weights, than before.

    Args:
        name: What `choose_estimator` is to be given; any other name is its own state.
        download: Likewise.
    """
    if name == AUTO:
        name = DEFAULT_MODEL if model_available(find_model(DEFAULT_MODEL)) else BUILTIN
        if name == BUILTIN and download and _failure is not None and not downloads_are_off():
            due = time.monotonic() >= _failure.retry_at
            return f"{BUILTIN}, {'to be tried again' if due else 'not yet'} after {_failure.retry_at}"
    found = None if name not in (model.name for model in MODELS) else find_model(name).find()
    return str(name) if found is None else f"{name} {found.folder} {found.stamps}"
