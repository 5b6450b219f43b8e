"""Judge results: read each beside what it is compared with, frame by frame."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..checks import InputError, check_type
from ..dvg.eyes import Eye
from ..metrics import ComparedFrame, Comparison, frechet_distance, load_clip_features, load_lpips
from ..metrics.perceptual import FeatureStatistics
from ..pipeline import choose_device
from .config import EvaluateConfig
from .disparity import read_disparity
from .pairs import PairFiles
from .tracks import Curves, Scanlines
from .views import ViewReader

_LOGGER = logging.getLogger(__name__)

OnFrame = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class PairFigures:
    """What was measured of one result."""

    files: PairFiles
    frames: int
    size: tuple[int, int]  # height, width
    figures: dict[str, float]  # by the names of `MEASURES`
    left_out: dict[str, str]  # measures without a figure, and why
    curves: dict[str, list[float | None]]  # figures over time
    frames_a_point: int  # of a curve
    scanlines: dict[str, np.ndarray]  # [T, W, 3] uint8 of each view


@dataclass(frozen=True)
class Evaluation:
    """What was measured of all results."""

    config: EvaluateConfig
    pairs: list[PairFigures]
    mean: dict[str, float]  # of each measure over the results; FVD is that of all clips together


def evaluate(
    pairs: Sequence[PairFiles],
    config: EvaluateConfig | None = None,
    *,
    on_frame: OnFrame | None = None,
    on_first_pass: OnFrame | None = None,
) -> Evaluation:
    """Judge results by every measure that what is known of them allows.

    Args:
        pairs: What `find_pairs` found.
        config: The settings.
        on_frame: Called after each frame with the result's name, the frames done and their total if it is
            known; may raise to interrupt.
        on_first_pass: The same for the first pass over a given view, which some kinds of depth need.

    Returns:
        The figures, and what plots are drawn from.

    Raises:
        InputError: If a setting or a file cannot be used, or lengths or sizes differ.
    """
    config = EvaluateConfig() if config is None else config
    check_type("config", config, EvaluateConfig)
    config.check()
    if not pairs:
        raise InputError("RESULT must be at least one file, got none; give what is to be judged")
    device = choose_device(config.device)
    lpips = None if config.lpips is None else load_lpips(config.lpips, device=device)
    clip_features = None if config.i3d is None else load_clip_features(config.i3d, device=device)
    together = FeatureStatistics(), FeatureStatistics()
    done: list[PairFigures] = []
    told: set[str] = set()
    for files in pairs:
        comparison = Comparison(
            eye=config.eye,
            flow=config.flow,
            chunk=config.chunk,
            lpips=lpips,
            clip_features=clip_features,
            device=device,
        )
        done.append(_judge(files, config, comparison, on_frame, on_first_pass))
        _tell_left_out(done[-1], told)
        for whole, part in zip(together, comparison.statistics, strict=True):
            whole.merge(part)
    names = dict.fromkeys(name for pair in done for name in pair.figures)
    known = {name: [pair.figures[name] for pair in done if name in pair.figures] for name in names}
    mean = {name: sum(values) / len(values) for name, values in known.items()}
    distance = frechet_distance(*together)
    if distance == distance:
        mean["fvd"] = distance
    return Evaluation(config, done, mean)


def _judge(
    files: PairFiles,
    config: EvaluateConfig,
    comparison: Comparison,
    on_frame: OnFrame | None,
    on_first_pass: OnFrame | None,
) -> PairFigures:
    """Judge one result."""
    views = _open_views(files, config)
    source, total = views["source"], next(view.total for view in views.values() if view is not None)
    curves, scanlines = Curves(), Scanlines(config.scanline)
    size = (0, 0)
    with ExitStack() as stack:
        streams: dict[str, Iterator[Tensor]] = {
            name: stack.enter_context(closing(iter(view))) for name, view in views.items() if view is not None
        }
        if config.depth is not None and source is not None:
            report = None
            if on_first_pass is not None:
                report = _report(on_first_pass, files.name)
            disparity = read_disparity(source, config, on_first_pass=report)
            streams["disparity"] = stack.enter_context(closing(disparity))
        for parts in _side_by_side(streams, files):
            frame = ComparedFrame(**_same_size(parts, files))
            size = (frame.result.shape[-2], frame.result.shape[-1])
            curves.add(comparison.add(frame))
            scanlines.add(source=frame.source, truth=frame.truth, result=frame.result)
            if on_frame is not None:
                on_frame(files.name, comparison.frames, total)
    return PairFigures(
        files,
        comparison.frames,
        size,
        comparison.result(),
        comparison.left_out(),
        curves.values(),
        curves.step,
        scanlines.pictures(),
    )


def _tell_left_out(pair: PairFigures, told: set[str]) -> None:
    """Say what was not measured, unless it was said of another result."""
    for reason in dict.fromkeys(pair.left_out.values()):
        names = ", ".join(name for name, why in pair.left_out.items() if why == reason)
        text = f"not measured: {names} ({reason})"
        if text not in told:
            _LOGGER.info("%s: %s", pair.files.name, text)
            told.add(text)


def _open_views(files: PairFiles, config: EvaluateConfig) -> dict[str, ViewReader | None]:
    """Open the result, its truth, and the given view from where there is one."""
    eye: Eye = config.eye
    other: Eye = "left" if eye == "right" else "right"
    result = ViewReader(files.result, eye=eye, format=config.format, name="RESULT")
    truth = left = None
    if files.truth is not None:
        truth = ViewReader(files.truth, eye=eye, format=config.truth_format, name="truth")
    if files.left is not None:
        left = ViewReader(files.left, eye=other, name="left")
    sizes = (_first_size(view) for view in (left, truth) if view is not None and not view.is_squeezed)
    size = next(sizes, None)
    if size is not None:
        result = result.of_size(size)
        truth, left = (None if view is None else view.of_size(size) for view in (truth, left))
    source = left or next(
        (view.of_eye(other) for view in (truth, result) if view is not None and view.holds_both), None
    )
    if truth is None and source is None:
        raise InputError(
            f"each RESULT must have something to be compared with, got {files.result} with one view alone; "
            "give --truth or --left, or --format if the file holds two views"
        )
    if config.depth is not None and source is None:
        raise InputError(
            f"depth must have a given view that it belongs to, got none for {files.result}; give --left"
        )
    return {"result": result, "truth": truth, "source": source}


def _first_size(view: ViewReader) -> tuple[int, int]:
    """Return the (height, width) of a view's first frame."""
    with closing(iter(view)) as frames:
        first = next(frames)
    return first.shape[-2], first.shape[-1]


def _side_by_side(streams: dict[str, Iterator[Tensor]], files: PairFiles) -> Iterator[dict[str, Tensor]]:
    """Go through streams of one length."""
    for count in itertools.count():
        parts = {name: part for name, stream in streams.items() if (part := next(stream, None)) is not None}
        if not parts and count:
            return
        missing = [name for name in streams if name not in parts]
        if missing:
            longest = next(iter(parts), "result")
            raise InputError(
                f"{missing[0]} must have as many frames as the {longest}, got only {count} for "
                f"{files.result}; give the same frames"
            )
        yield parts


def _same_size(parts: dict[str, Tensor], files: PairFiles) -> dict[str, Tensor]:
    """Check that all parts of a frame are of one size.

    Videos have even sides: a row or column that was added to an odd side is cut off.
    """
    height, width = (min(part.shape[axis] for part in parts.values()) for axis in (-2, -1))
    for name, part in parts.items():
        for axis, least in ((-2, height), (-1, width)):
            if part.shape[axis] - least > least % 2:
                first = parts["result"]
                other = next((n for n, p in parts.items() if p.shape[-2:] != first.shape[-2:]), name)
                raise InputError(
                    f"{other} must have the size of the result ({first.shape[-1]}x{first.shape[-2]}), got "
                    f"{parts[other].shape[-1]}x{parts[other].shape[-2]} for {files.result}; resize it first, "
                    "or say how the views share a frame (--format, --truth-format)"
                )
    return {name: part[..., :height, :width] for name, part in parts.items()}


def _report(on_first_pass: OnFrame, name: str) -> Callable[[int, int | None], None]:
    """Bind a result's name."""
    return lambda done, total: on_first_pass(name, done, total)
