"""The first pass over a film with a depth model: its scenes, and the range of the depth in each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

from ..depth import DepthFirstPass, DepthModel, MeasuredScene, working_frame
from ..video.reader import VideoFrame
from .clock import StageClock
from .pictures import SceneDetector
from .prefetch import prefetch


def measure_film(
    frames: Iterator[VideoFrame],
    *,
    model: DepthModel,
    total: int | None,
    on_progress: Callable[[int, int | None], None] | None,
    clock: StageClock,
) -> list[MeasuredScene]:
    """Measure the scenes of a film; cuts are found on the same pictures as in `analyse`.

    Args:
        frames: The film.
        model: The depth model.
        total: Number of frames, if it is known.
        on_progress: Called after each frame with the frames done and their total; may raise to interrupt.
        clock: Adds up the time that each stage takes.

    Returns:
        The scenes, in order; none for a film without frames.

    Raises:
        InputError: If a frame does not fit into memory.
    """
    scenes, first_pass = SceneDetector(), DepthFirstPass(model)
    with closing(prefetch(frames)) as decoded:
        for done, frame in enumerate(decoded, start=1):
            with clock("first_pass"):
                small = working_frame(frame.image, levels=frame.levels)
                first_pass.step(small, starts_scene=scenes.step(frame, small))
            if on_progress is not None:
                on_progress(done, total)
    return first_pass.finish()
