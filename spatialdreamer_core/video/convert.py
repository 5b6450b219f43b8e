"""Whole-film conversion: a video or photo file in, a stereoscopic one out.

The stages overlap: decoding, analysis and rendering run in threads of their own, a few frames ahead of the
encoder. Memory does not depend on the length; the output appears under its name only when it is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
from .photo import is_photo, read_photo_as_film, write_photo
from .pictures import cut_pictures
from .prefetch import prefetch
from .preview import preview_sheet, to_image
from .probe import VideoInfo, probe
from .reader import VideoFrame, read_frames
from .stages import Rendered, analyse, estimate, fill, place, refine, render, to_tensor
from .writer import VideoWriter

Progress = Callable[[int, "int | None", "np.ndarray | None"], None]
_PREVIEW_EVERY = 12  # frames


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
        preview_path: Where a contact sheet of the middle frame goes, or None.
        metadata: Tags written into a video, by name.
        clock: Adds up the time that each stage takes.

    Returns:
        The number of frames written.

    Raises:
        InputError: For a file or setting that cannot be used.
    """
    input_path, output_path = Path(input_path), Path(output_path)
    config = config or ConvertConfig()
    config.check()
    clock = clock or StageClock()
    on_progress = on_progress or (lambda done, total, packed: None)
    sheet_path = None if preview_path is None else Path(preview_path)
    device = torch.device(_choose_device(config.device))
    if is_photo(input_path):
        source = choose_depth(config, depth_model, device)
        return _convert_photo(input_path, output_path, config, device, source, on_progress, sheet_path, clock)
    info = probe(input_path)
    source = choose_depth(config, depth_model, device)
    flow = open_flow(config.flow, device=device)
    total = _count_frames(info, config)
    height, width = packed_size(info.height, info.width, format=config.format)
    half_width, half_height = (config.format == name for name in ("half_sbs", "half_tb"))
    aspect = info.sample_aspect_ratio * Fraction(2 if half_width else 1, 2 if half_height else 1)
    done = 0
    with VideoWriter(
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
    ) as writer:
        with open_depth(
            source, input_path, config, total=total, on_survey=on_survey, clock=clock
        ) as estimator:
            frames = read_frames(input_path, start=config.start, end=config.end)
            for pts, packed, sheet in _packed(
                frames, config, device, estimator, flow, _middle(total, sheet_path), clock
            ):
                with clock("encode"):
                    writer.write(packed, pts)
                if sheet is not None and sheet_path is not None:
                    write_photo(sheet_path, sheet)
                done += 1
                on_progress(done, total, packed if done % _PREVIEW_EVERY == 1 else None)
    return done


def _convert_photo(
    input_path: Path,
    output_path: Path,
    config: ConvertConfig,
    device: torch.device,
    source: DepthSource,
    on_progress: Progress,
    sheet_path: Path | None,
    clock: StageClock,
) -> int:
    """Convert a single picture: a film of one frame."""
    flow = open_flow(config.flow, device=device)
    with open_depth(source, input_path, config, total=1, on_survey=None, clock=clock) as estimator:
        for _, packed, sheet in _packed(
            read_photo_as_film(input_path), config, device, estimator, flow, _middle(1, sheet_path), clock
        ):
            write_photo(output_path, packed)
            if sheet is not None and sheet_path is not None:
                write_photo(sheet_path, sheet)
            on_progress(1, 1, packed)
    return 1


def _count_frames(info: VideoInfo, config: ConvertConfig) -> int | None:
    """Estimate how many frames lie between start and end."""
    if info.frame_count is None:
        return None
    if config.start is None and config.end is None:
        return info.frame_count
    duration = info.duration or info.frame_count / float(info.frame_rate)
    start, end = config.start or 0.0, min(config.end or duration, duration)
    if start >= duration:
        raise InputError(f"start must be less than the video's duration ({duration:.2f} s), got {start:g} s")
    return max(1, round((end - start) * float(info.frame_rate)))


def _middle(total: int | None, sheet_path: Path | None) -> int | None:
    """Choose the frame of which the contact sheet is made."""
    return None if sheet_path is None else (total or 1) // 2


def _packed(
    frames: Iterator[VideoFrame],
    config: ConvertConfig,
    device: torch.device,
    estimator: DepthStream,
    flow: FlowEstimator,
    sheet_index: int | None,
    clock: StageClock,
) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
    """Run the chain of stages; yields each frame's pts, the packed picture and, once, the contact sheet."""
    eyes: tuple[Eye, ...] = ("left", "right") if config.eye == "both" else (config.eye,)
    decoded = _timed(frames, "decode", clock)
    pictures = prefetch(cut_pictures(decoded, black_bars=config.black_bars, clock=clock, report=True))
    analysed = analyse(pictures, flow=flow, clock=clock)
    estimated = prefetch(estimate(analysed, estimator=estimator, clock=clock))
    placed = prefetch(
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
    rendered = prefetch(render(bordered, eyes=eyes, clock=clock), ahead=1)
    filled = fill(refine(rendered, clock=clock), clock=clock)
    packed = prefetch(_pack_all(filled, config, sheet_index, clock))
    try:
        with _half_of_the_cores():
            yield from packed
    finally:
        packed.close()


@contextmanager
def _half_of_the_cores() -> Iterator[None]:
    """Leave each operation half of the cores while stages run side by side: fewer waits for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // 2))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _pack_all(
    frames: Iterator[tuple[Rendered, tuple[Tensor, ...]]],
    config: ConvertConfig,
    sheet_index: int | None,
    clock: StageClock,
) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
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
            images = _to_image(left, rendered), _to_image(right, rendered)
            packed = _pack_images(*images, config.format)
        sheet = None
        if index == sheet_index:
            view = rendered.views[-1]
            warped = view.image * (view.hole < 0.5)  # it has been filled in place
            depth, hole = (_in_frame(values, rendered) for values in (rendered.depth, view.hole))
            warped = _in_frame(warped, rendered)
            if rendered.analysed.frame.surround is not None:
                left, right = (to_tensor(image, left.device) for image in images)
            sheet = preview_sheet(left, right, depth=depth, hole=hole, warped=warped)
        yield rendered.analysed.frame.pts, packed, sheet


def _to_image(view: Tensor, rendered: Rendered) -> np.ndarray:  # [H, W, 3] uint8
    """Convert a view to 8 bits, in its frame with black bars; the source's own is there already."""
    frame = rendered.analysed.frame
    if view is rendered.image:
        return frame.image if frame.surround is None else frame.surround.frame
    return to_image(view) if frame.surround is None else frame.surround.around(to_image(view))


def _in_frame(picture: Tensor, rendered: Rendered) -> Tensor:  # [C, h, w] -> [C, H, W]
    """Put a map of the picture where it lies in a frame with black bars, which are 0."""
    surround = rendered.analysed.frame.surround
    if surround is None:
        return picture
    whole = picture.new_zeros(picture.shape[0], *surround.frame.shape[:2])
    rows, columns = surround.box.slices
    whole[:, rows, columns] = picture
    return whole


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


def _choose_device(name: str) -> str:
    """Resolve "auto" and check that CUDA is there when it is asked for."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device must be one that this machine has, got {name}; use cpu or auto")
    return name
