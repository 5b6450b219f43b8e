"""Build a DVG dataset of videos: scenes, clips, held-out scenes, summary.

What is finished is kept in the folder (`folder`) and not made again: a build that is run again after it was
interrupted, at whatever moment, ends in the same bytes.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ...checks import InputError, check_type
from ...depth import resolve_estimator
from ...evaluation.views import check_exists, list_files
from ...fill import WAY_BACK
from ...pipeline import FillerConfig, choose_device
from ...video.naming import FILM_SUFFIXES
from .config import DatasetConfig
from .folder import DatasetFolder, SceneClips
from .reader import open_dataset
from .records import DATASET_JSON, ClipRecord, from_record, with_version, write_json
from .scene_clips import SceneRenderer
from .scenes import (
    CHECKSUM_DIGITS,
    Scene,
    SceneChanged,
    Video,
    choose_held_out,
    find_scenes,
    name_video,
    place_clips,
)
from .sheet import write_sheet
from .workers import OnStep, run_tasks

SUMMARY = "summary.jpg"
_MOST_WORKERS = 8
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
    config, filler, kept = config or DatasetConfig(), filler or FillerConfig(), DatasetFolder(Path(folder))
    check_type("config", config, DatasetConfig)
    config.check()
    filler.check()
    config = replace(config, depth=resolve_estimator(config.depth))
    report = on_progress or (lambda what, done, total: None)
    with kept.opened(_settings(config, filler)):
        make_worker = partial(SceneRenderer, kept.path, config, filler)
        found, skipped = _look_at(videos, kept, config, report)
        lost = _render_all(found, kept, config, make_worker, report)
        return _finish(kept, config, skipped, lost)


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


def _look_at(
    videos: Sequence[Path], folder: DatasetFolder, config: DatasetConfig, report: OnProgress
) -> tuple[dict[Path, Video], dict[str, str]]:
    """Find the scenes of each video; those that cannot be used are told and left out."""
    named: dict[str, Path] = {}
    checksums: dict[str, Path] = {}
    skipped: dict[str, str] = {}
    for path in videos:
        try:
            name = name_video(path)
        except OSError as error:
            raise InputError(f"VIDEO must be a readable file, got {path} ({error.strerror})") from error
        same = checksums.setdefault(name[-CHECKSUM_DIGITS:], path)
        if same is path:
            named[name] = path
        else:
            skipped[path.name] = f"it is the same as {same}"
    found = {path: video for name, path in named.items() if (video := folder.read_video(name)) is not None}
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
            folder.write_video(result)
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


def _render_all(
    found: dict[Path, Video],
    folder: DatasetFolder,
    config: DatasetConfig,
    make_worker: Callable[[OnStep], SceneRenderer],
    report: OnProgress,
) -> dict[str, SceneClips]:
    """Render the clips of all scenes that are not finished; returns those that cannot be read this time."""
    tasks = []
    for path, video in found.items():
        for scene in video.scenes:
            if folder.read_scene(scene.name) is not None:
                continue
            if place_clips(scene.frames, config):
                tasks.append((path, video, scene))
            else:
                folder.write_scene(scene.name, SceneClips([], Counter({TOO_SHORT: 1})))
    total = sum(len(place_clips(scene.frames, config)) for _, _, scene in tasks)
    rendering = run_tasks(
        _render_scene,
        tasks,
        make_worker=make_worker,
        workers=count_workers(config),
        on_progress=lambda done: report("rendering clips", done, total),
    )
    lost = {}
    with closing(rendering) as results:
        for (_, _, scene), clips in results:
            if isinstance(clips, str):
                _LOGGER.warning("scene %s is left out: %s", scene.name, clips)
                lost[scene.name] = SceneClips([], Counter({UNREADABLE: 1}))
            else:
                folder.write_scene(scene.name, clips)
    return lost


def _render_scene(renderer: SceneRenderer, task: tuple[Path, Video, Scene]) -> SceneClips | str:
    """Render the clips of one scene, or say why it cannot be read."""
    path, video, scene = task
    try:
        return renderer.render(path, video, scene)
    except SceneChanged as error:
        return str(error)


def _finish(
    folder: DatasetFolder, config: DatasetConfig, skipped: dict[str, str], lost: dict[str, SceneClips]
) -> Built:
    """Write what holds the dataset together: all finished scenes, of these videos and earlier ones."""
    videos = folder.list_videos()
    scenes = {
        scene.name: result
        for video in videos
        for scene in video.scenes
        if (result := lost.get(scene.name) or folder.read_scene(scene.name)) is not None
    }
    records = _choose_records(scenes, config)
    faults: Counter[str] = sum((result.faults for result in scenes.values()), Counter())
    empty = Counter(result.faults.most_common(1)[0][0] for result in scenes.values() if not result.clips)
    if not records:
        reasons = [f"{count} {reason}" for reason, count in sorted(faults.items())]
        reasons += [f"{name}: {reason}" for name, reason in skipped.items()]
        raise InputError(
            f"videos must give at least one clip, got none of {_count(len(scenes), 'scene')} "
            f"({'; '.join(reasons)}); give others, or lower `frames`, `stride` or the thresholds"
        )
    built = Built(
        folder.path,
        clips=len(records),
        held_out=sum(record.held_out for record in records),
        videos=len(videos),
        scenes=len(scenes),
        empty_scenes=dict(sorted(empty.items())),
        faults=dict(sorted(faults.items())),
        skipped=skipped,
    )
    content = {
        **folder.begun_with(),
        "counts": {name: getattr(built, name) for name in ("videos", "scenes", "empty_scenes", "faults")},
        "clips": [from_record(record) for record in records],
    }
    write_json(folder.path / DATASET_JSON, with_version(content))
    write_sheet(open_dataset(folder.path), folder.path / SUMMARY, overwrite=True)
    return built


def _choose_records(scenes: dict[str, SceneClips], config: DatasetConfig) -> list[ClipRecord]:
    """List the clips of all scenes by name, and hold out those of some scenes: such as lie on x1 alone."""
    with_clips = {name for name, scene in scenes.items() if scene.clips}
    held_out = choose_held_out(with_clips, share=config.held_out, seed=config.seed)
    records = [record for name in sorted(with_clips) for record in scenes[name].clips]
    marked = [replace(record, held_out=record.scene in held_out) for record in records]
    return [record for record in marked if not record.held_out or record.way_back == WAY_BACK.default]


def list_videos(paths: Sequence[Path]) -> list[Path]:
    """List the videos that paths stand for: a folder stands for those in it, by their suffixes.

    Raises:
        InputError: If a path is missing, or a folder without videos.
    """
    videos = []
    for path in paths:
        check_exists(path, name="VIDEO")
        found = [path]
        if path.is_dir():
            files = list_files(path, name="VIDEO")
            found = [file for file in files if file.suffix.lower() in FILM_SUFFIXES]
        if not found:
            raise InputError(f"VIDEO must be a video or a folder of videos, got none in {path}")
        videos += found
    return videos


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
