"""Models as Hugging Face's hub publishes them: a repository's files in one folder.

A repository `owner/name` is found in `<folder>/name` of each folder of its kind, and in the cache of Hugging
Face's own tools. Downloads go to the first folder; the hub's headers give each file's size and checksum.
`HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_TOKEN` and a saved login are honoured as there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..checks import InputError
from .download import Checksum, OnProgress, check_writable, fetch_file, unreachable
from .files import file_stamp
from .folders import download_folder, hub_cache, model_folders
from .remote import (
    PATIENCE,
    DownloadError,
    Remote,
    check_scheme,
    host_of,
    import_hub,
    look_up,
    plain,
    status_of,
)

_SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")  # by which users forbid downloads


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
        raise _switched_off(files, page, folder)
    check_scheme(_endpoint())
    check_writable(folder, files[0])
    place = _Place(repository, revision, folder, tuple(files), patience)
    found = {file: place.look_up(file) for file in files}
    remotes = [remote for remote in found.values() if remote is not None]
    if len(remotes) < len(files):
        absent = ", ".join(file for file in files if found[file] is None)
        raise InputError(
            f"{page} must hold {', '.join(files)} at revision {revision}, but lacks {absent}; "
            "update SpatialDreamer"
        )
    sizes = [remote.size or 0 for remote in remotes]
    for index, (file, remote) in enumerate(zip(files, remotes, strict=True)):
        before, total = sum(sizes[:index]), sum(sizes)
        target = folder / file
        if not (target.is_file() and target.stat().st_size == remote.size):
            _fetch(remote, target, None if on_progress is None else _offset(on_progress, before, total))
        if on_progress is not None:
            on_progress(before + sizes[index], total)
    return folder


def downloads_are_off() -> bool:
    """Tell whether downloads from the hub are switched off, as Hugging Face's own tools understand it."""
    return any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in _SWITCHES)


def _endpoint() -> str:
    """Return the hub's address."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _fetch(remote: Remote, target: Path, on_progress: OnProgress | None) -> None:
    """Fetch a file that the hub has described."""
    fetch_file(
        lambda: remote,
        target,
        address=remote.url,
        checksum=Checksum.of_etag(remote.etag),
        size=remote.size,
        on_progress=on_progress,
    )


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


@dataclass(frozen=True)
class _Place:
    """A repository at one revision, and the folder its files go to."""

    repository: str
    revision: str
    folder: Path
    files: tuple[str, ...]
    patience: float  # s that the hub has for an answer

    def look_up(self, file: str) -> Remote | None:
        """Ask the hub for a file's size and checksum; None if the repository has no such file."""
        hub = import_hub()
        url = hub.hf_hub_url(self.repository, file, revision=self.revision, endpoint=_endpoint())
        try:
            remote = look_up(url, token=True, patience=self.patience)
        except hub.errors.EntryNotFoundError:
            return None
        except hub.errors.OfflineModeIsEnabled:  # read when huggingface_hub was imported
            raise _switched_off(self.files, repository_address(self.repository), self.folder) from None
        except InputError:
            raise
        except Exception as error:
            raise self._refusal(plain(url), error) from error
        pinned = self.revision if re.fullmatch("[0-9a-f]{40}", self.revision) else remote.commit
        if remote.commit is None or remote.etag is None or remote.size is None or remote.commit != pinned:
            raise DownloadError(
                f"{remote.url} must answer with size, checksum and revision of a file, got none or others; a "
                "proxy or a login page may be in the way: open the address in a browser, or put the files "
                f"into {self.folder} by hand",
                f"{host_of(remote.url)} answered with something else, as a proxy may",
            )
        return remote

    def _refusal(self, address: str, error: Exception) -> DownloadError:
        """Describe that the hub cannot be reached or refuses, and what the user can do about it."""
        hub, status, page = import_hub(), status_of(error), repository_address(self.repository)
        wanted, remedy = f"{', '.join(self.files)} to {self.folder}", "put the files there by hand"
        gated = isinstance(error, hub.errors.GatedRepoError)
        if gated or status in (401, 403):
            has_token = hub.get_token() is not None
            given = "the token that was given has no access" if has_token else "no token was given"
            refused = f"is private or does not exist, and {given}"
            if gated:
                refused = f"is gated: its terms must be accepted, and {given}"
            elif has_token:
                refused = "refuses the token that was given, which may have expired"
            accept = "accept them on that page with your account, and " if gated else ""
            return DownloadError(
                f"cannot download {wanted}: {page} {refused} ({host_of(address)} answered {status}); "
                f"{accept}give a token in HF_TOKEN or by `hf auth login`, or {remedy}",
                f"{page} {refused}",
            )
        if status == 404 and self.revision != "main":
            remedy += (
                f"; revision {self.revision}, which was checked, may be gone: {page}/tree/main has the "
                "present files"
            )
        return unreachable(wanted, address, error, remedy)


def _switched_off(files: Sequence[str], page: str, folder: Path) -> InputError:
    """Describe that the user has forbidden downloads."""
    switch = next((name for name in _SWITCHES if os.environ.get(name)), _SWITCHES[0])
    return InputError(
        f"downloads are switched off by {switch}; unset it, or put {', '.join(files)} from {page} into "
        f"{folder}"
    )
