"""The stage that finds each scene's strength and place (`stereo.strength`), where the settings ask for it.

What it needs to know of a scene comes from a first pass, if frames and depth can be read twice. Else each
scene's first frames are held back: its subject is theirs, and its range is taken as all that depth can be,
unless the scene has no more frames than those.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ..depth import DepthShaping, DepthStream, SceneStatistics, StatisticsMeter
from ..depth.first_pass import START_FRAMES
from ..dvg import Placement
from ..flow import FlowEstimator
from ..stereo import describe_placement, shaped
from ..video.reader import VideoFrame
from .analysis import analyse
from .clock import StageClock
from .config import ConvertConfig
from .prefetch import StageThreads
from .stages import Estimated, estimate

_LOGGER = logging.getLogger(__name__)


def choose_placement(
    scene: SceneStatistics, config: ConvertConfig, shaping: DepthShaping, *, time: float
) -> Placement:
    """Choose a scene's strength and place, and say it in the log.

    Args:
        scene: Its statistics, of depth before it is shaped.
        config: The settings.
        shaping: How depth is shaped.
        time: When the scene begins, s.
    """
    wanted = wanted_placement(config)
    warped = shaped(scene, shaping)
    placement = config.strength().choose(warped, wanted)
    said = describe_placement(warped, wanted, placement, offset=config.ipd_offset)
    _LOGGER.info("scene from %.2f s: %s", time, said)
    return placement


def wanted_placement(config: ConvertConfig) -> Placement:
    """Return the strength and place that the settings ask for."""
    return Placement(config.divergence, config.convergence, config.foreground_scale)


def place_scenes(
    frames: Iterator[Estimated],
    *,
    config: ConvertConfig,
    shaping: DepthShaping,
    scenes: Sequence[SceneStatistics] | None,
    clock: StageClock,
) -> Iterator[Estimated]:
    """Give each frame its scene's way to disparity; those that have one keep it.

    Args:
        frames: The frames with their depth.
        config: The settings.
        shaping: How depth is shaped.
        scenes: What a first pass has found out about the scenes; None: there was none.
        clock: Adds up the time.
    """
    if not config.strength().needs_statistics:
        yield from frames
        return
    known = None
    if scenes:
        known = iter(scenes)
        say_suggestion(scenes, config, shaping)
    held: list[Estimated] = []
    placement: Placement | None = None

    def decide(scene: SceneStatistics) -> Placement:
        return choose_placement(scene, config, shaping, time=held[0].analysed.frame.time)

    for frame in frames:
        if frame.analysed.frame.placement is not None:
            yield frame
            continue
        if frame.analysed.starts_scene:
            if held:
                placement = decide(_measure(held, shaping, clock))
                yield from (_with(each, placement) for each in held)
            held, placement = [], None
        if placement is not None:
            yield _with(frame, placement)
            continue
        held.append(frame)
        if known is not None:
            placement = decide(next(known))
        elif len(held) > START_FRAMES:
            placement = decide(_measure(held, shaping, clock)._replace(low=0.0, high=1.0))
        if placement is not None:
            yield from (_with(each, placement) for each in held)
            held = []
    if held:
        placement = decide(_measure(held, shaping, clock))
        yield from (_with(each, placement) for each in held)


def say_suggestion(scenes: Sequence[SceneStatistics], config: ConvertConfig, shaping: DepthShaping) -> None:
    """Say in the log which divergence suits the film's limits, where it has some."""
    if config.comfort:
        _LOGGER.info(
            "divergence %.1f %% would fill the limits of %g and %g %% in most scenes",
            config.strength().suggest([shaped(scene, shaping) for scene in scenes]),
            config.max_crossed,
            config.max_uncrossed,
        )


def measure_estimated(
    frames: Iterator[VideoFrame],
    *,
    estimator: DepthStream,
    flow: FlowEstimator | None,
    shaping: DepthShaping,
    total: int | None,
    on_progress: Callable[[int, int | None], None] | None,
    clock: StageClock,
) -> list[SceneStatistics]:
    """Measure the scenes of a film by its depth as it is going to be converted.

    Args:
        frames: The film, cut to its pictures.
        estimator: Gives its depth, and gives it again in the second pass.
        flow: Estimates the flow between frames, which the builtin estimator needs.
        shaping: How depth is shaped.
        total: Number of frames, if it is known.
        on_progress: Called after each frame with the frames done and their total; may raise to interrupt.
        clock: Adds up the time that each stage takes.
    """
    meters: list[StatisticsMeter] = []
    with StageThreads() as threads:
        analysed = analyse(threads.prefetch(frames), flow=flow, clock=clock, threads=threads)
        estimated = threads.prefetch(estimate(analysed, estimator=estimator, clock=clock))
        for done, frame in enumerate(estimated, start=1):
            if frame.analysed.starts_scene:
                meters.append(_meter_of(frame, shaping))
            with clock("first_pass"):
                meters[-1].step(frame.analysed.small, frame.depth)
            if on_progress is not None:
                on_progress(done, total)
    return [meter.result() for meter in meters]


def _measure(held: Sequence[Estimated], shaping: DepthShaping, clock: StageClock) -> SceneStatistics:
    """Measure frames that are held back."""
    meter = _meter_of(held[0], shaping)
    with clock("first_pass"):
        for frame in held[:START_FRAMES]:
            meter.step(frame.analysed.small, frame.depth)
    return meter.result()


def _meter_of(frame: Estimated, shaping: DepthShaping) -> StatisticsMeter:
    """Begin to measure a scene, of depth as large as its first frame's."""
    return StatisticsMeter(shaping, scale=frame.depth.shape[1] / frame.analysed.frame.image.shape[1])


def _with(frame: Estimated, placement: Placement) -> Estimated:
    """Give a frame its way to disparity."""
    film_frame = frame.analysed.frame._replace(placement=placement)
    return replace(frame, analysed=replace(frame.analysed, frame=film_frame))
