"""Frames in memory to stereo pairs: `convert` without files, for clips and for streams of any length."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import nullcontext
from fractions import Fraction
from itertools import chain, islice
from typing import NamedTuple

import torch
from torch import Tensor

from ..bars import Surround
from ..checks import InputError, check_type
from ..contracts import check_call
from ..depth import BuiltinStream, DepthModel, DepthStream, ModelStream, SceneStatistics, open_estimator
from ..fill import Filler, check_filler
from ..flow import FlowModel, open_flow
from ..flow.pictures import to_bytes
from ..video.reader import VideoFrame
from .chain import StereoFrame, half_of_the_cores, stereo_frames
from .clock import StageClock
from .config import ConvertConfig
from .depth_source import statistics_of
from .device import choose_device
from .fillers import FillerConfig
from .first_pass import OneReadStream, measure_film
from .given_maps import GivenMaps
from .job import Job
from .parallax import DepthSample, DepthWatch
from .pictures import cut_pictures
from .placement import measure_estimated
from .prefetch import NoThreads, StageThreads
from .transfer import Arrival, Transfer, delayed, open_transfer

_OF_FILES = ("depth_file", "start", "end")  # settings that frames in memory have no use for


class StereoPair(NamedTuple):
    """A frame's two eyes, and what they were made from; of the frame's size, type and device."""

    left: Tensor  # [3, H, W] in [0, 1]
    right: Tensor  # [3, H, W] in [0, 1]
    depth: Tensor  # [1, H, W] in [0, 1], 1 = near, as it was rendered; 0 in black bars
    hole: Tensor  # [1 or 2, H, W], 1 = hole of each rendered view, left before right


def convert_frames(
    frames: Tensor | Iterable[Tensor],  # [F, 3, H, W] in [0, 1], or each [3, H, W]
    config: ConvertConfig | None = None,
    *,
    filler: Filler | None = None,
    depth: Tensor | Iterable[Tensor] | None = None,  # [F, 1, h, w] in [0, 1], or each [1, h, w]
    depth_model: DepthModel | None = None,
    flow_model: FlowModel | None = None,
    on_first_pass: Callable[[int, int | None], None] | None = None,
    clock: StageClock | None = None,
    on_depth: Callable[[DepthSample], None] | None = None,
    overlap: bool = True,
) -> Generator[StereoPair, None, None]:
    """Convert frames to stereo pairs, as `convert` converts a film, in memory that does not grow with them.

    A depth model needs the depth range of each scene before the scene's first frame. Frames that can be read
    twice, such as a tensor or a list, get a first pass that measures it, as films do. An iterator, such as a
    generator, is read once: there the first 8 frames of a scene are held back, and their range is the
    scene's. Depth that is given and the builtin estimator need neither.

    Args:
        frames: The frames, in order, of one size, each a tensor of its own. They are read in another thread,
            some frames ahead, if stages overlap.
        config: The settings; those of files, such as the codec, do not matter.
        filler: What fills the holes; None is fast fill, which needs no weights.
        depth: Inverse depth of each frame, 1 = near, of any size of the same shape, instead of an
            estimator's. It is taken as it is.
        depth_model: A model from `load_model` to be used instead of what `config.depth` names.
        flow_model: A model from `load_flow_model` to be used instead of what `config.flow` names.
        on_first_pass: Called after each frame of the first pass with the frames done and their total if it
            is known; may raise to interrupt.
        clock: Adds up the time that each stage takes.
        on_depth: As of `convert`.
        overlap: Whether the stages run side by side, in threads. Without, a frame is read only when the pairs
            before it, as far as they do not wait for it, have been taken.

    Yields:
        A pair for each frame; the source's eye is the frame itself, bit for bit. Packing is `pack`'s. Closing
        the generator ends the work.

    Raises:
        InputError: If a setting cannot be used or a model not be loaded: at once. If a frame or a depth map
            breaks its rule (`contracts.TABLE`), or their sizes or numbers differ: when it is reached.
    """
    config = ConvertConfig() if config is None else config
    check_type("config", config, ConvertConfig)
    config.check()
    for name in _OF_FILES:
        if getattr(config, name) is not None:
            raise InputError(
                f"{name} must be left out for frames in memory, got {getattr(config, name)!r:.80}; "
                "use convert, or give `depth` and the frames that you want"
            )
    for name, value in (("frames", frames), ("depth", depth)):
        if not isinstance(value, Iterable) and not (name == "depth" and value is None):
            raise InputError(
                f"`{name}` must be a tensor or an iterable of tensors, one for each frame, got "
                f"{type(value).__name__}"
            )
    if isinstance(frames, Sized) and isinstance(depth, Sized) and len(frames) != len(depth):
        raise InputError(
            f"`depth` must have as many maps as there are frames ({len(frames)}), got {len(depth)}; give one "
            "per frame"
        )
    device = choose_device(config.device)
    if depth is None and depth_model is None:
        depth_model = open_estimator(config.depth, device=device)
    filler = FillerConfig().load(device=device) if filler is None else filler
    check_filler(filler)
    return _convert(
        frames,
        config,
        device=device,
        filler=filler,
        depth=depth,
        depth_model=depth_model,
        flow_model=flow_model,
        on_first_pass=on_first_pass,
        clock=clock or StageClock(),
        watch=None if on_depth is None else DepthWatch(on_depth),
        overlap=overlap,
    )


def _convert(
    frames: Iterable[Tensor],
    config: ConvertConfig,
    *,
    device: torch.device,
    filler: Filler,
    depth: Iterable[Tensor] | None,
    depth_model: DepthModel | None,
    flow_model: FlowModel | None,
    on_first_pass: Callable[[int, int | None], None] | None,
    clock: StageClock,
    watch: DepthWatch | None,
    overlap: bool,
) -> Generator[StereoPair, None, None]:
    """Do the work of `convert_frames`, with what it has checked and opened."""
    # 1. The first frame tells the size of all, the second one whether anything moves.
    once = iter(frames)
    start = list(islice(once, 2))
    if not start:
        raise InputError("`frames` must hold at least one frame, got none")
    check_call("convert_frames", frame=start[0])
    size = (start[0].shape[-2], start[0].shape[-1])
    flow = open_flow(flow_model or config.flow, device=device) if len(start) > 1 else None
    again = chain(start, once) if once is frames else frames
    # 2. Where depth comes from, after a first pass if that is needed and possible.
    estimator: DepthStream
    placing: Sequence[SceneStatistics] | None = None
    if depth is not None or depth_model is None:
        estimator = BuiltinStream() if depth is None else GivenMaps(depth, size)
        is_one_read = once is frames or (depth is not None and iter(depth) is depth)
        if config.strength().needs_statistics and not is_one_read:
            placing = measure_estimated(
                cut_pictures(_read(frames, size), black_bars=config.black_bars, clock=clock),
                estimator=BuiltinStream() if depth is None else GivenMaps(depth, size),
                flow=flow,
                shaping=config.shaping(builtin=depth is None),
                total=len(frames) if isinstance(frames, Sized) else None,
                on_progress=on_first_pass,
                clock=clock,
            )
    elif once is frames:
        estimator = OneReadStream(depth_model, strength=config.depth_stability, clock=clock)
    else:
        pictures = cut_pictures(_read(frames, size), black_bars=config.black_bars, clock=clock)
        total = len(frames) if isinstance(frames, Sized) else None
        scenes = measure_film(
            pictures, model=depth_model, total=total, on_progress=on_first_pass, clock=clock
        )
        estimator = ModelStream(depth_model, scenes, strength=config.depth_stability)
        placing = statistics_of(scenes)
    # 3. The chain that films go through.
    cores = half_of_the_cores() if overlap else nullcontext()
    with cores, StageThreads() if overlap else NoThreads() as threads:
        job = Job(config, device, estimator, flow, filler, clock, scenes=placing, watch=watch)
        job = job.placed(size)
        stereo = stereo_frames(_read(again, size), job, threads=threads)
        yield from threads.prefetch(_to_pairs(stereo, job), ahead=1)


def _read(frames: Iterable[Tensor], size: tuple[int, int]) -> Iterator[VideoFrame]:
    """Give frames as those of a film: 8 bits to look at, and the exact values to render."""
    for index, frame in enumerate(frames):
        check_call("convert_frames", frame=frame)
        if tuple(frame.shape[-2:]) != size:
            raise InputError(
                f"`frames` must have one size, {size[1]}x{size[0]}, got {frame.shape[-1]}x{frame.shape[-2]} "
                f"in frame {index}; resize them"
            )
        exact = frame.detach()
        yield VideoFrame(to_bytes(exact), index, Fraction(1), exact=exact)


def _to_pairs(frames: Iterator[StereoFrame], job: Job) -> Iterator[StereoPair]:
    """Give each frame's views in the frame's own type and place, within its black bars."""
    transfer, flight = open_transfer(job.device), job.flight

    def begin() -> Iterator[tuple[int, VideoFrame, list[Arrival | None]]]:
        for index, (rendered, *views) in enumerate(frames):
            frame = rendered.analysed.frame
            made = (*views, rendered.depth, torch.cat([view.hole for view in rendered.views]))
            with flight.naming(index):
                arrivals = [
                    None if part is rendered.image else _leave(part, frame, transfer) for part in made
                ]
            yield index, frame, arrivals

    for index, frame, arrivals in delayed(begin(), transfer.delay):
        exact, surround = frame.exact, frame.surround
        assert exact is not None
        black = exact.new_zeros(1, *exact.shape[-2:])
        with flight.naming(index):
            left, right, depth, hole = (
                exact if arrival is None else _in_frame(arrival.wait(), surround, around)
                for arrival, around in zip(arrivals, (exact, exact, black, black), strict=True)
            )
        yield StereoPair(left, right, depth, hole)


def _leave(part: Tensor, frame: VideoFrame, transfer: Transfer) -> Arrival:
    """Begin to bring a picture from where it was made to where its frame is, in the frame's type."""
    assert frame.exact is not None
    part = part.to(frame.exact.dtype)
    return Arrival(part) if frame.exact.is_cuda else transfer.down(part)


def _in_frame(
    picture: Tensor,  # [C, h, w]
    surround: Surround | None,
    around: Tensor,  # [C or 1, H, W]
) -> Tensor:  # [C, H, W]
    """Put what belongs to a picture where it lies in its frame; a frame without bars is its picture."""
    if surround is None:
        return picture.to(around)
    whole = around.repeat(len(picture) // len(around), 1, 1)
    rows, columns = surround.box.slices
    whole[:, rows, columns] = picture.to(around)
    return whole
