"""The chain of stages from a film's frames to packed pictures, each stage a thread of its own.

The stages overlap: decoding, analysis and rendering run a few frames ahead of the encoder.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from ..depth import BuiltinStream, DepthStream
from ..dvg.eyes import Eye
from ..fill import Filler
from ..flow import FlowEstimator
from ..stereo import apply_floating_window, pack
from ..video.color import ColorInfo
from ..video.reader import VideoFrame
from .borders import treat_borders
from .clock import StageClock
from .config import ConvertConfig
from .pictures import cut_pictures
from .prefetch import StageThreads
from .preview import MiddleSheet, to_image
from .stages import Rendered, analyse, estimate, fill, place, refine, render, to_tensor

_JOINED = ("full_sbs", "full_tb", "cross_eyed")  # formats that leave the views' pixels as they are
_CORES_LOCK = threading.Lock()
_cores: list[int] = []  # torch's number of threads before, once for each conversion that runs


def packed_frames(
    frames: Iterator[VideoFrame],
    config: ConvertConfig,
    device: torch.device,
    estimator: DepthStream,
    flow: FlowEstimator,
    filler: Filler,
    sheet: MiddleSheet,
    clock: StageClock,
) -> Generator[tuple[int, np.ndarray], None, None]:
    """Run the chain of stages; yields each frame's pts and the packed picture, of the source's type.

    Args:
        frames: The film.
        config: The settings.
        device: Where views are rendered.
        estimator: Gives the film's depth.
        flow: Estimates its flow.
        filler: Fills the holes of its views.
        sheet: Takes the frame of which the contact sheet is made.
        clock: Adds up the time that each stage takes.
    """
    eyes: tuple[Eye, ...] = ("left", "right") if config.eye == "both" else (config.eye,)
    with _half_of_the_cores(), StageThreads() as threads:
        decoded = _timed(frames, "decode", clock)
        pictures = threads.prefetch(
            cut_pictures(decoded, black_bars=config.black_bars, clock=clock, report=True)
        )
        analysed = analyse(pictures, flow=flow, clock=clock)
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
        if getattr(filler, "refines_holes", False):
            rendered = refine(rendered, clock=clock)
        filled = fill(rendered, filler=filler, clock=clock)
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
    """Pack each frame's two views into one picture of the source's type."""
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
            frame = rendered.analysed.frame
            images = _to_image(left, rendered), _to_image(right, rendered)
            packed = _pack_images(*images, config.format, frame.color)
        sheet.offer(index, *images, rendered)
        yield frame.pts, packed


def _to_image(view: Tensor, rendered: Rendered) -> np.ndarray:  # [H, W, 3] uint8 or uint16
    """Convert a view to the source's type, within its black bars; the source's own is there already."""
    frame = rendered.analysed.frame
    if view is rendered.image:
        return frame.image if frame.surround is None else frame.surround.frame
    image = to_image(view, frame.image.dtype)
    return image if frame.surround is None else frame.surround.around(image)


def _pack_images(
    left: np.ndarray, right: np.ndarray, format: str, color: ColorInfo | None
) -> np.ndarray:  # [H', W', 3], of the type of the views
    """Pack two pictures [H, W, 3] of uint8 or uint16."""
    height, _, channels = left.shape
    if left.dtype == np.uint8 or format in _JOINED:  # what is only joined can be joined byte by byte
        rows = (
            np.ascontiguousarray(view).view(np.uint8).reshape(height, -1, channels) for view in (left, right)
        )
        views = (torch.from_numpy(view).permute(2, 0, 1)[None] for view in rows)
        packed = np.ascontiguousarray(pack(*views, format=format)[0].movedim(0, -1).numpy())
        return packed.reshape(len(packed), -1).view(left.dtype).reshape(len(packed), -1, channels)
    black, white = (value / 65535 for value in ((0, 65535) if color is None else color.swing))
    views = (to_tensor(view, torch.device("cpu"))[None] for view in (left, right))
    if format == "anaglyph":  # it mixes the views' light, so black has to be 0
        views = (view.sub_(black).div_(white - black).clamp_(0, 1) for view in views)
        return to_image(pack(*views, format=format)[0].mul(white - black).add_(black), left.dtype)
    return to_image(pack(*views, format=format)[0], left.dtype)


def _timed(frames: Iterator[VideoFrame], stage: str, clock: StageClock) -> Iterator[VideoFrame]:
    """Count the time that an iterator takes for each item."""
    while True:
        with clock(stage):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame
