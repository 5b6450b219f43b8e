"""Whole-film conversion: a video or photo file in, a stereoscopic one out.

The stages overlap: decoding, analysis and rendering run in threads of their own, a few frames ahead of the
encoder. Memory does not depend on the length; the output appears under its name only when it is whole.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..checks import InputError
from ..depth import BuiltinStream, DepthModel, DepthStream
from ..dvg.eyes import Eye
from ..flow import FlowEstimator, open_flow
from ..stereo import apply_floating_window, pack, packed_size
from .borders import treat_borders
from .clock import StageClock
from .config import ConvertConfig
from .depth_source import DepthSource, choose_depth, open_depth
from .output import OutputFile, check_another_file
from .photo import WRITABLE_PHOTO_SUFFIXES, is_photo, read_photo_as_film, save_photo
from .prefetch import StageThreads
from .preview import MiddleSheet, to_image
from .probe import VideoInfo, probe
from .reader import VideoFrame, read_frames
from .stages import Rendered, analyse, estimate, fill, place, refine, render
from .writer import VideoWriter

Progress = Callable[[int, "int | None", "np.ndarray | None"], None]
_PREVIEW_EVERY = 12  # frames
_CORES_LOCK = threading.Lock()
_cores: list[int] = []  # torch's number of threads before, once for each conversion that runs


def convert(
    input_path: Path | str,
    output_path: Path | str,
    config: ConvertConfig | None = None,
    *,
    depth_model: DepthModel | None = None,
    on_progress: Progress | None = None,
    on_survey: Callable[[int, int | None], None] | None = None,
    preview_path: Path | str | None = None,
    metadata: Mapping[str, str] | None = None,
    clock: StageClock | None = None,
    overwrite: bool = False,
    on_saved: Callable[[Path], None] | None = None,
) -> int:
    """Convert a monocular video or photo to a stereoscopic one.

    Args:
        input_path: A video or photo file.
        output_path: Where the result goes; the suffix chooses the container (.mp4, .mkv, .mov) or photo
            format.
        config: The settings.
        depth_model: A model from `load_model` to be used instead of what `config.depth` names.
        on_progress: Called after each frame with the frames done, their total if it is known, and now and
            then the packed frame, [H, W, 3] uint8; may raise to interrupt, and then no output stays.
        on_survey: Called after each frame of the first pass, which depth models and files need, with the
            frames done and their total if it is known; may raise to interrupt.
        preview_path: Where a contact sheet of the middle frame goes, or None. One that fails to be written
            after the work has begun is only left out.
        metadata: Tags written into a video, by name.
        clock: Adds up the time that each stage takes.
        overwrite: Whether an existing output or preview may be replaced in the end.
        on_saved: Called with the path of the result: not `output_path` if something else took that name
            during the work.

    Returns:
        The number of frames written.

    Raises:
        InputError: For a file or setting that cannot be used.
    """
    input_path, output_path = Path(input_path), Path(output_path)
    config = config or ConvertConfig()
    check_conversion(input_path, output_path, config, preview_path=preview_path)
    clock = clock or StageClock()
    on_progress = on_progress or (lambda done, total, packed: None)
    device = choose_device(config.device)
    photo = is_photo(input_path)
    info = None if photo else probe(input_path)
    total = 1 if info is None else _count_frames(info, config)
    inputs = _inputs(input_path, config)
    sheet = MiddleSheet(
        preview_path, index=(total or 1) // 2, inputs=(*inputs, output_path), overwrite=overwrite
    )
    if info is None:
        output = OutputFile(output_path, suffixes=WRITABLE_PHOTO_SUFFIXES, inputs=inputs, overwrite=overwrite)
        with sheet, output:
            source = choose_depth(config, depth_model, device)
            _convert_photo(input_path, output, config, device, source, on_progress, sheet, clock)
        if on_saved is not None:
            on_saved(output.path)
        return 1
    height, width = packed_size(info.height, info.width, format=config.format)
    half_width, half_height = (config.format == name for name in ("half_sbs", "half_tb"))
    aspect = info.sample_aspect_ratio * Fraction(2 if half_width else 1, 2 if half_height else 1)
    done = 0
    writer = VideoWriter(
        output_path,
        width=width,
        height=height,
        source=info,
        codec=config.encoder(width),
        crf=config.crf,
        preset=config.preset,
        sample_aspect_ratio=aspect,
        audio_from=input_path if config.audio and info.audio_codecs else None,
        audio_start=config.start,
        audio_end=config.end,
        metadata=metadata,
        overwrite=overwrite,
        inputs=inputs,
    )
    with sheet, writer:  # before models are loaded: what cannot be written is found at once
        source = choose_depth(config, depth_model, device)
        flow = open_flow(config.flow, device=device)
        with (
            open_depth(
                source, input_path, config, total=total, on_survey=on_survey, clock=clock
            ) as estimator,
            closing(read_frames(input_path, start=config.start, end=config.end)) as frames,
            closing(_packed(frames, config, device, estimator, flow, sheet, clock)) as pictures,
        ):
            for pts, packed in pictures:
                with clock("encode"):
                    writer.write(packed, pts)
                sheet.write()
                done += 1
                on_progress(done, total, packed if done % _PREVIEW_EVERY == 1 else None)
        sheet.write(film_ended=True)
    if on_saved is not None:
        on_saved(writer.path)
    return done


def check_conversion(
    input_path: Path | str,
    output_path: Path | str,
    config: ConvertConfig,
    *,
    preview_path: Path | str | None = None,
) -> None:
    """Check all of a conversion that can be checked without opening a file.

    Raises:
        InputError: If a setting breaks its rule, the device is not there, or an output is an input or the
            other output.
    """
    config.check()
    choose_device(config.device)
    input_path, output_path = Path(input_path), Path(output_path)
    outputs = {"output": output_path}
    if preview_path is not None:
        check_another_file(preview_path, output_path, name="preview", other_name="output")
        outputs["preview"] = Path(preview_path)
    for name, path in outputs.items():
        check_another_file(path, input_path, name=name)
        if config.depth_file is not None:
            check_another_file(path, config.depth_file, name=name, other_name="depth")


def _inputs(input_path: Path, config: ConvertConfig) -> tuple[Path, ...]:
    """List what a conversion reads."""
    return (input_path,) if config.depth_file is None else (input_path, Path(config.depth_file))


def _convert_photo(
    input_path: Path,
    output: OutputFile,
    config: ConvertConfig,
    device: torch.device,
    source: DepthSource,
    on_progress: Progress,
    sheet: MiddleSheet,
    clock: StageClock,
) -> None:
    """Convert a single picture: a film of one frame."""
    flow = open_flow(config.flow, device=device)
    with (
        open_depth(source, input_path, config, total=1, on_survey=None, clock=clock) as estimator,
        closing(read_photo_as_film(input_path)) as frames,
        closing(_packed(frames, config, device, estimator, flow, sheet, clock)) as pictures,
    ):
        for _, packed in pictures:
            with clock("encode"):
                save_photo(output.partial, packed, suffix=output.path.suffix)
            on_progress(1, 1, packed)
    sheet.write(film_ended=True)
    output.commit()


def _count_frames(info: VideoInfo, config: ConvertConfig) -> int | None:
    """Estimate how many frames lie between start and end."""
    if info.frame_count is None:
        return None
    if config.start is None and config.end is None:
        return info.frame_count
    duration = info.duration or info.frame_count / float(info.frame_rate)
    start, end = config.start or 0.0, min(config.end or duration, duration)
    if start >= duration:
        if _has_frames(info.path, start):
            return None  # its header is wrong
        raise InputError(f"start must be less than the video's duration ({duration:.2f} s), got {start:g} s")
    return max(1, round((end - start) * float(info.frame_rate)))


def _has_frames(path: Path, start: float) -> bool:
    """Tell whether a video has a frame from a moment on."""
    with closing(read_frames(path, start=start)) as frames:
        try:
            return next(frames, None) is not None
        except InputError:
            return False


def _packed(
    frames: Iterator[VideoFrame],
    config: ConvertConfig,
    device: torch.device,
    estimator: DepthStream,
    flow: FlowEstimator,
    sheet: MiddleSheet,
    clock: StageClock,
) -> Generator[tuple[int, np.ndarray], None, None]:
    """Run the chain of stages; yields each frame's pts and the packed picture."""
    eyes: tuple[Eye, ...] = ("left", "right") if config.eye == "both" else (config.eye,)
    with _half_of_the_cores(), StageThreads() as threads:
        decoded = threads.prefetch(_timed(frames, "decode", clock))
        analysed = analyse(decoded, flow=flow, clock=clock)
        estimated = threads.prefetch(estimate(analysed, estimator=estimator, clock=clock))
        placed = threads.prefetch(
            place(
                estimated,
                eyes=len(eyes),
                divergence=config.divergence,
                convergence=config.convergence,
                device=device,
                clock=clock,
                shaping=config.shaping(builtin=isinstance(estimator, BuiltinStream)),
                guided=config.guided_upsampling,
            ),
            ahead=1,
        )
        bordered = treat_borders(
            placed, border=config.border, width_percent=config.border_width, eyes=len(eyes), clock=clock
        )
        rendered = threads.prefetch(render(bordered, eyes=eyes, clock=clock), ahead=1)
        filled = fill(refine(rendered, clock=clock), clock=clock)
        yield from threads.prefetch(_pack_all(filled, config, sheet, clock))


@contextmanager
def _half_of_the_cores() -> Iterator[None]:
    """Leave each operation half of the cores while stages run side by side: fewer waits for each other.

    Of conversions that run side by side, each leaves torch as it was before the first one.
    """
    with _CORES_LOCK:
        threads = _cores[0] if _cores else torch.get_num_threads()
        _cores.append(threads)
        torch.set_num_threads(max(1, threads // 2))
    try:
        yield
    finally:
        with _CORES_LOCK:
            _cores.pop()
            torch.set_num_threads(threads)


def _pack_all(
    frames: Iterator[tuple[Rendered, tuple[Tensor, ...]]],
    config: ConvertConfig,
    sheet: MiddleSheet,
    clock: StageClock,
) -> Iterator[tuple[int, np.ndarray]]:
    """Pack each frame's two views into one 8-bit picture."""
    for index, (rendered, views) in enumerate(frames):
        with clock("pack"):
            left, right = {
                "right": (rendered.image, views[-1]),
                "left": (views[0], rendered.image),
                "both": (views[0], views[-1]),
            }[config.eye]
            if rendered.window is not None:
                left, right = (
                    view[0] for view in apply_floating_window(left[None], right[None], rendered.window)
                )
            packed = _pack_images(_to_image(left, rendered), _to_image(right, rendered), config.format)
        sheet.offer(index, left, right, rendered)
        yield rendered.analysed.frame.pts, packed


def _to_image(view: Tensor, rendered: Rendered) -> np.ndarray:  # [H, W, 3] uint8
    """Convert a view to 8 bits; the source's own is there already."""
    return rendered.analysed.frame.image if view is rendered.image else to_image(view)


def _pack_images(left: np.ndarray, right: np.ndarray, format: str) -> np.ndarray:
    """Pack two pictures [H, W, 3] uint8."""
    views = (torch.from_numpy(view).permute(2, 0, 1)[None] for view in (left, right))
    return np.ascontiguousarray(pack(*views, format=format)[0].movedim(0, -1).numpy())


def _timed(frames: Iterator[VideoFrame], stage: str, clock: StageClock) -> Iterator[VideoFrame]:
    """Count the time that an iterator takes for each item."""
    while True:
        with clock(stage):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame


def choose_device(name: str) -> torch.device:
    """Resolve "auto", and check that a device is one of those that the stages run on and is there.

    Raises:
        InputError: If it is not.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    there = ["cpu", *(["cuda"] if count else []), *(f"cuda:{index}" for index in range(count))]
    if name not in there:
        raise InputError(
            f"device must be auto or one that is supported and in this machine ({', '.join(there)}), "
            f"got {name}; use auto"
        )
    return torch.device(name)
