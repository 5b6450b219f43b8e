"""Reading a DVG dataset: its records, and the frames of any clip."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from ...checks import InputError
from .clip_file import CLIP_SUFFIX, DamagedClip, DVGClip, decode_clip
from .records import DATASET_JSON, ClipRecord, check_version, read_json, to_record

CLIPS = "clips"  # the folder of the clips' files
_LOGGER = logging.getLogger(__name__)
_PART = 1 << 20  # bytes that are hashed at once


class ClipDataset:
    """A finished dataset; clips whose files are missing or damaged are left out.

    Args:
        folder: Its folder.
        records: The clips to be read.
        skipped: Why others are left out, by their names.
        digest: Checksum of `dataset.json`, which holds those of all files: equal digests, equal datasets.
    """

    def __init__(
        self, folder: Path, records: list[ClipRecord], *, skipped: dict[str, str], digest: str
    ) -> None:
        self.folder, self.records, self.skipped, self.digest = folder, records, skipped, digest

    def __len__(self) -> int:
        return len(self.records)

    def path(self, index: int) -> Path:
        """Return the file of a clip."""
        return clip_path(self.folder, self.records[index].name)

    def read(self, index: int, frames: range | None = None) -> DVGClip:
        """Read frames of a clip.

        Args:
            index: Number of the clip in `records`.
            frames: Which of its frames; None: all.

        Returns:
            The frames as float32, on the CPU.

        Raises:
            InputError: If the clip has no such frames.
            DamagedClip: If its file is damaged.
        """
        record = self.records[index]
        frames = range(record.frames) if frames is None else frames
        if not frames or frames.step < 1 or frames[0] < 0 or frames[-1] >= record.frames:
            raise InputError(
                f"`frames` must lie within the {record.frames} frames of {record.name}, got {frames}"
            )
        return decode_clip(
            self.path(index), frames, size=(record.height, record.width), checksums=record.checksums
        )


def open_dataset(
    folder: str | os.PathLike[str],
    *,
    verify: bool = False,
    on_clip: Callable[[int, int], None] | None = None,
) -> ClipDataset:
    """Open a dataset that `dataset build` has finished.

    Clips whose file is missing or of another size are left out, counted and logged.

    Args:
        folder: Its folder.
        verify: Whether to read every file and compare its checksum, too.
        on_clip: Called after each clip with the clips looked at and their number; may raise to interrupt.

    Raises:
        InputError: If there is no finished dataset, it is of another version, or no clip is whole.
    """
    folder = Path(folder)
    listed = list_records(folder)
    records, skipped = [], {}
    for done, record in enumerate(listed, start=1):
        problem = find_damage(folder, record, verify=verify)
        if problem is None:
            records.append(record)
        else:
            skipped[record.name] = problem
            _LOGGER.warning("clip %s is left out: %s", record.name, problem)
        if on_clip is not None:
            on_clip(done, len(listed))
    if skipped:
        _LOGGER.warning("%d of %d clips of %s are left out", len(skipped), len(listed), folder)
    if not records:
        raise InputError(
            f"dataset must hold at least one whole clip, got none of {len(listed)} in {folder}; run "
            "`dataset build` again"
        )
    return ClipDataset(folder, records, skipped=skipped, digest=hash_file(folder / DATASET_JSON))


def list_records(folder: Path) -> list[ClipRecord]:
    """Return the records of a finished dataset's clips, whether their files are whole or not.

    Raises:
        InputError: If there is no finished dataset, or it is of another version.
    """
    path = folder / DATASET_JSON
    if not path.is_file():
        raise InputError(
            f"dataset must be a folder that `dataset build` has finished, got {folder} without "
            f"{DATASET_JSON}; run `dataset build` with it, again if it was interrupted"
        )
    content = read_json(path)
    check_version(content, path)
    clips = content.get("clips")
    if not isinstance(clips, list):
        raise InputError(f"{path} must list clips; delete it and run `dataset build` again")
    return [to_record(entry, path) for entry in clips]


def check_dataset(
    folder: str | os.PathLike[str], *, on_clip: Callable[[int, int], None] | None = None
) -> tuple[int, dict[str, str]]:
    """Read every file of a finished dataset, compare its checksum and decode all of its frames.

    Args:
        folder: Its folder.
        on_clip: Called after each clip with the clips looked at and their number; may raise to interrupt.

    Returns:
        The number of clips, and what is wrong with which of them, by their names.

    Raises:
        InputError: If there is no finished dataset, or it is of another version.
    """
    folder = Path(folder)
    records = list_records(folder)
    damaged = {}
    for done, record in enumerate(records, start=1):
        problem = find_damage(folder, record, verify=True) or _find_wrong_frames(folder, record)
        if problem is not None:
            damaged[record.name] = problem
        if on_clip is not None:
            on_clip(done, len(records))
    return len(records), damaged


def _find_wrong_frames(folder: Path, record: ClipRecord) -> str | None:
    """Say what is wrong with the frames of a clip whose file is as the record says, or None."""
    try:
        ClipDataset(folder, [record], skipped={}, digest="").read(0)
    except DamagedClip as error:
        return str(error)
    return None


def find_damage(folder: Path, record: ClipRecord, *, verify: bool) -> str | None:
    """Say what is wrong with a clip's file, or None.

    Args:
        folder: The dataset.
        record: The clip's.
        verify: Whether to compare the checksum, too; else the size alone.
    """
    path = clip_path(folder, record.name)
    try:
        size = path.stat().st_size
        if size != record.bytes:
            return f"it has {size} bytes instead of {record.bytes}"
        if verify and hash_file(path) != record.sha256:
            return "its checksum is another one"
    except FileNotFoundError:
        return "its file is missing"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return None


def clip_path(folder: Path, name: str) -> Path:
    """Return the file of a clip."""
    return folder / CLIPS / f"{name}{CLIP_SUFFIX}"


def hash_file(path: Path) -> str:
    """Return a file's SHA-256."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(_PART):
            digest.update(part)
    return digest.hexdigest()
