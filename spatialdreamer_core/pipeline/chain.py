"""The chain of stages, as the data goes: from frames to the two eyes' views.

The stages overlap, each a thread of its own: decoding, analysis and rendering run a few frames ahead of what
takes the views. Films (`packed.py`) and frames in memory (`frames.py`) go through the same chain.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import cv2
import torch
from torch import Tensor

from ..stereo.window import draw_window
from ..video.reader import VideoFrame
from .analysis import Analysed, analyse
from .bits import whole_image
from .borders import treat_borders
from .clock import StageClock
from .first_pass import OneReadStream
from .flight import Flight
from .job import Job
from .pictures import cut_pictures
from .placement import place_scenes
from .prefetch import StageThreads
from .stages import Rendered, estimate, fill, place, refine, render
from .transfer import open_transfer

_CORES_LOCK = threading.Lock()
_cores: list[tuple[int, int]] = []  # torch's and OpenCV's threads before, once for each conversion that runs


class StereoFrame(NamedTuple):
    """A frame with what each eye sees of its picture."""

    rendered: Rendered
    left: Tensor  # [3, H, W] in [0, 1], or uint8, see `place`
    right: Tensor  # [3, H, W] in [0, 1], or uint8


def stereo_frames(
    frames: Iterator[VideoFrame],
    job: Job,
    *,
    threads: StageThreads,
) -> Iterator[StereoFrame]:
    """Render the eyes' views of each frame.

    Args:
        frames: The film.
        job: What it is converted with.
        threads: Run the stages.
    """
    config, clock, flight, eyes = job.config, job.clock, job.flight, job.eyes
    threads.add(flight)
    # 1. The picture of each frame, without its black bars.
    decoded = _timed(frames, "decode", clock)
    pictures = threads.prefetch(cut_pictures(decoded, black_bars=config.black_bars, clock=clock, report=True))
    # 2. Optical flow between neighbouring frames, and the cuts between scenes.
    analysed = analyse(pictures, flow=job.flow, clock=clock, threads=threads, flight=flight)
    if isinstance(job.depth, OneReadStream):
        analysed = job.depth.hold_back(analysed)
    # 3. Depth, steady over the scene.
    estimated = threads.prefetch(
        estimate(analysed, estimator=job.depth, clock=clock, threads=threads, flight=flight)
    )
    if job.watch is not None:
        estimated = job.watch.watch(estimated, shaping=job.shaping, guided=config.guided_upsampling)
    # 4. Disparity in pixels of the picture, by each scene's strength and place.
    estimated = place_scenes(estimated, config=config, shaping=job.shaping, scenes=job.scenes, clock=clock)
    placed = threads.prefetch(
        place(
            estimated,
            eyes=len(eyes),
            divergence=config.divergence,
            convergence=config.convergence,
            device=job.device,
            clock=clock,
            shaping=job.shaping,
            guided=config.guided_upsampling,
            as_bytes=getattr(job.filler, "takes_bytes", False),
            flight=flight,
        ),
        ahead=1,
    )
    bordered = treat_borders(
        placed,
        border=config.border,
        width_percent=config.border_width,
        eyes=len(eyes),
        clock=clock,
        flight=flight,
    )
    # 5. DVG forward warp: each rendered eye's view, and its holes.
    rendered = threads.prefetch(render(bordered, eyes=eyes, clock=clock, flight=flight), ahead=1)
    # 6. Hole masks that are steady over time, for fillers that redraw regions.
    if getattr(job.filler, "refines_holes", False):
        rendered = refine(rendered, clock=clock, flight=flight)
    # 7. The holes filled.
    filled = fill(rendered, filler=job.filler, clock=clock, flight=flight)
    # 8. What each eye sees: the source, or a rendered view.
    return _both_eyes(filled, config.eye, flight)


def flat_frames(frames: Iterator[VideoFrame], job: Job, *, threads: StageThreads) -> Iterator[StereoFrame]:
    """Show both eyes each frame as it is.

    Args:
        frames: The film.
        job: What it is converted with; its depth and filler are not used.
        threads: Run the stages.
    """
    transfer = open_transfer(job.device)
    for frame in threads.prefetch(_timed(frames, "decode", job.clock)):
        bits = transfer.up(whole_image(frame)) if transfer.is_remote else None
        height, width = frame.image.shape[:2]
        nothing = torch.zeros(1, height, width, device=job.device)
        analysed = Analysed(frame, frame.image, bool(frame.starts_scene), None, None)
        yield StereoFrame(Rendered(analysed, nothing, nothing, job.eyes, (), bits), nothing, nothing)


def _both_eyes(
    frames: Iterator[tuple[Rendered, tuple[Tensor, ...]]], eye: str, flight: Flight
) -> Iterator[StereoFrame]:
    """Give each frame its left and right view, behind its floating window if it has one."""
    for index, (rendered, views) in enumerate(frames):
        left = rendered.image if eye == "right" else views[0]
        right = rendered.image if eye == "left" else views[-1]
        if rendered.window is not None:
            both = flight.run(
                index, draw_window, _as_floats(left)[None], _as_floats(right)[None], rendered.window
            )
            left, right = (view[0] for view in both)
        yield StereoFrame(rendered, left, right)


def _as_floats(view: Tensor) -> Tensor:  # [3, H, W] in [0, 1]
    """Return a view as floats."""
    return view / 255 if view.dtype == torch.uint8 else view


@contextmanager
def half_of_the_cores() -> Iterator[None]:
    """Leave each operation half of the cores while stages run side by side: fewer waits for each other.

    OpenCV's threads wait busily for it. Of conversions that run side by side, each leaves both libraries as
    they were before the first one.
    """
    with _CORES_LOCK:
        before = _cores[0] if _cores else (torch.get_num_threads(), cv2.getNumThreads())
        _cores.append(before)
        _use_threads(*(max(1, threads // 2) for threads in before))
    try:
        yield
    finally:
        with _CORES_LOCK:
            _cores.pop()
            _use_threads(*before)


def _use_threads(of_torch: int, of_opencv: int) -> None:
    """Set how many threads an operation of each library takes."""
    torch.set_num_threads(of_torch)
    cv2.setNumThreads(of_opencv)


def _timed(frames: Iterator[VideoFrame], stage: str, clock: StageClock) -> Iterator[VideoFrame]:
    """Count the time that an iterator takes for each item."""
    while True:
        with clock(stage):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame
