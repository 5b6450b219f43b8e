"""A film as it is read for its plan and for each of its segments: frames, and their depth."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from ...bars import Surround
from ...checks import InputError
from ...depth import (
    BuiltinStream,
    DepthFile,
    DepthFirstPass,
    DepthStream,
    FileDepth,
    MeasuredScene,
    ModelStream,
    working_frame,
)
from ...depth.first_pass import START_FRAMES
from ...flow import FlowEstimator
from ...video.completeness import IncompleteInput
from ...video.probe import VideoInfo
from ...video.reader import VideoFrame, count_frames, read_frames, until_broken
from ..clock import StageClock
from ..config import ConvertConfig
from ..depth_source import DepthSource, statistics_of
from ..first_pass import measure_film
from ..given_depth import measure_given_depth
from ..pictures import cut_pictures
from ..placement import measure_estimated
from ..prefetch import prefetch
from .plan import (
    Entry,
    FilmPlan,
    FilmScene,
    ScenePlanner,
    Segment,
    SegmentRule,
    checksum_of,
    with_ranges,
    with_statistics,
)
from .sidecar import SceneSettings

_LOGGER = logging.getLogger(__name__)

OnPass = Callable[[int, "int | None"], None]


@dataclass(frozen=True)
class FilmSource:
    """The film that is converted.

    Attributes:
        path: Its file.
        info: What `probe` says of it.
        config: The settings of the conversion.
        device: Where the conversion runs.
        depth: Where its depth comes from.
        clock: Adds up the time that each stage takes.
    """

    path: Path
    info: VideoInfo
    config: ConvertConfig
    device: torch.device
    depth: DepthSource
    clock: StageClock

    def read(self, *, start: float | None, report: bool = False) -> Generator[VideoFrame, None, None]:
        """Read frames from a moment on, up to the end that the settings name."""
        return read_frames(
            self.path,
            start=start,
            end=self.config.end,
            deinterlace=self.config.deinterlace == "auto",
            report=report,
            device=self.device,
        )

    def plan(
        self,
        rule: SegmentRule,
        *,
        flow: FlowEstimator | None = None,
        total: int | None,
        on_progress: OnPass | None,
    ) -> tuple[FilmPlan, str | None]:
        """Find the film's scenes and measure the depth of each, where that is needed.

        Args:
            rule: Where long scenes are cut.
            flow: Estimates the flow between frames; None: the scenes are only found, not placed.
            total: Number of frames, if it is known.
            on_progress: Called after each frame with the frames done and their total; may raise to interrupt.

        Returns:
            The plan, and where the film breaks off and why, if it is incomplete.

        Raises:
            InputError: If the film or its depth cannot be used.
        """
        faults: list[IncompleteInput] = []
        planner = ScenePlanner(rule)
        frames = planner.watch(
            cut_pictures(
                until_broken(self.read(start=self.config.start, report=True), faults.append),
                black_bars=self.config.black_bars,
                clock=self.clock,
                report=True,
            )
        )
        plan = self._measure(
            frames,
            planner,
            reaches_end=lambda: self.config.end is None and not faults,
            total=total,
            on_progress=on_progress,
        )
        if flow is not None and self.config.strength().needs_statistics:
            plan = self._with_statistics(plan, flow, on_progress)
        return plan, str(faults[0]) if faults else None

    def _with_statistics(self, plan: FilmPlan, flow: FlowEstimator, on_progress: OnPass | None) -> FilmPlan:
        """Measure what the strength and place of each scene are chosen by, if that is still to be done."""
        if all(scene.statistics is not None for scene in plan.scenes):
            return plan
        whole = Segment(0, plan.scenes[0].first, plan.frames, tuple(range(len(plan.scenes))))
        with self.depth_of(whole, plan) as depth:
            measured = measure_estimated(
                self.frames_from(plan.scenes),
                estimator=depth,
                flow=None if isinstance(self.depth, DepthFile) else flow,
                shaping=self.config.shaping(builtin=self.depth is None),
                total=plan.frames,
                on_progress=on_progress,
                clock=self.clock,
            )
        return with_statistics(plan, measured)

    def _measure(
        self,
        frames: Iterator[VideoFrame],
        planner: ScenePlanner,
        *,
        reaches_end: Callable[[], bool],
        total: int | None,
        on_progress: OnPass | None,
    ) -> FilmPlan:
        """Let the frames pass, and measure their depth meanwhile."""
        if self.depth is None:
            with closing(prefetch(frames)) as passing:
                for done, _ in enumerate(passing, start=1):
                    if on_progress is not None:
                        on_progress(done, total)
            return planner.finish()
        if isinstance(self.depth, DepthFile):
            given = measure_given_depth(
                frames,
                self.depth,
                skip=self._frames_before,
                reaches_end=reaches_end,
                total=total,
                on_progress=on_progress,
                clock=self.clock,
            )
            given.close()
            plan = planner.finish()
            return plan if given.scenes is None else with_ranges(plan, given.scenes, None)
        measured = measure_film(
            frames, model=self.depth, total=total, on_progress=on_progress, clock=self.clock
        )
        plan = planner.finish()
        starts = [
            [scene.start_range, *(self._start_range(found, part) for part in range(1, len(found.entries)))]
            for scene, found in zip(measured, plan.scenes, strict=True)
        ]
        plan = with_ranges(plan, [scene.range for scene in measured], starts)
        return with_statistics(plan, statistics_of(measured))

    def _start_range(self, scene: FilmScene, part: int) -> tuple[float, float]:
        """Measure what depth has on average where the run-in of a part begins."""
        assert self.depth is not None
        assert not isinstance(self.depth, DepthFile)
        first_pass = DepthFirstPass(self.depth)
        with closing(self.frames_from([scene], part)) as frames:
            for frame in islice(frames, START_FRAMES):
                first_pass.step(working_frame(frame.image, levels=frame.levels), starts_scene=False)
        return first_pass.finish()[0].start_range

    @property
    def _frames_before(self) -> int:
        """How many frames of the file lie before those that are converted."""
        return 0 if self.config.start is None else count_frames(self.path, before=self.config.start)

    def frames_from(self, scenes: Sequence[FilmScene], part: int = 0) -> Generator[VideoFrame, None, None]:
        """Read the frames of neighbouring scenes from an entry of the first one on, cut to their pictures.

        What a seek finds is compared with what the plan says; if it is another frame, all is decoded again
        from the beginning.

        Raises:
            InputError: If the frame is not there any more.
        """
        entry = scenes[0].entries[part]
        with closing(self._seek(entry)) as frames:
            begin = entry.frame
            for scene in scenes:
                end = scene.first + scene.frames
                for number, frame in enumerate(islice(frames, end - begin)):
                    surround = None if scene.box is None else Surround(frame.image, scene.box)
                    image = frame.image if scene.box is None else frame.image[scene.box.slices]
                    yield frame._replace(image=image, surround=surround, starts_scene=number == 0)
                begin = end

    def frames_of(
        self, segment: Segment, plan: FilmPlan, settings: Sequence[SceneSettings]
    ) -> Generator[VideoFrame, None, None]:
        """Read a segment's frames and those of its run-in, each with its way to disparity.

        Args:
            segment: The segment.
            plan: The film's scenes.
            settings: What each of them is converted with.

        Raises:
            InputError: If they are not those of the plan any more.
        """
        count, wanted = 0, segment.run_in + segment.frames
        scenes = [plan.scenes[number] for number in segment.scenes]
        with closing(self.frames_from(scenes, segment.part)) as frames:
            number = -1
            for frame in islice(frames, wanted):
                count += 1
                number += bool(frame.starts_scene)
                own = settings[segment.scenes[number]].placement(float(frame.pts * frame.time_base))
                yield frame._replace(placement=own)
        if count != wanted:
            raise self._changed(f"{wanted - count} frames fewer than before")

    @contextmanager
    def depth_of(self, segment: Segment, plan: FilmPlan) -> Iterator[DepthStream]:
        """Give the depth of a segment's frames as a stream."""
        if self.depth is None:
            yield BuiltinStream()
            return
        scenes = [plan.scenes[number] for number in segment.scenes]
        entries = [scene.entries[segment.part] for scene in scenes]
        ranges = [scene.depth_range for scene in scenes if scene.depth_range is not None]
        if isinstance(self.depth, DepthFile):
            given = FileDepth(
                self.depth,
                skip=self._frames_before + entries[0].frame,
                scenes=ranges or None,
                size=(self.info.height, self.info.width),
            )
            with closing(given):
                yield given
            return
        starts = [entry.depth_range for entry in entries if entry.depth_range is not None]
        measured = map(MeasuredScene, ranges, starts)
        yield ModelStream(self.depth, measured, strength=self.config.depth_stability)

    def _seek(self, entry: Entry) -> Generator[VideoFrame, None, None]:
        """Read from a frame on: by a seek if that leads to the same frame, else by its number."""
        frames = self.read(start=float(entry.pts * self.info.time_base))
        first = next(frames, None)
        if first is None or first.pts != entry.pts or checksum_of(first) != entry.checksum:
            frames.close()
            frames = self.read(start=self.config.start)
            first = next(islice(frames, entry.frame, None), None)
            if first is None or first.pts != entry.pts:
                frames.close()
                raise self._changed(f"no frame {entry.frame} at its time")
            if checksum_of(first) != entry.checksum:
                _LOGGER.warning("%s: frames decode otherwise than when the work was begun", self.path)
        with closing(frames):
            yield first
            yield from frames

    def _changed(self, what: str) -> InputError:
        """Make the error for a film that is another one than it was."""
        return InputError(
            f"input must stay as it is until the conversion is done, got {what} in {self.path}; give the "
            "former file, or begin anew with --force"
        )
