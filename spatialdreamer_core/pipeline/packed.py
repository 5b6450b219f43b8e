"""A film's frames to packed pictures of the film's own type, 8 bits or 16."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import cache, partial
from itertools import repeat
from typing import NamedTuple

import av
import numpy as np
import torch
from torch import Tensor

from ..dvg.interleaved import rgba_of
from ..video.reader import VideoFrame
from ..video.writer import VideoWriter
from ..video.yuv_on_device import LAYOUTS, frame_from_yuv, rgb_to_yuv
from .bits import around_picture, depth_bits, pack_bits, to_bits, whole_image
from .chain import StereoFrame, flat_frames, half_of_the_cores, stereo_frames
from .job import Job
from .prefetch import StageThreads
from .preview import ViewTaker, to_image
from .stages import Rendered
from .transfer import Arrival, Transfer, delayed, open_transfer

_HALVES = ("full_sbs", "full_tb", "cross_eyed")  # formats whose halves are the views as they are


class Packed(NamedTuple):
    """A frame of the stereoscopic film."""

    pts: int  # in units of the film's time base, or of half of it if a pair is two pictures
    image: np.ndarray | None  # [H', W', 3] RGB, of the source's type; None if it was not asked for
    frame: np.ndarray | av.VideoFrame  # what the writer takes


def packed_frames(
    frames: Iterator[VideoFrame],
    job: Job,
    *,
    sheet: ViewTaker,
    writer: VideoWriter | None = None,
    image_every: int = 1,
    duration: int | None = None,
    flat: bool = False,
) -> Generator[Packed, None, None]:
    """Convert a film's frames; yields each one packed, or the two pictures of each.

    Args:
        frames: The film.
        job: What it is converted with.
        sheet: Takes the frame of which the contact sheet is made.
        writer: What the frames are prepared for, so that it has but to encode them; None: they stay RGB.
        image_every: Of how many frames one is wanted as RGB, too.
        duration: How long the last frame lasts, in units of the film's time base, for two pictures a pair;
            None: as the one before.
        flat: Whether both eyes see the source, without any work on it.
    """
    with half_of_the_cores(), StageThreads() as threads:
        stereo = (flat_frames if flat else stereo_frames)(frames, job, threads=threads)
        transfer = open_transfer(job.device)
        if transfer.is_remote:
            packed = _pack_on_device(stereo, job, sheet, transfer, writer, image_every)
        else:
            packed = _pack_all(stereo, job, sheet, writer, image_every)
        if job.layout.pictures_a_pair == 2:
            packed = _in_turn(packed, duration)
        yield from threads.prefetch(packed)


def _pack_all(
    frames: Iterator[StereoFrame], job: Job, sheet: ViewTaker, writer: VideoWriter | None, image_every: int
) -> Iterator[Packed]:
    """Pack each frame's two views into one picture of the source's type."""
    for index, (rendered, left, right) in enumerate(frames):
        with job.flight.naming(index), job.clock("pack"):
            frame = rendered.analysed.frame
            with_image = writer is None or index % image_every == 0
            views = cache(partial(_to_images, left, right, rendered))
            packed: list[np.ndarray] = []
            joins = writer is not None and _joins(frame, job)
            if with_image or not joins:
                packed = _pack_images(*views(), rendered, job)
            prepared: Sequence[np.ndarray | av.VideoFrame] = packed
            if writer is not None and joins:
                halves = [_half(view, rendered) for view in _in_order(left, right, job)]
                prepared = [writer.prepare_halves(halves, stacked=job.layout.format == "full_tb")]
            elif writer is not None:
                prepared = [writer.prepare(picture) for picture in packed]
        sheet.offer(index, views, rendered)
        for image, ready in zip(packed if with_image else repeat(None), prepared, strict=False):
            yield Packed(frame.pts, image, ready)


def _pack_images(left: np.ndarray, right: np.ndarray, rendered: Rendered, job: Job) -> list[np.ndarray]:
    """Pack two pictures."""
    layout, frame = job.layout, rendered.analysed.frame
    if layout.format == "rgbd":
        left = whole_image(frame)
        right = depth_bits(rendered.depth, frame, torch.from_numpy(left[:1]).dtype).numpy()
    views = (torch.from_numpy(np.ascontiguousarray(image)) for image in (left, right))
    packed = pack_bits(*views, layout=layout, color=frame.color, aspect=job.aspect)
    return [picture.numpy() for picture in packed]


def _in_turn(frames: Iterator[Packed], duration: int | None) -> Iterator[Packed]:
    """Give each pair's two pictures their times: the second one's is halfway to the next pair."""
    second: Packed | None = None
    step = 1
    for first in frames:
        if second is not None:
            yield second._replace(pts=second.pts + first.pts)
            step = first.pts - second.pts
        second = next(frames)
        yield first._replace(pts=2 * first.pts)
    if second is not None:
        yield second._replace(pts=2 * second.pts + (step if duration is None else duration))


def _joins(frame: VideoFrame, job: Job) -> bool:
    """Tell whether a frame's views, of 8 bits and even sides, are only joined."""
    height, width = whole_image(frame).shape[:2]
    of_bytes = frame.image.dtype == np.uint8
    return of_bytes and job.layout.format in _HALVES and job.layout.is_plain and not (height | width) % 2


def _in_order(left: Tensor, right: Tensor, job: Job) -> tuple[Tensor, Tensor]:
    """Return the views in the order of their halves."""
    return (right, left) if job.layout.format == "cross_eyed" else (left, right)


def _half(view: Tensor, rendered: Rendered) -> np.ndarray:  # [H, W, 4] or [H, W, 3] uint8
    """Give a view as half of a frame, with the fourth channel if it has one: libswscale is faster with it."""
    rgba = rgba_of(view) if rendered.analysed.frame.surround is None else None
    return _to_image(view, rendered) if rgba is None else rgba


class _Coming(NamedTuple):
    """A frame's packed pictures on their way from the GPU."""

    pts: int
    views: tuple[Tensor, ...]  # [H, W, 3] each, as long as the contact sheet may want them
    pictures: list[tuple[Arrival | None, Callable[[], np.ndarray | av.VideoFrame]]]
    """Each as RGB, if it is wanted, and as the writer takes it, which waits for it."""


def _pack_on_device(
    frames: Iterator[StereoFrame],
    job: Job,
    sheet: ViewTaker,
    transfer: Transfer,
    writer: VideoWriter | None,
    image_every: int,
) -> Iterator[Packed]:
    """Do as `_pack_all` on a GPU, from which a frame comes down once, as the encoder takes it."""

    def work(index: int, rendered: Rendered, left: Tensor, right: Tensor) -> _Coming:
        with job.clock("pack"):
            frame = rendered.analysed.frame
            views = _to_bits(left, rendered), _to_bits(right, rendered)
            shown = views
            if job.layout.format == "rgbd":
                assert rendered.bits is not None, "films come as bits"
                shown = rendered.bits, depth_bits(rendered.depth, frame, rendered.bits.dtype)
            packed = pack_bits(*shown, layout=job.layout, color=frame.color, aspect=job.aspect)
            with_image = index % image_every == 0
            coming = [_send_down(picture, transfer, writer, with_image) for picture in packed]
            return _Coming(frame.pts, views, coming)

    def begin() -> Iterator[_Coming]:
        for index, frame in enumerate(frames):
            coming = job.flight.run(index, work, index, *frame)
            sheet.offer(index, partial(map, _down, coming.views), frame.rendered)
            yield coming._replace(views=())

    for index, coming in enumerate(delayed(begin(), transfer.delay)):
        for arriving, wait in coming.pictures:
            with job.flight.naming(index), job.clock("pack"):
                image = None if arriving is None else arriving.wait().numpy()
                frame = wait()
            yield Packed(coming.pts, image, frame)


def _send_down(
    packed: Tensor,  # [H', W', 3] uint8 or uint16
    transfer: Transfer,
    writer: VideoWriter | None,
    with_image: bool,
) -> tuple[Arrival | None, Callable[[], np.ndarray | av.VideoFrame]]:
    """Begin to bring a packed picture down, as YUV if the encoder takes what is made on the device."""
    layout = None if writer is None else LAYOUTS.get(writer.pixel_format)
    if writer is None or layout is None or (layout.bits == 8) != (packed.dtype == torch.uint8):
        coming = transfer.down(packed)
        return coming, partial(_prepare, coming, writer)
    pixel_format = writer.pixel_format  # of this frame: it changes if the encoder turns out not to work
    yuv = transfer.down(rgb_to_yuv(packed.permute(2, 0, 1), color=writer.color, pixel_format=pixel_format))
    height, width = (side + side % 2 for side in packed.shape[:2])
    image = transfer.down(packed) if with_image else None
    return image, lambda: frame_from_yuv(
        yuv.wait().numpy(), pixel_format=pixel_format, width=width, height=height
    )


def _prepare(image: Arrival, writer: VideoWriter | None) -> np.ndarray | av.VideoFrame:
    """Wait for a picture, and bring it to what the encoder takes."""
    picture = image.wait().numpy()
    return picture if writer is None else writer.prepare(picture)


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


def _to_images(left: Tensor, right: Tensor, rendered: Rendered) -> tuple[np.ndarray, np.ndarray]:
    """Convert both views, see `_to_image`."""
    return _to_image(left, rendered), _to_image(right, rendered)


def _to_image(view: Tensor, rendered: Rendered) -> np.ndarray:  # [H, W, 3] uint8 or uint16
    """Convert a view to the source's type, within its black bars; the source's own is there already."""
    frame = rendered.analysed.frame
    if view is rendered.image:
        return whole_image(frame)
    image = to_image(view, frame.image.dtype)
    return image if frame.surround is None else frame.surround.around(image)
