"""A model's folder: the one on this machine, or a download where the user asked for it."""

from __future__ import annotations

import logging
from pathlib import Path

from ..checks import InputError, check_flag
from .download import OnProgress
from .folders import hub_cache, model_folders, place_for
from .hub import Snapshot, download_snapshot, repository_address
from .remote import PATIENCE

_LOGGER = logging.getLogger(__name__)


def fetch_snapshot(
    found: Snapshot | None,
    kind: str,
    repository: str,
    files: tuple[str, ...],
    *,
    model: str,
    licence: str,
    switches: str = "download=True",
    revision: str = "main",
    download: bool = False,
    patience: float = PATIENCE,
    on_progress: OnProgress | None = None,
) -> Path:
    """Return the folder of a model's files, downloading what is missing if that is wanted.

    Args:
        found: The model's folder on this machine, whole or not, or None if there is none.
        kind: The kind of model, see `model_folders`.
        repository: `owner/name`, where it is published.
        files: The files that are downloaded, relative to the repository.
        model: What the model is called in messages.
        licence: Of the weights.
        switches: How a user asks for the download, for the message.
        revision: Branch, tag or commit.
        download: Whether to download missing files.
        patience: Seconds that the hub has for its first answer.
        on_progress: Called with the bytes that are there and their total; may raise to interrupt.

    Raises:
        InputError: If files are missing and not downloaded, or cannot be.
    """
    check_flag("download", download)
    if found is not None and not found.missing:
        return found.folder
    address = repository_address(repository)
    if download:
        _LOGGER.info("downloading %s, licence %s, from %s", model, licence, address)
        return download_snapshot(
            kind, repository, files, revision=revision, patience=patience, on_progress=on_progress
        )
    remedy = (
        f"download it ({switches}), or put the files from {address} into "
        f"{place_for(kind, repository.split('/')[-1])}"
    )
    if found is not None:
        raise InputError(
            f"{model} must be whole, but {found.folder} lacks {', '.join(found.missing)}; {remedy}"
        )
    searched = ", ".join(map(str, [*model_folders(kind), hub_cache()]))
    raise InputError(f"{model} needs its weights, which are in none of {searched}; {remedy}")
