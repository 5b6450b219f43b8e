"""A film's depth behind one stream: from a depth file, a depth model or the builtin estimator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

from ..depth import (
    BuiltinStream,
    DepthFile,
    DepthModel,
    DepthStream,
    MeasuredScene,
    ModelPhoto,
    ModelStream,
    SceneStatistics,
    open_estimator,
)
from ..flow import FlowEstimator
from ..video.completeness import IncompleteInput
from ..video.photo import read_photo_as_film
from ..video.reader import VideoFrame, count_frames, read_frames, until_broken
from .clock import StageClock
from .config import ConvertConfig
from .device import choose_device
from .first_pass import measure_film
from .given_depth import measure_given_depth
from .pictures import cut_pictures
from .placement import measure_estimated

DepthSource = DepthFile | DepthModel | None  # None is the builtin estimator


class FilmDepth(NamedTuple):
    """A film's depth, and what is known of its scenes."""

    stream: DepthStream
    scenes: Sequence[SceneStatistics] | None = None  # None: it was not asked for, or is found as frames come


def choose_depth(config: ConvertConfig, depth_model: DepthModel | None, device: torch.device) -> DepthSource:
    """Open the file or load the model that the settings name, unless a model is given.

    Raises:
        InputError: If the file or the model's weights cannot be used.
    """
    if config.depth_file is not None:
        return DepthFile(config.depth_file, kind=config.depth_kind)
    return depth_model or open_estimator(config.depth, device=device)


@contextmanager
def open_depth(
    source: DepthSource,
    input_path: Path,
    config: ConvertConfig,
    *,
    photo: bool,
    flow: FlowEstimator | None = None,
    total: int | None,
    on_first_pass: Callable[[int, int | None], None] | None,
    clock: StageClock,
) -> Iterator[FilmDepth]:
    """Make a first pass over the film if its depth or its scenes need one, and give its depth as a stream.

    Args:
        source: What `choose_depth` gave.
        input_path: The film or photo.
        config: The settings.
        photo: Whether the input is read as a photo.
        flow: Estimates the flow between frames; None for a photo.
        total: Number of frames to be converted, if it is known.
        on_first_pass: Called after each frame of the first pass with the frames done and their total; may
            raise to interrupt.
        clock: Adds up the time that each stage takes.

    Raises:
        InputError: If a depth file does not belong to the film, or a frame does not fit into memory.
    """
    if photo and not isinstance(source, DepthFile):
        yield FilmDepth(BuiltinStream() if source is None else ModelPhoto(source))
        return
    faults: list[IncompleteInput] = []  # which the second pass tells

    def read() -> Iterator[VideoFrame]:
        frames: Iterator[VideoFrame]
        if photo:
            frames = read_photo_as_film(input_path)
        else:
            frames = until_broken(
                read_frames(
                    input_path,
                    start=config.start,
                    end=config.end,
                    deinterlace=config.deinterlace == "auto",
                    report=False,
                    device=choose_device(config.device),
                ),
                faults.append,
            )
        return cut_pictures(frames, black_bars=config.black_bars, clock=clock)

    def measure(estimator: DepthStream) -> list[SceneStatistics] | None:
        if photo or not config.strength().needs_statistics:
            return None
        return measure_estimated(
            read(),
            estimator=estimator,
            flow=flow,
            shaping=config.shaping(builtin=source is None),
            total=total,
            on_progress=on_first_pass,
            clock=clock,
        )

    if source is None:
        yield FilmDepth(BuiltinStream(), measure(BuiltinStream()))
        return
    if not isinstance(source, DepthFile):
        scenes = measure_film(read(), model=source, total=total, on_progress=on_first_pass, clock=clock)
        stream = ModelStream(source, scenes, strength=config.depth_stability)
        yield FilmDepth(stream, statistics_of(scenes))
        return
    depth = measure_given_depth(
        read(),
        source,
        skip=0 if photo or config.start is None else count_frames(input_path, before=config.start),
        reaches_end=lambda: config.end is None and not faults,
        total=total,
        on_progress=on_first_pass,
        clock=clock,
    )
    with closing(depth), closing(depth.again()) as first:
        yield FilmDepth(depth, measure(first))


def statistics_of(scenes: Sequence[MeasuredScene]) -> list[SceneStatistics]:
    """Return what a first pass has found out about scenes, for placing them."""
    return [scene.statistics for scene in scenes if scene.statistics is not None]
