"""The folder of a film that is being converted: what is finished stays there until the film is whole.

`film.mp4` has the folder `film.mp4.parts` beside it. In it are `manifest.json` (settings, source, scenes),
and for each finished segment its video and a record with its checksum. Each file appears under its name when
it is whole, and records are written after what they record: a kill at any moment loses at most one segment.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ...atomic import NAME_BYTES, replacing, shorten_name, write_error
from ...bars import PictureBox
from ...checks import InputError, one_line
from ...depth import SceneRange, SceneStatistics
from ...locking import FileLock
from .plan import Entry, FilmPlan, FilmScene, Segment, SegmentRule

SUFFIX = ".parts"
_MANIFEST, _LOCK, _RECORDS = "manifest.json", "lock", "segment-*.json"
_KIND, _VERSION = "spatialdreamer film", 2
_SAMPLED = 2**20  # bytes at either end of the source by which it is known


@dataclass(frozen=True)
class SegmentRecord:
    """What is known of a finished segment.

    Attributes:
        frames: Number of its frames.
        first_pts: Time of its first frame, in units of the film's time base.
        bytes: Size of its file.
        sha256: Checksum of its file.
    """

    frames: int
    first_pts: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a film's conversion was begun with.

    Attributes:
        settings: Every setting, by name.
        source: What the input is known by.
        plan: The scenes.
        fault: Where the film breaks off and why, if it is incomplete.
    """

    settings: Mapping[str, Any]
    source: Mapping[str, Any]
    plan: FilmPlan
    fault: str | None = None


class FilmFolder:
    """The folder of one output; use it in a `with` statement, in which nobody else can.

    Args:
        output: The film that is to be.

    Attributes:
        path: The folder.

    Raises:
        InputError: On entering, if another run is at it or it cannot be written.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        name = shorten_name(output.name, NAME_BYTES - len(SUFFIX))
        self.path = output.absolute().with_name(name + SUFFIX)
        self._lock = FileLock(self.path / _LOCK)

    def __enter__(self) -> FilmFolder:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            free = self._lock.acquire()
        except OSError as error:
            raise write_error(self.path, error) from error
        if not free:
            raise InputError(
                f"output must be written by one run at a time, got {self._output}, which another run is "
                "writing; wait for it or choose another name"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()
        with contextlib.suppress(OSError):
            self.path.rmdir()  # if nothing is in it

    def clear(self) -> None:
        """Remove all that is finished."""
        for file in self.path.iterdir():
            if file.name != _LOCK:
                with contextlib.suppress(OSError):
                    shutil.rmtree(file) if file.is_dir() else file.unlink()

    def begin(
        self,
        *,
        settings: Mapping[str, Any],
        source: Mapping[str, Any],
        plan: Callable[[], tuple[FilmPlan, str | None]],
    ) -> tuple[Manifest, bool]:
        """Continue what was begun with the same settings and the same source, or begin.

        Where no segment is finished, there is nothing to lose: then other settings begin anew.

        Args:
            settings: Every setting that the frames depend on, as JSON has it.
            source: What `identify` says of the input.
            plan: Makes the plan of a film that is begun, and tells where the film breaks off.

        Returns:
            The manifest, and whether it was there already.

        Raises:
            InputError: If other settings or another source were begun with, or files cannot be used.
        """
        as_read = json.loads(json.dumps((dict(settings), dict(source)), default=str))
        settings, source = as_read
        if (self.path / _MANIFEST).exists():
            manifest = self._read()
            if any(self.path.glob(_RECORDS)):
                self._compare("the input", manifest.source, source)
                self._compare("the settings", manifest.settings, settings)
            if (manifest.settings, manifest.source) == (settings, source):
                return manifest, True
        self.clear()
        found, fault = plan()
        manifest = Manifest(settings, source, found, fault)
        self.write(_MANIFEST, {"kind": _KIND, "version": _VERSION, **asdict(manifest)})
        return manifest, False

    def segment_path(self, segment: Segment, suffix: str) -> Path:
        """Return the name of a segment's video."""
        return self.path / f"segment-{segment.index:05d}{suffix}"

    def record(self, segment: Segment, suffix: str, *, first_pts: int) -> SegmentRecord:
        """Note that a segment is finished.

        Args:
            segment: The segment.
            suffix: Of its video.
            first_pts: Time of its first frame, in units of the film's time base.

        Raises:
            InputError: If that cannot be written.
        """
        path = self.segment_path(segment, suffix)
        try:
            with open(path, "rb+") as file:
                os.fsync(file.fileno())
            record = SegmentRecord(segment.frames, first_pts, path.stat().st_size, _checksum(path))
        except OSError as error:
            raise write_error(path, error) from error
        self.write(self._record_name(segment), asdict(record))
        return record

    def find(self, segment: Segment, suffix: str) -> SegmentRecord | None:
        """Return the record of a segment that is finished and undamaged, else None."""
        try:
            record = SegmentRecord(**json.loads((self.path / self._record_name(segment)).read_text("utf-8")))
            path = self.segment_path(segment, suffix)
            is_whole = path.stat().st_size == record.bytes and _checksum(path) == record.sha256
        except (OSError, ValueError, TypeError):
            return None
        return record if is_whole and record.frames == segment.frames else None

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file, whole or not at all.

        Raises:
            InputError: If it cannot be written.
        """
        path = self.path / name
        try:
            with replacing(path) as partial, open(partial, "w", encoding="utf-8", newline="\n") as file:
                json.dump(content, file, indent=1, ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise write_error(path, error) from error

    @staticmethod
    def _record_name(segment: Segment) -> str:
        return f"segment-{segment.index:05d}.json"

    def _read(self) -> Manifest:
        """Read the manifest.

        Raises:
            InputError: If it is none of this version.
        """
        path = self.path / _MANIFEST
        try:
            content = json.loads(path.read_text("utf-8"))
            if (content.pop("kind"), content.pop("version")) != (_KIND, _VERSION):
                raise ValueError("another version")
            return Manifest(**{**content, "plan": _to_plan(content["plan"])})
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"the manifest of a film that was begun must be readable, got {path} ({one_line(error)}); "
                "begin anew with --force"
            ) from error

    def _compare(self, what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        """Check that two descriptions say the same.

        Raises:
            InputError: If they do not; it names what differs.
        """
        differences = [
            f"{name} {_shown(now.get(name))} instead of {_shown(before.get(name))}"
            for name in dict.fromkeys((*before, *now))
            if before.get(name) != now.get(name)
        ]
        if differences:
            raise InputError(
                f"{what} of a film that was begun must stay the same, got {', '.join(differences)}; what is "
                f"finished is in {self.path}: give what it was begun with, or begin anew with --force"
            )


def is_begun_with(folder: Path, name: str, value: str) -> bool:
    """Tell whether the film of a folder was begun with a setting of a value."""
    try:
        return json.loads((folder / _MANIFEST).read_text("utf-8"))["settings"].get(name) == value
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def identify(path: Path) -> dict[str, Any]:
    """Say what a file is known by: size, time of change, and a checksum of its beginning and end."""
    status = path.stat()
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        digest.update(file.read(_SAMPLED))
        file.seek(max(0, status.st_size - _SAMPLED))
        digest.update(file.read(_SAMPLED))
    return {"bytes": status.st_size, "changed_ns": status.st_mtime_ns, "sha256_of_ends": digest.hexdigest()}


def _shown(value: Any) -> str:
    """Write a value for a message."""
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _checksum(path: Path) -> str:
    """Return a file's SHA-256."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(_SAMPLED), b""):
            digest.update(block)
    return digest.hexdigest()


def _to_plan(content: Mapping[str, Any]) -> FilmPlan:
    """Make a plan of what a manifest says."""
    return FilmPlan(tuple(_to_scenes(content["scenes"])), SegmentRule(**content["rule"]))


def _to_scenes(content: list[dict[str, Any]]) -> Iterator[FilmScene]:
    """Make scenes of what a manifest says."""
    for scene in content:
        box, measured = scene["box"], scene["depth_range"]
        entries = [
            Entry(**{**entry, "depth_range": entry["depth_range"] and tuple(entry["depth_range"])})
            for entry in scene["entries"]
        ]
        yield FilmScene(
            frames=scene["frames"],
            end=scene["end"],
            step=scene["step"],
            box=box and PictureBox(*box),
            entries=tuple(entries),
            depth_range=measured and SceneRange(**measured),
            statistics=scene["statistics"] and SceneStatistics(*scene["statistics"]),
        )
