"""A film's plan: its scenes, found in one pass, and the segments that are converted and kept one by one.

A segment is one whole scene or several short ones, for a kill costs at most one segment and each costs the
time to fill and empty the stages. Nothing is carried across a cut, so segments are independent of each other.

A scene that is longer than `SegmentRule.most` is cut into parts. What stages carry through a scene (the
steadied depth, what fast fill has seen, the frames that a window begins with) is begun anew some frames
before each part, which are converted and dropped. That is the rule whether a run is interrupted or not, so
both give the same frames; a scene's range of depth is measured over all of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...bars import PictureBox
from ...depth import SceneRange, SceneStatistics, working_frame
from ...video.reader import VideoFrame
from ..pictures import SceneDetector


@dataclass(frozen=True)
class SegmentRule:
    """How long segments are, in frames.

    Attributes:
        least: Scenes are put together until a segment has as many.
        most: A longer scene is cut into parts of this length; the last one may have `least` more.
        run_in: Frames before a part at which the state of its stages begins.
    """

    least: int = 240
    most: int = 1440
    run_in: int = 120


@dataclass(frozen=True)
class Entry:
    """A frame at which a conversion can begin.

    Attributes:
        frame: Its number in the film, from 0.
        pts: Its time in units of the film's time base.
        checksum: Of its pixels.
        depth_range: The mean range of its depth and the next frames', which depth models need
            (`MeasuredScene.start_range`), else None.
    """

    frame: int
    pts: int
    checksum: int
    depth_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class FilmScene:
    """A scene of a film.

    Attributes:
        frames: Number of its frames.
        end: Time at which it ends, in units of the film's time base.
        step: The least time from a frame to the next one, or to the end.
        box: Where its picture lies in the frames; None: everywhere.
        entries: Its first frame, and the beginnings of its parts' run-ins.
        depth_range: Range of its depth, where that is measured.
        statistics: What its strength and place are chosen by, where the settings ask for that.
    """

    frames: int
    end: int
    step: int
    box: PictureBox | None
    entries: tuple[Entry, ...]
    depth_range: SceneRange | None = None
    statistics: SceneStatistics | None = None

    @property
    def first(self) -> int:
        """The number of its first frame in the film."""
        return self.entries[0].frame

    @property
    def start(self) -> int:
        """The time of its first frame, in units of the film's time base."""
        return self.entries[0].pts


@dataclass(frozen=True)
class Segment:
    """What is converted and kept as one file.

    Attributes:
        index: Its number in the film, from 0.
        first: The number of its first frame in the film.
        frames: Number of its frames.
        scenes: Numbers of its scenes, from 0.
        part: Which entry of its scene it begins at; 0 but for a part of a long scene.
        run_in: Frames before the first one that are converted and dropped.
    """

    index: int
    first: int
    frames: int
    scenes: tuple[int, ...]
    part: int = 0
    run_in: int = 0


@dataclass(frozen=True)
class FilmPlan:
    """A film's scenes and the rule by which they become segments."""

    scenes: tuple[FilmScene, ...]
    rule: SegmentRule = field(default_factory=SegmentRule)

    @property
    def frames(self) -> int:
        """Number of the film's frames."""
        return sum(scene.frames for scene in self.scenes)

    def scene_at(self, frame: int) -> int:
        """Return the number of the scene that a frame belongs to."""
        firsts = [scene.first for scene in self.scenes]
        return int(np.searchsorted(firsts, frame, side="right")) - 1


def cut_segments(plan: FilmPlan, kinds: Sequence[object] | None = None) -> list[Segment]:
    """Cut a film into segments, in order.

    Args:
        plan: The film.
        kinds: Of each scene what it is converted with, such as the filler's name: a segment has one kind.
    """
    segments: list[Segment] = []
    waiting: list[int] = []

    def close() -> None:
        if waiting:
            scenes = [plan.scenes[number] for number in waiting]
            frames = sum(scene.frames for scene in scenes)
            segments.append(Segment(len(segments), scenes[0].first, frames, tuple(waiting)))
            waiting.clear()

    for number, scene in enumerate(plan.scenes):
        if waiting and kinds is not None and kinds[number] != kinds[waiting[-1]]:
            close()
        if len(scene.entries) > 1:
            close()
            for part, (start, stop) in enumerate(_parts(scene, plan.rule)):
                run_in = start - (scene.entries[part].frame - scene.first)
                segments.append(
                    Segment(len(segments), scene.first + start, stop - start, (number,), part, run_in)
                )
            continue
        waiting.append(number)
        if sum(plan.scenes[each].frames for each in waiting) >= plan.rule.least:
            close()
    close()
    return segments


def _parts(scene: FilmScene, rule: SegmentRule) -> Iterator[tuple[int, int]]:
    """Give the parts of a long scene as first and last frame, counted in the scene."""
    count = len(scene.entries)
    for part in range(count):
        yield part * rule.most, scene.frames if part == count - 1 else (part + 1) * rule.most


class ScenePlanner:
    """Finds the scenes of a film as its frames pass.

    Args:
        rule: Where long scenes are cut.
    """

    def __init__(self, rule: SegmentRule) -> None:
        self._rule = rule
        self._detector = SceneDetector()
        self._scenes: list[FilmScene] = []
        self._entries: list[Entry] = []  # of the scene at work
        self._box: PictureBox | None = None
        self._count = 0  # frames of the scene at work
        self._last = (0, 1)  # pts of the last frame, and the step to it
        self._step: int | None = None  # the least one in the scene at work

    def watch(self, frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
        """Yield the frames as they are, but for being told whether a scene starts with them."""
        for number, frame in enumerate(frames):
            small = working_frame(frame.image, levels=frame.levels)
            starts_scene = self._detector.step(frame, small) or number == 0
            if number:
                self._last = frame.pts, max(1, frame.pts - self._last[0])
                self._step = min(self._step or self._last[1], self._last[1])
            else:
                self._last = frame.pts, 1
            if starts_scene:
                self._close(end=frame.pts)
                self._box = None if frame.surround is None else frame.surround.box
            ahead = self._count + self._rule.run_in
            if starts_scene or (ahead % self._rule.most == 0 and ahead > self._rule.run_in):
                self._entries.append(Entry(number, frame.pts, checksum_of(frame)))
            self._count += 1
            yield frame._replace(starts_scene=starts_scene)

    def finish(self) -> FilmPlan:
        """Return the plan of the frames that have passed."""
        self._close(end=sum(self._last))
        return FilmPlan(tuple(self._scenes), self._rule)

    def _close(self, *, end: int) -> None:
        """Note the scene at work, if there is one; a part that would be too short is left out."""
        if self._count:
            kept = [
                entry
                for part, entry in enumerate(self._entries)
                if part == 0 or self._count - part * self._rule.most >= self._rule.least
            ]
            step = self._step or self._last[1]
            self._scenes.append(FilmScene(self._count, end, step, self._box, tuple(kept)))
        self._entries, self._count, self._step = [], 0, None


def checksum_of(frame: VideoFrame) -> int:
    """Return a checksum of a frame's pixels, black bars included."""
    whole = frame.image if frame.surround is None else frame.surround.frame
    return zlib.crc32(np.ascontiguousarray(whole).data)


def with_ranges(
    plan: FilmPlan, ranges: Sequence[SceneRange], starts: Sequence[Sequence[tuple[float, float]]] | None
) -> FilmPlan:
    """Return a plan with what was measured of each scene's depth.

    Args:
        plan: The plan.
        ranges: The range of each scene.
        starts: For each scene those at its entries, which depth models need; None: they are not needed.
    """
    scenes = []
    for number, (scene, measured) in enumerate(zip(plan.scenes, ranges, strict=True)):
        entries = scene.entries
        if starts is not None:
            entries = tuple(
                replace(entry, depth_range=start)
                for entry, start in zip(entries, starts[number], strict=True)
            )
        scenes.append(replace(scene, depth_range=measured, entries=entries))
    return replace(plan, scenes=tuple(scenes))


def with_statistics(plan: FilmPlan, statistics: Sequence[SceneStatistics]) -> FilmPlan:
    """Return a plan with what the strength and place of each scene are chosen by."""
    scenes = zip(plan.scenes, statistics, strict=True)
    return replace(plan, scenes=tuple(replace(scene, statistics=measured) for scene, measured in scenes))
