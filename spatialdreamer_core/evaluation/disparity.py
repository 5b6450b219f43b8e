"""The disparity that a result was rendered with: its given view taken through a conversion's depth again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing

from torch import Tensor

from ..checks import InputError
from ..depth import DepthFile, SceneRange, SceneRangeMeter, check_film_size
from ..dvg import depth_to_disparity
from ..dvg.eyes import Eye
from ..fill import RenderedFrame
from ..flow import CutDetector
from ..flow.pictures import to_bytes
from ..pipeline import convert_frames
from .config import EvaluateConfig
from .views import ViewReader

_DARKEST = 32 / 255  # of black bars, with a codec's noise


class OpenHoles:
    """A filler that leaves holes as they are; the conversion that is followed needs none filled."""

    refines_holes, takes_bytes, reach = False, True, 0

    def open(self, *, eye: Eye, size: tuple[int, int]) -> OpenHoles:
        """Return the stream of a film."""
        return self

    def push(self, frame: RenderedFrame) -> list[Tensor]:
        """Give the warped view back."""
        return [frame.warped]

    def finish(self) -> list[Tensor]:
        """Give nothing: no frame was kept."""
        return []


def read_disparity(
    source: ViewReader,
    config: EvaluateConfig,
    *,
    on_first_pass: Callable[[int, int | None], None] | None = None,
) -> Generator[Tensor, None, None]:  # each [1, H, W] px
    """Give the disparity of each frame of the given view; close it to end the work.

    Args:
        source: The given view.
        config: The settings, with a depth.
        on_first_pass: Called after each frame of a first pass; may raise to interrupt.

    Raises:
        InputError: If the depth cannot be used, or does not belong to the film.
    """
    conversion = config.conversion()
    depth = None
    if config.depth_file is not None:
        depth = _read_depth(source, DepthFile(config.depth_file, kind=config.depth_kind), on_first_pass)
    pairs = convert_frames(source, conversion, filler=OpenHoles(), depth=depth, on_first_pass=on_first_pass)
    with closing(pairs):
        for pair in pairs:
            disparity = depth_to_disparity(
                pair.depth[None], divergence=config.divergence, convergence=config.convergence
            )[0]
            given = pair.left if config.eye == "right" else pair.right
            yield disparity.masked_fill(_is_bar(given, pair.depth), 0).cpu()


def _is_bar(source: Tensor, depth: Tensor) -> Tensor:  # [1, H, 1] bool
    """Tell which rows belong to black bars, which stay where they are: dark, and without depth."""
    dark = source.amax(dim=(0, 2)) <= _DARKEST
    return (dark & (depth[0] == 0).all(-1))[None, :, None]


def _read_depth(
    source: ViewReader, file: DepthFile, on_first_pass: Callable[[int, int | None], None] | None
) -> Iterator[Tensor]:  # each [1, h, w] in [0, 1]
    """Give a depth file's frames, each scene brought to [0, 1] by its own range as in a conversion."""
    starts, ranges = ([], []) if file.is_normalised else _measure(source, file, on_first_pass)
    scene = -1
    with closing(file.frames()) as frames:
        for index, depth in enumerate(frames):
            if scene + 1 < len(starts) and index == starts[scene + 1]:
                scene += 1
            yield ranges[scene].normalise(depth) if ranges else depth


def _measure(
    source: ViewReader, file: DepthFile, on_first_pass: Callable[[int, int | None], None] | None
) -> tuple[list[int], list[SceneRange]]:
    """Find where scenes begin in the given view, and measure the range of each in the depth file."""
    cuts = CutDetector()
    starts: list[int] = []
    ranges: list[SceneRange] = []
    meter, count = SceneRangeMeter(), 0
    with closing(file.frames()) as depths:
        for count, frame in enumerate(source, start=1):
            if cuts.step(to_bytes(frame)) or not starts:
                if starts:
                    ranges.append(meter.result())
                starts.append(count - 1)
                meter = SceneRangeMeter()
            depth = next(depths, None)
            if depth is None:
                raise _wrong_count(file, f"no more than {count - 1}")
            check_film_size(file.path, depth.shape[-2:], frame.shape[-2:])
            meter.add(depth)
            if on_first_pass is not None:
                on_first_pass(count, source.total)
        if next(depths, None) is not None:
            raise _wrong_count(file, f"more than {count}")
    return starts, [*ranges, meter.result()]


def _wrong_count(file: DepthFile, got: str) -> InputError:
    """Make the error for a depth file of another length."""
    return InputError(
        f"depth must have as many frames as the given view, got {got} in {file.path}; give depth of the same "
        "frames"
    )
