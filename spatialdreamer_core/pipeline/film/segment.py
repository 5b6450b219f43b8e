"""One segment of a film to a file of its own, from the plan and the source, without any other segment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...fill import Filler
from ...flow import FlowEstimator
from ...video.color import to_8_bit
from ...video.writer import VideoWriter
from ..job import Job
from ..packed import packed_frames
from ..parallax import DepthWatch
from ..preview import MiddleSheet, ViewTaker
from ..stages import Rendered
from .plan import FilmPlan, Segment
from .sidecar import SceneSettings
from .source import FilmSource

PREVIEW_EVERY = 12  # frames

OnFrame = Callable[[int, "np.ndarray | None"], None]


@dataclass(frozen=True)
class SegmentWork:
    """What segments are converted with.

    Attributes:
        source: The film.
        plan: Its scenes.
        settings: What each scene is converted with.
        flow: Estimates the flow between frames.
        filler: Gives the filler of a name; None is the film's.
        writer: The writer of the whole film, which is not open: segments are encoded as it says.
        sheet: Takes the frame of which the contact sheet is made.
        watch: Looks at frames with their depth; None: nothing does.
    """

    source: FilmSource
    plan: FilmPlan
    settings: Sequence[SceneSettings]
    flow: FlowEstimator
    filler: Callable[[str | None], Filler]
    writer: VideoWriter
    sheet: MiddleSheet
    watch: DepthWatch | None = None

    def convert(self, segment: Segment, path: Path, *, on_frame: OnFrame) -> int:
        """Convert a segment.

        Args:
            segment: One of the plan's.
            path: Its file, which is whole or absent.
            on_frame: Called after each picture with the segment's pictures done and now and then the packed
                frame, [H, W, 3] uint8; may raise to interrupt, and then no file stays.

        Returns:
            The time of its first frame, in units of the film's time base.

        Raises:
            InputError: If the source is not as it was planned, or the file cannot be written.
        """
        source, part = self.source, self.writer.part(path)
        config = replace(source.config, black_bars="off")  # pictures come cut
        size = (source.info.height, source.info.width)
        first_pts = 0
        scene = self.settings[segment.scenes[0]]
        with part, source.depth_of(segment, self.plan) as depth:
            filler = self.filler(scene.filler)
            aspect = source.info.sample_aspect_ratio
            job = Job(
                *(config, source.device, depth, self.flow, filler, source.clock, aspect),
                first_frame=segment.first - segment.run_in,
                watch=self.watch,
            ).placed(size)
            dropped = segment.run_in * job.layout.pictures_a_pair
            sheet = _SheetOfSegment(self.sheet, segment)
            with (
                closing(source.frames_of(segment, self.plan, self.settings)) as frames,
                closing(
                    packed_frames(
                        frames,
                        job,
                        sheet=sheet,
                        writer=part,
                        image_every=PREVIEW_EVERY,
                        duration=self.plan.scenes[segment.scenes[-1]].step,
                        flat=scene.skip,
                    )
                ) as pictures,
            ):
                for number, (pts, image, frame) in enumerate(pictures, start=1 - dropped):
                    if number < 1:
                        continue
                    if number == 1:
                        first_pts = pts
                    with source.clock("encode"):
                        part.write(frame, pts)
                    shown = image if number % PREVIEW_EVERY == 1 else None
                    on_frame(number, None if shown is None else to_8_bit(shown, source.info.color))
        return first_pts


class _SheetOfSegment(ViewTaker):
    """Offers a contact sheet the frames of a segment by their numbers in the film."""

    def __init__(self, sheet: MiddleSheet, segment: Segment) -> None:
        self._sheet, self._segment = sheet, segment

    def offer(self, index: int, views: Callable[[], Iterable[np.ndarray]], rendered: Rendered) -> None:
        """Take the next frame, see `MiddleSheet.offer`."""
        if index >= self._segment.run_in and rendered.views:  # a flat scene has nothing to show
            self._sheet.offer(self._segment.first - self._segment.run_in + index, views, rendered)
