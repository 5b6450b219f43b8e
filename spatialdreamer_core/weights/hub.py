"""Models as Hugging Face's hub publishes them: a repository's files in one folder.

A repository `owner/name` is found in `<folder>/name` of each folder of its kind, and in the cache of Hugging
Face's own tools. Downloads go to the first folder; the hub's listing gives sizes and, for all large files,
SHA-256 checksums. `HF_ENDPOINT` and `HF_HUB_OFFLINE` are honoured as there.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..checks import InputError
from .connection import PATIENCE, DownloadError, fetch_text, host_of, plain
from .download import OnProgress, check_writable, download
from .files import file_stamp
from .folders import download_folder, hub_cache, model_folders


@dataclass(frozen=True)
class Snapshot:
    """A repository's folder on this machine."""

    folder: Path
    missing: tuple[str, ...]  # files that are needed and not there
    files: tuple[str, ...] = ()  # files that are needed and there

    @property
    def stamps(self) -> tuple[tuple[int, int], ...]:
        """What changes when one of its files is replaced, see `file_stamp`."""
        return tuple(file_stamp(self.folder / file) for file in self.files)


@dataclass(frozen=True)
class _Listed:
    """A file as the hub lists it."""

    size: int  # bytes
    sha256: str | None  # of large files


def repository_address(repository: str) -> str:
    """Return the address of a repository's page, without the credentials that `HF_ENDPOINT` may hold."""
    return f"{plain(_endpoint())}/{repository}"


def find_snapshot(
    kind: str, repository: str, files: Sequence[str], *, revision: str = "main"
) -> Snapshot | None:
    """Find a repository's folder on this machine; a whole one is preferred.

    Args:
        kind: The kind of model, see `model_folders`.
        repository: `owner/name`.
        files: The files that are needed, relative to the repository.
        revision: Branch, tag or commit; which one of Hugging Face's cached snapshots is preferred.

    Returns:
        The folder, or None if there is none with any of the files.
    """
    best: Snapshot | None = None
    for folder in _candidates(kind, repository, revision):
        missing = tuple(file for file in files if not os.path.isfile(folder / file))
        if not missing:
            return Snapshot(folder, (), tuple(files))
        if len(missing) < len(files) if best is None else len(missing) < len(best.missing):
            best = Snapshot(folder, missing, tuple(file for file in files if file not in missing))
    return best


def download_snapshot(
    kind: str,
    repository: str,
    files: Sequence[str],
    *,
    revision: str = "main",
    patience: float = PATIENCE,
    on_progress: OnProgress | None = None,
) -> Path:
    """Download a repository's files into the first folder of its kind; those already there are kept.

    Args:
        kind: The kind of model, see `model_folders`.
        repository: `owner/name`.
        files: The files that are needed, relative to the repository.
        revision: Branch, tag or commit.
        patience: Seconds that the hub has for its first answer.
        on_progress: Called with the bytes that are there and their total; may raise to interrupt.

    Returns:
        The repository's folder.

    Raises:
        InputError: If downloads are switched off, or see `download`.
    """
    folder = download_folder(kind) / repository.split("/")[-1]
    page = repository_address(repository)
    if downloads_are_off():
        raise InputError(
            f"downloads are switched off by HF_HUB_OFFLINE; unset it, or put {', '.join(files)} from {page} "
            f"into {folder}"
        )
    check_writable(folder, files[0])
    when_gone = ""
    if revision != "main":
        when_gone = (
            f"; revision {revision}, which was checked, may be gone: {page}/tree/main has the present files"
        )
    wanted = f"{', '.join(files)} to {folder}"
    listed = _list_files(repository, revision, wanted=wanted, when_gone=when_gone, patience=patience)
    absent = [file for file in files if file not in listed]
    if absent:
        raise InputError(
            f"{page} must hold {', '.join(files)} at revision {revision}, but lacks {', '.join(absent)}; "
            "update SpatialDreamer"
        )
    total = sum(listed[file].size for file in files)
    before = 0
    for file in files:
        entry = listed[file]
        target = folder / file
        if not (target.is_file() and target.stat().st_size == entry.size):
            url = f"{_endpoint()}/{repository}/resolve/{quote(revision, safe='')}/{quote(file)}"
            download(
                url,
                target,
                sha256=entry.sha256,
                size=entry.size,
                patience=patience,
                on_progress=None if on_progress is None else _offset(on_progress, before, total),
            )
        before += entry.size
        if on_progress is not None:
            on_progress(before, total)
    return folder


def downloads_are_off() -> bool:
    """Tell whether downloads from the hub are switched off, as Hugging Face's own tools understand it."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _endpoint() -> str:
    """Return the hub's address."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _offset(on_progress: OnProgress, before: int, total: int) -> OnProgress:
    """Report a file's bytes as part of all files' bytes."""

    def report(done: int, _: int | None) -> None:
        on_progress(before + done, total)

    return report


def _candidates(kind: str, repository: str, revision: str) -> list[Path]:
    """List the folders that may hold a repository, most likely first."""
    name = repository.split("/")[-1]
    folders = [folder / name for folder in model_folders(kind)]
    cached = hub_cache() / f"models--{repository.replace('/', '--')}"
    reference = cached / "refs" / revision
    commit = (
        reference.read_text(encoding="utf-8", errors="replace").strip()
        if os.path.isfile(reference)
        else revision
    )
    snapshots = sorted((cached / "snapshots").glob("*"), key=lambda folder: folder.name != commit)
    return [folder for folder in (*folders, *snapshots) if os.path.isdir(folder)]  # never raises


def _list_files(
    repository: str, revision: str, *, wanted: str, when_gone: str, patience: float
) -> dict[str, _Listed]:
    """Ask the hub for a repository's files."""
    url = f"{_endpoint()}/api/models/{repository}/tree/{quote(revision, safe='')}?recursive=true"
    text = fetch_text(url, wanted=wanted, when_gone=when_gone, patience=patience)
    try:
        return {entry["path"]: _read_entry(entry) for entry in json.loads(text) if entry["type"] == "file"}
    except Exception as error:
        raise DownloadError(
            f"{plain(url)} must answer with a list of files, got {text[:60]!r}; a proxy may be in the way",
            f"{host_of(url)} answered with something else, as a proxy may",
        ) from error


def _read_entry(entry: dict[str, Any]) -> _Listed:
    """Read a file's entry of a listing."""
    size, checksum = entry["size"], (entry.get("lfs") or {}).get("oid")
    if type(size) is not int or size < 0:
        raise ValueError(f"{size} is no size")
    if checksum is not None and not re.fullmatch("[0-9a-f]{64}", checksum):
        raise ValueError(f"{checksum} is no checksum")
    return _Listed(size, checksum)
