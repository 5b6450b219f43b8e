"""What a conversion works with, as one value that all of its stages take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import torch

from ..depth import BuiltinStream, DepthShaping, DepthStream, SceneStatistics
from ..dvg.eyes import Eye
from ..fill import Filler
from ..flow import FlowEstimator
from ..stereo import StereoLayout
from .clock import StageClock
from .config import ConvertConfig
from .device import choose_place
from .flight import Flight
from .parallax import DepthWatch


@dataclass(frozen=True)
class Job:
    """A conversion's settings, and what does its work.

    Attributes:
        config: The settings.
        device: Where views are rendered.
        depth: Gives the depth of the frames.
        flow: Estimates the flow between them; None for a single picture, where nothing moves.
        filler: Fills the holes of the views.
        clock: Adds up the time that each stage takes.
        aspect: Width over height of the source's pixels.
        scenes: What a first pass has found out about each scene, for placing it; None: there was none.
        is_narrow: Whether one frame at a time is on its way on the device, see `Flight`.
        first_frame: The number of its first frame in the film, for messages.
        watch: Looks at frames with their depth; None: nothing does.
    """

    config: ConvertConfig
    device: torch.device
    depth: DepthStream
    flow: FlowEstimator | None
    filler: Filler
    clock: StageClock
    aspect: Fraction = Fraction(1)
    scenes: Sequence[SceneStatistics] | None = None
    is_narrow: bool = False
    first_frame: int = 0
    watch: DepthWatch | None = None

    def placed(self, size: tuple[int, int]) -> Job:
        """Return the same with views of a (height, width) rendered where they fit, see `choose_place`."""
        device, narrow = choose_place(self.device, size, eyes=len(self.eyes))
        return replace(self, device=device, is_narrow=narrow)

    @cached_property
    def flight(self) -> Flight:
        """The frames on the device, counted by all stages together."""
        return Flight(self.device, narrow=self.is_narrow, first=self.first_frame)

    @cached_property
    def layout(self) -> StereoLayout:
        """How the views are packed."""
        return self.config.layout()

    @property
    def eyes(self) -> tuple[Eye, ...]:
        """The eyes that are rendered; the other one sees the source itself."""
        return ("left", "right") if self.config.eye == "both" else (self.config.eye,)

    @property
    def shaping(self) -> DepthShaping:
        """How depth is shaped before the warp."""
        return self.config.shaping(builtin=isinstance(self.depth, BuiltinStream))
