"""Depth files for films: a first pass reads film and depth side by side, before anything is converted.

It finds the film's scenes on the same pictures as `analyse`, measures the range of the given depth in each,
and checks all of the depth, so that no conversion breaks off half-way. Frames belong together by their number
in their files, not by their time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

from ..checks import InputError
from ..depth import DepthFile, FileDepth, SceneRange, SceneRangeMeter, working_frame
from ..flow import CutDetector
from .clock import StageClock
from .prefetch import prefetch
from .reader import VideoFrame

_ASPECT_TOLERANCE = 0.02  # relative; depth models round sizes to multiples of 14 or 64


def survey_given_depth(
    frames: Iterator[VideoFrame],
    file: DepthFile,
    *,
    skip: int = 0,
    to_end: bool = True,
    total: int | None,
    on_progress: Callable[[int, int | None], None] | None,
    clock: StageClock,
) -> FileDepth:
    """Check a depth file against its film and measure its scenes; returns it as the film's depth.

    Args:
        frames: The part of the film that is to be converted.
        file: The depth file.
        skip: Number of the film's frames before that part; as many of the depth file are left out.
        to_end: Whether that part reaches to the film's end, where the depth file must end, too.
        total: Number of frames in that part, if it is known.
        on_progress: Called after each frame with the frames done and their total; may raise to interrupt.
        clock: Adds up the time that each stage takes.

    Raises:
        InputError: If the number of frames or the aspect ratio differs, or the depth cannot be used.
    """
    cuts = CutDetector()
    meters: list[SceneRangeMeter] = []
    done = found = 0
    with closing(prefetch(frames)) as film, closing(file.frames(skip)) as depths:
        for done, frame in enumerate(film, start=1):
            with clock("survey"):
                height, width = frame.image.shape[:2]
                if cuts.step(working_frame(frame.image, levels=frame.levels)) or not meters:
                    meters.append(SceneRangeMeter())
                depth = next(depths, None)
                if depth is not None:
                    found += 1
                    _check_aspect(file, depth.shape[-2:], (height, width))
                    if not file.is_normalised:
                        meters[-1].add(depth)
            if on_progress is not None:
                on_progress(done, total)
        if to_end and found == done:
            found += sum(1 for _ in depths)
    if found != done:
        raise _wrong_count(file, skip, done, found, to_end)
    scenes: list[SceneRange] | None = None if file.is_normalised else [meter.result() for meter in meters]
    return FileDepth(file, skip=skip, scenes=scenes, size=(height, width))


def _check_aspect(file: DepthFile, size: tuple[int, ...], film_size: tuple[int, int]) -> None:
    """Check that depth has the film's aspect ratio."""
    (depth_height, depth_width), (height, width) = size, film_size
    if abs(depth_width * height / (depth_height * width) - 1) > _ASPECT_TOLERANCE:
        raise InputError(
            f"depth must have the aspect ratio of the input ({width}x{height}), got "
            f"{depth_width}x{depth_height} in {file.path}; make it from the uncropped frames"
        )


def _wrong_count(file: DepthFile, skip: int, done: int, found: int, to_end: bool) -> InputError:
    """Make the error for a depth file with too many or too few frames."""
    rule = f"as many frames as the input ({skip + done})" if to_end else f"at least {skip + done} frames"
    if found == 0 and skip:
        got = f"no more than {skip}"
    else:
        got = str(skip + found)
    return InputError(
        f"depth must have {rule}, got {got} in {file.path}; "
        "give a depth frame for each frame of the whole input, which belong together by their number"
    )
