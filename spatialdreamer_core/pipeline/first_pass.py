"""The first pass over a film with a depth model: its scenes, and the range of the depth in each.

What can be read only once has no first pass: there each scene's first frames are held back until their range
is known, and it is the whole scene's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing

from ..depth import DepthFirstPass, DepthModel, MeasuredScene, ModelStream, working_frame
from ..depth.first_pass import START_FRAMES
from ..video.reader import VideoFrame
from .clock import StageClock
from .flight import Flight
from .pictures import SceneDetector
from .prefetch import prefetch
from .stages import Analysed


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
    flight = Flight(next(model.modules[0].parameters()).device)
    with closing(prefetch(frames)) as decoded:
        for done, frame in enumerate(decoded, start=1):
            with flight.naming(done - 1), clock("first_pass"):
                small = working_frame(frame.image, levels=frame.levels)
                first_pass.step(small, starts_scene=scenes.step(frame, small))
            if on_progress is not None:
                on_progress(done, total)
    return first_pass.finish()


class OneReadStream(ModelStream):
    """A depth model as a stream for frames that can be read only once; they have to pass `hold_back` first.

    Args:
        model: The model, on the device where it is to run.
        strength: Of `DepthStabiliser`, 0 to 0.95; 0 leaves each frame as the model gives it.
        clock: Adds up the time.

    Raises:
        InputError: If `strength` is out of range.
    """

    def __init__(self, model: DepthModel, *, strength: float, clock: StageClock) -> None:
        self._measured: deque[MeasuredScene] = deque()
        super().__init__(model, self._take_measured(), strength=strength)
        self._clock = clock

    def hold_back(self, frames: Iterator[Analysed]) -> Iterator[Analysed]:
        """Measure the first frames of each scene before any of them goes on; memory holds no more than those.

        Raises:
            InputError: If a frame does not fit into memory.
        """
        start: list[Analysed] = []
        is_measured = False
        for frame in frames:
            if frame.starts_scene:
                yield from self._measure(start)
                start, is_measured = [], False
            if is_measured:
                yield frame
                continue
            start.append(frame)
            if len(start) == START_FRAMES:
                yield from self._measure(start)
                start, is_measured = [], True
        yield from self._measure(start)

    def _take_measured(self) -> Iterator[MeasuredScene]:
        """Give each scene as it begins: `hold_back` has measured it by then."""
        while True:
            yield self._measured.popleft()

    def _measure(self, start: list[Analysed]) -> list[Analysed]:
        """Measure a scene's first frames, if there are any left, and give them back."""
        if start:
            first_pass = DepthFirstPass(self._model)
            with self._clock("first_pass"):
                for frame in start:
                    first_pass.step(frame.small, starts_scene=False)
            self._measured.extend(first_pass.finish())
        return start
