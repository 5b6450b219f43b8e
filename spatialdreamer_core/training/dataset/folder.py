"""The folder of a dataset while it is built: its settings, what is known of videos, what became of scenes.

    DIR/settings.json        what the data depend on; a folder belongs to one set of settings
    DIR/videos/NAME.json     the scenes of a video
    DIR/scenes/NAME.json     what became of a scene, once it is finished
    DIR/clips/NAME.mkv       x1, x2, x̃1 and the mask of a clip (`clip_file`), and NAME.json, its record
    DIR/dataset.json         all clips, written last
    DIR/summary.jpg          pictures of some of them

Each file appears when it is whole, and what is whole is not made again. Nothing in a file tells of time,
place or number of processes.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from ... import __version__
from ...atomic import write_error
from ...checks import InputError
from ...locking import FileLock
from .config import DatasetConfig
from .reader import find_damage
from .records import (
    ClipRecord,
    check_version,
    from_record,
    read_json,
    to_record,
    with_version,
    write_json,
)
from .scenes import Video

_SETTINGS, _VIDEOS, _SCENES, _LOCK = "settings.json", "videos", "scenes", ".lock"
_PACKAGES = ("torch", "numpy", "av", "opencv-python", "opencv-python-headless", "scenedetect", "transformers")
_LOGGER = logging.getLogger(__name__)


class SceneClips(NamedTuple):
    """What became of a scene."""

    clips: list[ClipRecord]
    faults: Counter[str]  # why clips were left out


class DatasetFolder:
    """The folder of a dataset that is being built.

    Args:
        path: Where it is, or is to be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def opened(self, settings: dict[str, Any]) -> Iterator[None]:
        """Make the folder, or check that it was begun with the same settings; keep other builds out.

        Raises:
            InputError: If it is another one's, was begun with other settings, or cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / _LOCK)
            is_ours = lock.acquire()
        except OSError as error:
            raise write_error(self.path, error, name="dataset") from error
        if not is_ours:
            raise InputError(
                f"dataset must be built by one run at a time, got {self.path}, which another one is "
                "building; wait for it"
            )
        try:
            self._check(settings)
            yield
        finally:
            lock.release()

    def _check(self, settings: dict[str, Any]) -> None:
        """Check that the folder is new, or was begun with the same settings; newer ones had defaults."""
        path = self.path / _SETTINGS
        if not path.exists():
            others = sorted(entry.name for entry in self.path.iterdir() if not entry.name.startswith("."))
            if others:
                raise InputError(
                    f"output must be a new folder or a dataset, got {self.path} with {others[0]} in it; "
                    "choose another one"
                )
            write_json(path, with_version({"settings": settings, "made_with": _versions()}))
            return
        content = read_json(path)
        check_version(content, path)
        before = content.get("settings")
        for name, value in settings.items():
            was = {**DatasetConfig().content(), **before}.get(name) if isinstance(before, dict) else None
            if was != value:
                raise InputError(
                    f"{name} must be {was!r:.80}, with which {self.path} was begun, got {value!r:.80}; "
                    "choose another folder for other settings"
                )
        if content.get("made_with") != _versions():
            _LOGGER.warning(
                "%s was begun with other versions of packages: new clips may differ from it in details",
                self.path,
            )

    def begun_with(self) -> dict[str, Any]:
        """Return the settings and the versions that it was begun with."""
        content = read_json(self.path / _SETTINGS)
        return {name: content[name] for name in ("settings", "made_with")}

    def write_video(self, video: Video) -> None:
        """Note the scenes of a video."""
        write_json(self.path / _VIDEOS / f"{video.name}.json", with_version(video.to_json()))

    def read_video(self, name: str) -> Video | None:
        """Return what is known of a video; None if it has to be looked at."""
        path = self.path / _VIDEOS / f"{name}.json"
        if not path.is_file():
            return None
        try:
            content = read_json(path)
            check_version(content, path)
            return Video.from_json(content)
        except (InputError, KeyError, TypeError):
            return None

    def list_videos(self) -> list[Video]:
        """Return all videos that have been looked at, of earlier builds too."""
        names = sorted(path.stem for path in (self.path / _VIDEOS).glob("*.json"))
        return [video for name in names if (video := self.read_video(name)) is not None]

    def write_scene(self, name: str, scene: SceneClips) -> None:
        """Note what became of a scene."""
        content = {
            "clips": [from_record(record) for record in scene.clips],
            "left_out": dict(sorted(scene.faults.items())),
        }
        write_json(self.path / _SCENES / f"{name}.json", with_version(content))

    def read_scene(self, name: str) -> SceneClips | None:
        """Return what became of a scene; None if it has to be rendered, or clips of it are missing."""
        path = self.path / _SCENES / f"{name}.json"
        if not path.is_file():
            return None
        try:
            content = read_json(path)
            check_version(content, path)
            clips = [to_record(entry, path) for entry in content["clips"]]
            faults = Counter({str(reason): int(count) for reason, count in content["left_out"].items()})
        except (InputError, KeyError, TypeError, ValueError, AttributeError):
            return None
        is_whole = all(find_damage(self.path, record, verify=False) is None for record in clips)
        return SceneClips(clips, faults) if is_whole else None


def _versions() -> dict[str, str]:
    """Return the versions of what makes the data."""
    found = {"spatialdreamer": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
