"""The first stage: cuts between scenes, and the optical flow between neighbouring frames.

Frames come in order; the flow of their pairs is estimated side by side, by threads or in batches, and comes
out in order again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch

from ..depth import working_frame
from ..flow import Flow, FlowEstimator, Motion
from ..video.reader import VideoFrame
from .clock import StageClock
from .flight import Flight
from .pictures import SceneDetector
from .prefetch import StageThreads

_MOST_WORKERS = 4


@dataclass(frozen=True)
class Analysed:
    """A frame with its motion at working size; None where there is no neighbour in the same scene."""

    frame: VideoFrame
    small: np.ndarray  # [h, w, 3] uint8, the frame at working size
    starts_scene: bool
    to_previous: Motion | None
    to_next: Motion | None


def analyse(
    frames: Iterator[VideoFrame],
    *,
    flow: FlowEstimator | None,
    clock: StageClock,
    threads: StageThreads | None = None,
    flight: Flight | None = None,
) -> Iterator[Analysed]:
    """Find cuts and estimate the flow between neighbouring frames, both ways.

    A flow method that takes batches gets as many pairs at once as wait in a thread of `threads`; one that
    does not works on several pairs at the same time, in some more of them, where there are cores enough.
    """
    flight, workers = flight or Flight(), 1
    looked = _look(frames, flow, clock, flight)
    groups: Iterator[Sequence[_Looked]] = ((item,) for item in looked)
    if threads is not None and flow is not None:
        if flow.batch > 1:
            groups = threads.prefetch_some(looked, ahead=flow.batch, most=flow.batch)
        else:
            workers = flow_workers()
    work = partial(_move, flow=flow, clock=clock, flight=flight)
    if threads is None or workers == 1:
        return _join(chain.from_iterable(map(work, groups)))
    clock.share("flow", workers)
    return _join(chain.from_iterable(threads.map(work, groups, workers=workers)))


def flow_workers() -> int:
    """Return how many threads estimate the flow of pairs: a quarter of the cores, of which torch has half."""
    return max(1, min(_MOST_WORKERS, torch.get_num_threads() // 2))


class _Looked(NamedTuple):
    """A frame that has been looked at, and its pair with the frame before as the flow method takes it."""

    number: int
    frame: Analysed
    pair: tuple[Any, Any] | None  # None at a scene's first frame


def _look(
    frames: Iterator[VideoFrame], flow: FlowEstimator | None, clock: StageClock, flight: Flight
) -> Iterator[_Looked]:
    """Shrink frames to their working size and find the cuts between them."""
    scenes = SceneDetector()
    previous: Any = None  # the frame before as the flow method takes it
    for number, frame in enumerate(frames):
        with flight.naming(number), clock("flow"):
            small = working_frame(frame.image, levels=frame.levels)
            starts_scene = scenes.step(frame, small) or number == 0
            pair = None
            if flow is not None:
                picture = torch.from_numpy(small).permute(2, 0, 1)
                prepared = flight.run_in_portions(number, flow.prepare, picture)
                pair = None if starts_scene else (previous, prepared)
                previous = prepared
        yield _Looked(number, Analysed(frame, small, starts_scene, None, None), pair)


def _move(
    group: Sequence[_Looked], *, flow: FlowEstimator | None, clock: StageClock, flight: Flight
) -> list[tuple[Analysed, Flow | None]]:
    """Estimate the flow of some frames' pairs."""
    pairs = [looked.pair for looked in group if looked.pair is not None]
    if flow is None or not pairs:
        return [(looked.frame, None) for looked in group]
    with clock("flow"):
        flows = iter(flight.run_in_portions(group[0].number, flow.between_pairs, pairs))
    return [(looked.frame, None if looked.pair is None else next(flows)) for looked in group]


def _join(frames: Iterator[tuple[Analysed, Flow | None]]) -> Iterator[Analysed]:
    """Give each frame its motion towards both of its neighbours."""
    current: Analysed | None = None
    for frame, pair in frames:
        if current is not None:
            yield current if pair is None else replace(current, to_next=pair.to_next(0))
        current = frame if pair is None else replace(frame, to_previous=pair.to_previous(1))
    if current is not None:
        yield current
