"""Depth files for films: a first pass reads film and depth side by side, before anything is converted.

It finds the film's scenes on the same pictures as `analyse`, measures the range of the given depth in each,
and checks all of the depth, so that no conversion breaks off half-way. Frames belong together by their number
in their files, not by their time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice

import torch
from torch import Tensor

from ..bars import crop_map
from ..checks import InputError
from ..depth import DepthFile, FileDepth, SceneRange, SceneRangeMeter, check_film_size, working_frame
from ..video.reader import VideoFrame
from .chain import half_of_the_cores
from .clock import StageClock
from .pictures import SceneDetector
from .prefetch import prefetch

_MEASURED_PIXELS = 100_000  # of a frame's depth, or up to four times as many


def measure_given_depth(
    frames: Iterator[VideoFrame],
    file: DepthFile,
    *,
    skip: int = 0,
    reaches_end: Callable[[], bool] = lambda: True,
    total: int | None,
    on_progress: Callable[[int, int | None], None] | None,
    clock: StageClock,
) -> FileDepth:
    """Check a depth file against its film and measure its scenes; returns it as the film's depth.

    Args:
        frames: The part of the film that is to be converted.
        file: The depth file.
        skip: Number of the film's frames before that part; as many of the depth file are left out.
        reaches_end: Tells after the last frame whether the film ends there, where the depth must end, too.
        total: Number of frames in that part, if it is known.
        on_progress: Called after each frame with the frames done and their total; may raise to interrupt.
        clock: Adds up the time that each stage takes.

    Raises:
        InputError: If the number of frames or the shape differs, or the depth cannot be used.
    """
    cuts = SceneDetector()
    meters: list[SceneRangeMeter] = []
    done = found = 0
    film, depths = prefetch(frames), prefetch(file.frames(skip))
    with half_of_the_cores(), closing(film), closing(depths):
        for done, frame in enumerate(film, start=1):
            with clock("first_pass"):
                whole = frame.image if frame.surround is None else frame.surround.frame
                height, width = whole.shape[:2]
                if cuts.step(frame, working_frame(frame.image, levels=frame.levels)) or not meters:
                    meters.append(SceneRangeMeter())
                depth = next(depths, None)
                if depth is not None:
                    found += 1
                    check_film_size(file.path, depth.shape[-2:], (height, width))
                    if not file.is_normalised:
                        meters[-1].add(_of_picture(depth, frame))
            if on_progress is not None:
                on_progress(done, total)
        to_end = reaches_end()
        if to_end and found == done:  # no more than the film again: the file may go on for hours
            found += sum(1 for _ in islice(depths, done + 1))
    if found != done:
        raise _wrong_count(file, skip, done, found, to_end)
    scenes: list[SceneRange] | None = None if file.is_normalised else [meter.result() for meter in meters]
    return FileDepth(file, skip=skip, scenes=scenes, size=(height, width))


def _of_picture(depth: Tensor, frame: VideoFrame) -> Tensor:  # [1, h, w] -> [1, h', w']
    """Give what a scene's range is measured on: a frame's depth without what a file holds for black bars.

    Of large depth that is every n-th pixel each way: percentiles need no more than `_MEASURED_PIXELS`.
    """
    if frame.surround is not None:
        depth = torch.from_numpy(crop_map(depth[0].numpy(), frame.surround))[None]
    step = max(1, math.isqrt(depth.numel() // _MEASURED_PIXELS))
    return depth[:, ::step, ::step]


def _wrong_count(file: DepthFile, skip: int, done: int, found: int, to_end: bool) -> InputError:
    """Make the error for a depth file with too many or too few frames."""
    rule = f"as many frames as the input ({skip + done})" if to_end else f"at least {skip + done} frames"
    got: int | str
    if found == 0 and skip:
        got = f"no more than {skip}"
    elif found > 2 * done:
        got = file.count() or f"more than {skip + 2 * done}"
    else:
        got = skip + found
    return InputError(
        f"depth must have {rule}, got {got} in {file.path}; "
        "give a depth frame for each frame of the whole input, which belong together by their number"
    )
