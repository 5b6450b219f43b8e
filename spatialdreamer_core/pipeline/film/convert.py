"""A film converted segment by segment, so that what is finished survives whatever ends the process."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ... import __version__
from ...checks import InputError
from ...depth import DepthFile
from ...dvg import Placement
from ...fill import Filler
from ...flow import FlowEstimator
from ...memory import trim_heap
from ...video.completeness import IncompleteInput
from ...video.photo import save_photo
from ...video.writer import VideoWriter
from ..config import ConvertConfig
from ..parallax import DepthWatch
from ..placement import choose_placement, say_suggestion, wanted_placement
from ..preview import MiddleSheet
from .cluster import Spread
from .folder import FilmFolder, SegmentRecord, identify
from .join import join_segments
from .plan import FilmPlan, Segment, SegmentRule, cut_segments
from .segment import SegmentWork
from .sidecar import read_sidecar, settle, to_json
from .source import FilmSource, OnPass
from .spread import hand_out, make_task

_LOGGER = logging.getLogger(__name__)

LONG = 60.0  # s; a shorter film is made again sooner than its parts are looked after
_FULL_DISK = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_PREVIEW = "preview.png"
_NOT_COMPARED = ("resume",)

OnProgress = Callable[[int, "int | None", "np.ndarray | None"], None]


@dataclass(frozen=True)
class FilmResult:
    """What a conversion gave.

    Attributes:
        frames: Number of its pictures, which may be two a frame.
        faults: Where the film breaks off and why, if it is incomplete.
    """

    frames: int
    faults: tuple[IncompleteInput, ...]


def is_kept(config: ConvertConfig, *, seconds: float | None, frames: int | None, filler: Filler) -> bool:
    """Tell whether a film's finished segments are kept on disk (`ConvertConfig.resume`).

    Args:
        config: The settings.
        seconds: How long it is, if that is known.
        frames: How many frames it has, if that is known.
        filler: What fills its holes.
    """
    if config.sidecar is not None:
        return True
    if config.resume != "auto":
        return config.resume == "on"
    if seconds is None or frames is None:
        return True
    is_slow = getattr(filler, "refines_holes", False) and frames > SegmentRule().least
    return seconds > LONG or is_slow


def convert_film(
    source: FilmSource,
    folder: FilmFolder,
    writer: VideoWriter,
    *,
    flow: FlowEstimator,
    fillers: Mapping[str | None, Callable[[], Filler]],
    sheet: MiddleSheet,
    identity: Mapping[str, Any],
    rule: SegmentRule,
    total: int | None,
    on_progress: OnProgress,
    on_first_pass: OnPass | None,
    on_scene: Callable[[int, int], None] | None,
    spread: Spread | None = None,
    watch: DepthWatch | None = None,
) -> FilmResult:
    """Convert a film, or go on with one.

    Args:
        source: The film.
        folder: Its folder, which is held.
        writer: The writer of the whole film, which is not open yet.
        flow: Estimates the flow between frames.
        fillers: Load those that a sidecar may name; None is the film's.
        sheet: Takes the frame of which the contact sheet is made.
        identity: What filler and models are, see `convert`.
        rule: How long segments are.
        total: Number of frames, if it is known.
        on_progress: As of `convert`.
        on_first_pass: As of `convert`.
        on_scene: As of `convert`.
        spread: As of `convert`.
        watch: Looks at frames with their depth.

    Raises:
        InputError: If it was begun otherwise, or something cannot be read or written.
    """
    config = source.config
    rows = [] if config.sidecar is None else read_sidecar(config.sidecar)
    manifest, is_continued = folder.begin(
        settings={**settings_of(source, writer), **identity, "sidecar": to_json(rows)},
        source=identify(source.path),
        plan=lambda: source.plan(rule, flow=flow, total=total, on_progress=on_first_pass),
    )
    plan = manifest.plan
    settings = settle(
        rows,
        plan,
        place_plan(plan, source),
        time_base=source.info.time_base,
        fillers=[name for name in fillers if name is not None],
    )
    segments = cut_segments(plan, [scene.kind for scene in settings])
    suffix = writer.part_suffix
    finished = {segment.index: folder.find(segment, suffix) for segment in segments}
    done = sum(record.frames for record in finished.values() if record is not None)
    if is_continued:
        _LOGGER.info("%s: going on after %d of %d frames", source.path, done, plan.frames)
    pictures = config.layout().pictures_a_pair
    total = plan.frames * pictures
    report = _Report(plan, done, pictures, on_progress, on_scene)
    waiting = [segment for segment in segments if finished[segment.index] is None]
    with _telling_what_is_kept(folder, plan, finished):
        if spread is None:
            load = cache(lambda name: fillers[name]())
            work = SegmentWork(source, plan, settings, flow, load, writer, sheet, watch)
            made = _convert_here(work, waiting, folder, suffix, report)
        else:
            made = hand_out(
                spread.cluster,
                make_task(spread, source, plan, settings, writer, sheet),
                waiting,
                lambda segment: folder.segment_path(segment, suffix),
                sheet=sheet,
                on_pictures=report.note,
            )
        with closing(made):
            for segment, first_pts in made:
                finished[segment.index] = folder.record(segment, suffix, first_pts=first_pts)
                report.finish(segment)
                trim_heap()
                _keep_sheet(sheet, folder)
        with writer:
            join_segments(
                [folder.segment_path(segment, suffix) for segment in segments],
                [record.first_pts for record in finished.values() if record is not None],
                writer,
                on_frame=lambda number: on_progress(total, total, None),
            )
    _give_sheet(sheet, folder)
    return FilmResult(total, () if manifest.fault is None else (IncompleteInput(manifest.fault),))


def _convert_here(
    work: SegmentWork, segments: Sequence[Segment], folder: FilmFolder, suffix: str, report: _Report
) -> Generator[tuple[Segment, int], None, None]:
    """Convert segments in this process, one after another; yields each with the time of its first frame."""
    for segment in segments:
        on_frame = partial(report.note, segment)
        yield segment, work.convert(segment, folder.segment_path(segment, suffix), on_frame=on_frame)


class _Report:
    """Tells how far a film is, whose segments may be converted several at a time.

    Args:
        plan: The film.
        done: Frames that were finished before.
        pictures: How many each frame becomes.
        on_progress: As of `convert`.
        on_scene: As of `convert`.
    """

    def __init__(
        self,
        plan: FilmPlan,
        done: int,
        pictures: int,
        on_progress: OnProgress,
        on_scene: Callable[[int, int], None] | None,
    ) -> None:
        self._plan, self._pictures = plan, pictures
        self._on_progress, self._on_scene = on_progress, on_scene
        self._finished = done * pictures
        self._begun: dict[int, int] = {}  # pictures of each segment at work
        self._scene: int | None = None

    def note(self, segment: Segment, number: int, shown: np.ndarray | None = None) -> None:
        """Tell of a segment's picture, counted from 1."""
        self._begun[segment.index] = number
        scene = self._plan.scene_at(segment.first + max(0, number - 1) // self._pictures)
        if self._on_scene is not None and scene != self._scene:
            self._on_scene(scene + 1, len(self._plan.scenes))
        self._scene = scene
        self._on_progress(
            self._finished + sum(self._begun.values()), self._plan.frames * self._pictures, shown
        )

    def finish(self, segment: Segment) -> None:
        """Note that a segment's file is whole."""
        self._begun.pop(segment.index, None)
        self._finished += segment.frames * self._pictures


def place_plan(plan: FilmPlan, source: FilmSource) -> list[Placement]:
    """Choose the strength and place of each of a film's scenes, where no sidecar does."""
    config, shaping = source.config, source.config.shaping(builtin=source.depth is None)
    scenes = [scene.statistics for scene in plan.scenes if scene.statistics is not None]
    if not config.strength().needs_statistics:
        return [wanted_placement(config)] * len(plan.scenes)
    say_suggestion(scenes, config, shaping)
    times = [float(scene.start * source.info.time_base) for scene in plan.scenes]
    return [
        choose_placement(scene, config, shaping, time=time) for scene, time in zip(scenes, times, strict=True)
    ]


def settings_of(source: FilmSource, writer: VideoWriter) -> dict[str, Any]:
    """Return every setting that the result depends on, as JSON has it."""
    config = source.config
    settings = {
        entry.name: getattr(config, entry.name) for entry in fields(config) if entry.name not in _NOT_COMPARED
    }
    if isinstance(source.depth, DepthFile):
        path = Path(source.depth.path)
        settings["depth_file"] = str(path.absolute())
        if path.is_file():
            settings["depth_file_content"] = identify(path)
    elif source.depth is None:
        settings["depth"] = "builtin"
    else:
        settings["depth"] = source.depth.spec.name
    return {
        **settings,
        "device": source.device.type,
        "codec": writer.codec,
        "container": writer.path.suffix.lower(),
        "version": __version__,
    }


def describe_filler(filler: Filler) -> dict[str, Any]:
    """Return what can be known of a filler: its class and settings."""
    settings = getattr(filler, "config", None)
    known = asdict(settings) if is_dataclass(settings) and not isinstance(settings, type) else {}
    return {"filler": type(filler).__name__, **{f"filler {name}": value for name, value in known.items()}}


@contextmanager
def _telling_what_is_kept(
    folder: FilmFolder, plan: FilmPlan, finished: Mapping[int, SegmentRecord | None]
) -> Iterator[None]:
    """Say what stays where the work ends before the film is whole, and on a full disk how much is needed.

    Raises:
        InputError: Instead of the error of a full disk.
    """
    try:
        yield
    except BaseException as error:
        records = [record for record in finished.values() if record is not None]
        frames = sum(record.frames for record in records)
        if isinstance(error, InputError) and getattr(error.__cause__, "errno", None) in _FULL_DISK:
            raise InputError(
                f"output folder must have room for the film, got a full disk in {folder.path.parent}; "
                f"{_room_needed(records, plan)}, then run the same command again, which goes on after the "
                f"{frames} of {plan.frames} frames that are finished"
            ) from error
        if frames:
            kept = (
                f"{frames} of {plan.frames} frames are finished and stay in {folder.path}; the same command "
                "goes on after them"
            )
            if isinstance(error, KeyboardInterrupt) and error.args:
                error.args = (f"{str(error).split(';')[0]}; {kept}",)  # its own says that nothing was left
            else:
                _LOGGER.info("%s", kept)
        raise


def _room_needed(records: list[SegmentRecord], plan: FilmPlan) -> str:
    """Say how much room the rest takes: what is not finished, and all of it once more for the film itself."""
    frames = sum(record.frames for record in records)
    if not frames:
        return "free space"
    per_frame = sum(record.bytes for record in records) / frames
    megabytes = per_frame * (plan.frames - frames + plan.frames) / 1e6
    return f"free about {max(1, round(megabytes))} MB"


def _keep_sheet(sheet: MiddleSheet, folder: FilmFolder) -> None:
    """Keep the contact sheet with the segments: it appears when the film does."""
    path = folder.path / _PREVIEW
    if sheet.drawn is not None and not path.exists():
        save_photo(path, sheet.drawn, suffix=path.suffix)


def _give_sheet(sheet: MiddleSheet, folder: FilmFolder) -> None:
    """Write the contact sheet, which an earlier run may have drawn."""
    path = folder.path / _PREVIEW
    if sheet.is_wanted and sheet.drawn is None and path.exists():
        with Image.open(path) as kept:
            sheet.give(np.array(kept.convert("RGB")))
    sheet.write(film_ended=True)
