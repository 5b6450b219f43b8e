"""Build a DVG dataset of videos: scenes, clips, held-out scenes, summary.

    DIR/settings.json        what the data depend on; a folder belongs to one set of settings
    DIR/videos/NAME.json     the scenes of a video
    DIR/scenes/NAME.json     what became of a scene, once it is finished
    DIR/clips/NAME.mkv       x1, x2, x̃1 and the mask of a clip (`clip_file`), and NAME.json, its record
    DIR/dataset.json         all clips, written last
    DIR/summary.jpg          pictures of some of them

Each file appears when it is whole, and what is whole is not made again: a build that is run again after it
was interrupted, at whatever moment, ends in the same bytes. Nothing in a file tells of time, place or number
of processes.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ... import __version__
from ...atomic import write_error
from ...checks import InputError, check_type
from ...depth import resolve_estimator
from ...locking import FileLock
from ...pipeline import FillerConfig, choose_device
from .config import DatasetConfig
from .reader import find_damage, open_dataset
from .records import (
    DATASET_JSON,
    check_version,
    from_record,
    read_json,
    to_record,
    with_version,
    write_json,
)
from .scene_clips import SceneClips, SceneRenderer
from .scenes import Scene, SceneChanged, Video, choose_held_out, find_scenes, name_video, place_clips
from .sheet import write_sheet
from .workers import OnStep, run_tasks

SUMMARY = "summary.jpg"
_SETTINGS, _VIDEOS, _SCENES, _LOCK = "settings.json", "videos", "scenes", ".lock"
_PICTURED = 12  # clips in the summary
_MOST_WORKERS = 8
_PACKAGES = ("torch", "numpy", "av", "opencv-python", "opencv-python-headless", "scenedetect", "transformers")
TOO_SHORT, UNREADABLE = "too short", "unreadable"
_LOGGER = logging.getLogger(__name__)

OnProgress = Callable[[str, int, "int | None"], None]


@dataclass(frozen=True)
class Built:
    """What a dataset holds.

    Attributes:
        folder: Its folder.
        clips: Number of clips.
        held_out: Of them, those that are held out.
        videos: Number of videos.
        scenes: Number of their scenes.
        empty_scenes: Scenes without a clip, by the reason that most of their clips were left out for.
        faults: Clips that were left out, by the reason.
        skipped: Videos that could not be used, and why.
    """

    folder: Path
    clips: int
    held_out: int
    videos: int
    scenes: int
    empty_scenes: dict[str, int]
    faults: dict[str, int]
    skipped: dict[str, str]


def build_dataset(
    videos: Sequence[Path],
    folder: str | os.PathLike[str],
    config: DatasetConfig | None = None,
    *,
    filler: FillerConfig | None = None,
    on_progress: OnProgress | None = None,
) -> Built:
    """Build a dataset, or go on with one, or add videos to one.

    With several workers (`config.workers`) the calling program must be importable, as `multiprocessing` asks:
    its own work stands under `if __name__ == "__main__"`.

    Args:
        videos: The videos.
        folder: A new folder, or one of a build with the same settings.
        config: The settings.
        filler: What fills the holes of x2; None is fast fill.
        on_progress: Called now and then with what is going on, the things done and their total if it is
            known; may raise to interrupt.

    Raises:
        InputError: If a setting cannot be used, the folder is another one's, a file cannot be written, or no
            clip comes of it.
    """
    config, filler, folder = config or DatasetConfig(), filler or FillerConfig(), Path(folder)
    check_type("config", config, DatasetConfig)
    config.check()
    filler.check()
    config = replace(config, depth=resolve_estimator(config.depth))
    report = on_progress or (lambda what, done, total: None)
    with _opened(folder, _settings(config, filler)):
        make_worker = partial(SceneRenderer, folder, config, filler)
        found, skipped = _look_at(videos, folder, config, report)
        _render_all(found, folder, config, make_worker, report)
        return _finish(folder, config, skipped)


def count_workers(config: DatasetConfig) -> int:
    """Return the number of processes that settings mean."""
    if config.workers:
        return config.workers
    on_gpu = choose_device(config.device).type == "cuda"
    return 1 if on_gpu else max(1, min(_MOST_WORKERS, os.cpu_count() or 1))


def _settings(config: DatasetConfig, filler: FillerConfig) -> dict[str, Any]:
    """Return what the data depend on."""
    options = {
        name: os.fspath(value) if isinstance(value, os.PathLike) else value
        for name, value in filler.options.items()
    }
    return {**config.content(), "filler": filler.filler, "filler_options": options}


@contextmanager
def _opened(folder: Path, settings: dict[str, Any]) -> Iterator[None]:
    """Make the folder or check that it is one of these settings, and keep other builds out."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK)
        is_ours = lock.acquire()
    except OSError as error:
        raise write_error(folder, error, name="dataset") from error
    if not is_ours:
        raise InputError(
            f"dataset must be built by one run at a time, got {folder}, which another one is building; "
            "wait for it"
        )
    try:
        _check_settings(folder, settings)
        yield
    finally:
        lock.release()


def _check_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Check that a folder is new, or was begun with the same settings."""
    path = folder / _SETTINGS
    if not path.exists():
        others = [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")]
        if others:
            raise InputError(
                f"output must be a new folder or a dataset, got {folder} with {sorted(others)[0]} in it; "
                "choose another one"
            )
        write_json(path, with_version({"settings": settings, "made_with": _versions()}))
        return
    content = read_json(path)
    check_version(content, path)
    before = content.get("settings")
    for name, value in settings.items():
        was = before.get(name) if isinstance(before, dict) else None
        if was != value:
            raise InputError(
                f"{name} must be what {folder} was begun with, {was!r:.80}, got {value!r:.80}; choose "
                "another folder for other settings"
            )
    if content.get("made_with") != _versions():
        _LOGGER.warning(
            "%s was begun with other versions of packages: new clips may differ from it in details", folder
        )


def _versions() -> dict[str, str]:
    """Return the versions of what makes the data."""
    found = {"spatialdreamer": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _look_at(
    videos: Sequence[Path], folder: Path, config: DatasetConfig, report: OnProgress
) -> tuple[dict[Path, Video], dict[str, str]]:
    """Find the scenes of each video; those that cannot be used are told and left out."""
    named: dict[str, Path] = {}
    skipped: dict[str, str] = {}
    for path in videos:
        try:
            name = name_video(path)
        except OSError as error:
            raise InputError(f"VIDEO must be a readable file, got {path} ({error.strerror})") from error
        if name in named:
            skipped[path.name] = f"it is the same as {named[name]}"
        else:
            named[name] = path
    found = {path: video for name, path in named.items() if (video := _read_video(folder, name)) is not None}
    missing = [path for path in named.values() if path not in found]
    looking = run_tasks(
        _find_scenes,
        missing,
        make_worker=partial(_Finder, config),
        workers=count_workers(config),
        on_progress=lambda done: report("looking for scenes", done, None),
    )
    with closing(looking) as results:
        for path, result in results:
            if isinstance(result, str):
                skipped[path.name] = result
                continue
            found[path] = result
            write_json(folder / _VIDEOS / f"{result.name}.json", with_version(result.to_json()))
            if result.fault is not None:
                _LOGGER.warning("%s is used as far as it goes: %s", path.name, result.fault)
    for name, reason in skipped.items():
        _LOGGER.warning("%s is left out: %s", name, reason)
    return found, skipped


@dataclass(frozen=True)
class _Finder:
    """What a process needs to find scenes."""

    config: DatasetConfig
    on_step: OnStep


def _find_scenes(finder: _Finder, path: Path) -> Video | str:
    """Find the scenes of a video, or say why it cannot be used."""
    try:
        return find_scenes(path, finder.config, on_frame=lambda: finder.on_step(1))
    except InputError as error:
        return str(error)


def _read_video(folder: Path, name: str) -> Video | None:
    """Return what is known of a video that has been looked at."""
    path = folder / _VIDEOS / f"{name}.json"
    if not path.is_file():
        return None
    try:
        content = read_json(path)
        check_version(content, path)
        return Video.from_json(content)
    except (InputError, KeyError, TypeError):
        return None  # it is looked at again


def _render_all(
    found: dict[Path, Video],
    folder: Path,
    config: DatasetConfig,
    make_worker: Callable[[OnStep], SceneRenderer],
    report: OnProgress,
) -> None:
    """Render the clips of all scenes that are not finished."""
    tasks = [
        (path, video, scene)
        for path, video in found.items()
        for scene in video.scenes
        if _read_scene(folder, scene.name) is None
    ]
    long_enough = [task for task in tasks if place_clips(task[2].frames, config)]
    for _, _, scene in tasks:
        if scene.frames < config.span:
            _write_scene(folder, scene.name, SceneClips([], Counter({TOO_SHORT: 1})))
    total = sum(len(place_clips(scene.frames, config)) for _, _, scene in long_enough)
    rendering = run_tasks(
        _render_scene,
        long_enough,
        make_worker=make_worker,
        workers=count_workers(config),
        on_progress=lambda done: report("rendering clips", done, total),
    )
    with closing(rendering) as results:
        for (_, _, scene), clips in results:
            if isinstance(clips, str):
                _LOGGER.warning("scene %s is left out: %s", scene.name, clips)
                clips = SceneClips([], Counter({UNREADABLE: 1}))
            _write_scene(folder, scene.name, clips)


def _render_scene(renderer: SceneRenderer, task: tuple[Path, Video, Scene]) -> SceneClips | str:
    """Render the clips of one scene, or say why it cannot be read."""
    path, video, scene = task
    try:
        return renderer.render(path, video, scene)
    except SceneChanged as error:
        return str(error)


def _write_scene(folder: Path, name: str, clips: SceneClips) -> None:
    """Note what became of a scene."""
    content = {
        "clips": [from_record(record) for record in clips.clips],
        "left_out": dict(sorted(clips.faults.items())),
    }
    write_json(folder / _SCENES / f"{name}.json", with_version(content))


def _read_scene(folder: Path, name: str) -> SceneClips | None:
    """Return what became of a scene, or None if it is not finished."""
    path = folder / _SCENES / f"{name}.json"
    if not path.is_file():
        return None
    try:
        content = read_json(path)
        check_version(content, path)
        clips = [to_record(entry, path) for entry in content["clips"]]
        faults = Counter({str(reason): int(count) for reason, count in content["left_out"].items()})
    except (InputError, KeyError, TypeError, ValueError, AttributeError):
        return None  # it is rendered again
    if any(find_damage(folder, record, verify=False) for record in clips):
        return None
    return SceneClips(clips, faults)


def _finish(folder: Path, config: DatasetConfig, skipped: dict[str, str]) -> Built:
    """Write what holds the dataset together: all finished scenes, of these videos and earlier ones."""
    videos = [
        video
        for path in sorted((folder / _VIDEOS).glob("*.json"))
        if (video := _read_video(folder, path.stem)) is not None
    ]
    scenes = {
        scene.name: result
        for video in videos
        for scene in video.scenes
        if (result := _read_scene(folder, scene.name)) is not None
    }
    faults: Counter[str] = sum((result.faults for result in scenes.values()), Counter())
    empty = Counter(result.faults.most_common(1)[0][0] for result in scenes.values() if not result.clips)
    records = [record for result in scenes.values() for record in result.clips]
    if not records:
        reasons = [f"{count} clips {reason}" for reason, count in sorted(faults.items())]
        reasons += [f"{name}: {reason}" for name, reason in skipped.items()]
        raise InputError(
            f"videos must give at least one clip, got none from {len(scenes)} scenes ({'; '.join(reasons)}); "
            "give others, or lower `frames`, `stride` or the thresholds"
        )
    held_out = choose_held_out({record.scene for record in records}, share=config.held_out, seed=config.seed)
    records = [replace(record, held_out=record.scene in held_out) for record in records]
    records.sort(key=lambda record: record.name)
    built = Built(
        folder,
        clips=len(records),
        held_out=sum(record.held_out for record in records),
        videos=len(videos),
        scenes=len(scenes),
        empty_scenes=dict(sorted(empty.items())),
        faults=dict(sorted(faults.items())),
        skipped=skipped,
    )
    counts = {name: getattr(built, name) for name in ("videos", "scenes", "empty_scenes", "faults")}
    settings = read_json(folder / _SETTINGS)
    write_json(
        folder / DATASET_JSON,
        with_version(
            {
                "settings": settings["settings"],
                "made_with": settings["made_with"],
                "counts": counts,
                "clips": [from_record(record) for record in records],
            }
        ),
    )
    write_sheet(open_dataset(folder), folder / SUMMARY, clips=_PICTURED, overwrite=True)
    return built


def summarise(built: Built) -> str:
    """Tell what a dataset holds, in a few lines."""
    lines = [
        f"{built.folder}: {_count(built.clips, 'clip')} ({built.held_out} held out) of "
        f"{_count(built.scenes, 'scene')} of {_count(built.videos, 'video')}"
    ]
    for what, reasons in (("scenes without a clip", built.empty_scenes), ("clips left out", built.faults)):
        if reasons:
            told = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
            lines.append(f"{what}: {told}")
    if built.skipped:
        lines.append(f"videos left out: {', '.join(built.skipped)}")
    return "\n".join(lines)


def _count(number: int, thing: str) -> str:
    """Write a number of things."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
