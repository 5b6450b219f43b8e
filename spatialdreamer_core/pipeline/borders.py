"""The stage between place and render that treats what the frame's left and right edges cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..dvg.borders import sink_borders
from ..stereo import FloatingWindowTracker
from .clock import StageClock
from .flight import Flight
from .stages import Placed


def treat_borders(
    frames: Iterator[Placed],
    *,
    border: str,
    width_percent: float,
    eyes: int,
    clock: StageClock,
    flight: Flight | None = None,
) -> Iterator[Placed]:
    """Ease each frame's disparity towards the edges, find its floating window, or leave it as it is.

    Args:
        frames: Frames with the disparity of one eye.
        border: "none", "ease" or "floating_window".
        width_percent: Width of the eased border, % of the width.
        eyes: How many views are rendered: each has its share of the whole disparity.
        clock: Adds up the time.
        flight: The frames on the device.
    """
    flight, tracker = flight or Flight(), FloatingWindowTracker()

    def work(frame: Placed) -> Placed:
        with clock("disparity"):
            if border == "ease":
                disparity, small = (
                    sink_borders(values, width_percent=width_percent)
                    for values in (frame.disparity, frame.small_disparity)
                )
                return replace(frame, disparity=disparity, small_disparity=small)
            if border == "floating_window":
                if frame.analysed.starts_scene:
                    tracker.reset()
                return replace(frame, window=tracker.advance(eyes * frame.disparity))
            return frame

    for index, frame in enumerate(frames):
        yield flight.run(index, work, frame)
