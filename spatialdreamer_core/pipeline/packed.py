"""A film's frames to packed pictures of the film's own type, 8 bits or 16."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..stereo import pack
from ..video.color import ColorInfo
from ..video.reader import VideoFrame
from .chain import StereoFrame, half_of_the_cores, stereo_frames
from .device_frames import JOINED, around_picture, pack_bits, to_bits
from .job import Job
from .prefetch import StageThreads
from .preview import MiddleSheet, to_image
from .stages import Rendered, to_tensor
from .transfer import Arrival, Transfer, delayed, open_transfer


class Packed(NamedTuple):
    """A frame of the stereoscopic film."""

    pts: int
    image: np.ndarray  # [H', W', 3] RGB, of the source's type


def packed_frames(
    frames: Iterator[VideoFrame],
    job: Job,
    *,
    sheet: MiddleSheet,
) -> Generator[Packed, None, None]:
    """Convert a film's frames; yields each frame's pts and the packed picture, of the source's type.

    Args:
        frames: The film.
        job: What it is converted with.
        sheet: Takes the frame of which the contact sheet is made.
    """
    with half_of_the_cores(), StageThreads() as threads:
        stereo = stereo_frames(frames, job, threads=threads)
        transfer = open_transfer(job.device)
        if transfer.is_remote:
            packed = _pack_on_device(stereo, job, sheet, transfer)
        else:
            packed = _pack_all(stereo, job, sheet)
        yield from threads.prefetch(packed)


def _pack_all(frames: Iterator[StereoFrame], job: Job, sheet: MiddleSheet) -> Iterator[Packed]:
    """Pack each frame's two views into one picture of the source's type."""
    for index, (rendered, left, right) in enumerate(frames):
        with job.flight.naming(index), job.clock("pack"):
            frame = rendered.analysed.frame
            images = _to_image(left, rendered), _to_image(right, rendered)
            packed = _pack_images(*images, job.config.format, frame.color)
        sheet.offer(index, partial(tuple, images), rendered)
        yield Packed(frame.pts, packed)


def _pack_on_device(
    frames: Iterator[StereoFrame], job: Job, sheet: MiddleSheet, transfer: Transfer
) -> Iterator[Packed]:
    """Do as `_pack_all` on a GPU, from which the packed picture alone comes down."""

    def work(rendered: Rendered, left: Tensor, right: Tensor) -> tuple[tuple[Tensor, Tensor], Arrival]:
        with job.clock("pack"):
            views = _to_bits(left, rendered), _to_bits(right, rendered)
            color = rendered.analysed.frame.color
            return views, transfer.down(pack_bits(*views, format=job.config.format, color=color))

    def begin() -> Iterator[tuple[int, Arrival]]:
        for index, frame in enumerate(frames):
            views, arrival = job.flight.run(index, work, *frame)
            sheet.offer(index, partial(map, _down, views), frame.rendered)
            yield frame.rendered.analysed.frame.pts, arrival

    for index, (pts, arrival) in enumerate(delayed(begin(), transfer.delay)):
        with job.flight.naming(index), job.clock("pack"):
            image = arrival.wait().numpy()
        yield Packed(pts, image)


def _to_bits(view: Tensor, rendered: Rendered) -> Tensor:  # [H, W, 3] uint8 or uint16
    """Convert a view to the source's type, within its black bars; the source's own is there already."""
    bits, surround = rendered.bits, rendered.analysed.frame.surround
    assert bits is not None, "films come as bits"
    if view is rendered.image:
        return bits
    return around_picture(bits, to_bits(view, bits.dtype), surround)


def _down(bits: Tensor) -> np.ndarray:
    """Bring a picture to main memory, and wait for it."""
    return bits.cpu().numpy()


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
    if left.dtype == np.uint8 or format in JOINED:  # what is only joined can be joined byte by byte
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
