"""The pipeline as a chain of generators: each takes the stage before it and holds a few frames of it at most.

cut_pictures (`pictures.py`) → analyse (`analysis.py`) → estimate (depth) → place (disparity) → treat_borders
(`borders.py`) → render (warp) → refine (hole masks) → fill. A stage that looks at next frames keeps as
many back, so a film of any length takes the memory of a few frames, and the result does not depend on where a
window would end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..bars import crop_map
from ..depth import (
    DepthShaping,
    DepthStream,
    FileDepth,
    ModelStream,
)
from ..depth.estimate import raise_depth
from ..depth.on_device import upsample_on_device
from ..depth.shaping import shape_frames
from ..dvg.disparity import Placement, convergence_shift, to_disparity
from ..dvg.eyes import Eye
from ..dvg.forward import warp_frames
from ..dvg.forward_bytes import warp_bytes
from ..dvg.hole_masks import add_neighbours
from ..dvg.zbuffer import bring_motions, find_columns
from ..fill import CheckedStream, Filler, RenderedFrame
from ..flow import Motion
from ..stereo import FloatingWindow
from ..video.color import to_8_bit
from ..video.reader import VideoFrame
from .analysis import Analysed, analyse
from .bits import picture_of, to_floats, whole_image
from .clock import StageClock
from .flight import Flight
from .given_maps import GivenMaps
from .prefetch import StageThreads
from .transfer import Transfer, open_transfer

__all__ = [
    "Analysed",
    "Estimated",
    "Placed",
    "Rendered",
    "analyse",
    "estimate",
    "fill",
    "picture_tensor",
    "place",
    "refine",
    "render",
    "to_tensor",
]

_AS_IT_IS = DepthShaping()
_ROWS_APART = 8  # a filler's known pixels are compared in every eighth row


@dataclass(frozen=True)
class Estimated:
    """An analysed frame with its depth."""

    analysed: Analysed
    depth: np.ndarray  # [h, w] float32, finite, in [0, 1]; of working size or, from a file, up to the frame's


@dataclass(frozen=True)
class Placed:
    """An analysed frame with its depth and disparity."""

    analysed: Analysed
    image: Tensor  # [3, H, W] in [0, 1], or uint8, see `place`
    depth: Tensor  # [1, H, W] in [0, 1]
    disparity: Tensor  # [1, 1, H, W] px
    small_disparity: Tensor  # [1, 1, h, w] px of the working size
    bits: Tensor | None = None  # [H, W, 3] uint8 or uint16: the whole frame, if it went up to a GPU
    window: FloatingWindow | None = None  # of this frame
    shift: float = 0.0  # px, what convergence has taken off the disparity


@dataclass(frozen=True)
class Rendered:
    """An analysed frame with its depth and the views rendered from it."""

    analysed: Analysed
    image: Tensor  # [3, H, W] in [0, 1], or uint8, see `place`
    depth: Tensor  # [1, H, W] in [0, 1]
    eyes: tuple[Eye, ...]
    views: tuple[RenderedFrame, ...]  # one an eye
    bits: Tensor | None = None  # [H, W, 3] uint8 or uint16: the whole frame, if it went up to a GPU
    window: FloatingWindow | None = None  # of this frame


def estimate(
    frames: Iterator[Analysed],
    *,
    estimator: DepthStream,
    clock: StageClock,
    threads: StageThreads | None = None,
    flight: Flight | None = None,
) -> Iterator[Estimated]:
    """Estimate each frame's depth at working size; a scene begins anew at each cut.

    A model that takes batches gets as many frames at once as wait in a thread of `threads`, and works on the
    next ones in another thread while the depth of these is steadied.
    """
    flight = flight or Flight()
    if isinstance(estimator, ModelStream):
        groups: Iterator[Sequence[Analysed]]
        if threads is None or estimator.batch == 1:
            groups = ((frame,) for frame in frames)
            frames = _look_ahead(groups, estimator, clock, flight)
        else:
            groups = threads.prefetch_some(frames, ahead=estimator.batch, most=estimator.batch)
            looked = _look_ahead(groups, estimator, clock, flight)
            frames = threads.prefetch(looked, ahead=estimator.batch // 2)
            clock.share("depth", 2)
    return _estimate(frames, estimator, clock, flight)


def _look_ahead(
    groups: Iterator[Sequence[Analysed]], estimator: ModelStream, clock: StageClock, flight: Flight
) -> Iterator[Analysed]:
    """Run a model on frames that come a few at a time, before they go on one by one."""
    index = 0
    for group in groups:
        with clock("depth"):
            flight.run_in_portions(index, estimator.look_ahead, [frame.small for frame in group])
        yield from group
        index += len(group)


def _estimate(
    frames: Iterator[Analysed], estimator: DepthStream, clock: StageClock, flight: Flight
) -> Iterator[Estimated]:
    """Give each frame its depth."""
    for index, frame in enumerate(frames):
        with flight.naming(index), clock("depth"):
            if frame.starts_scene:
                estimator.reset()
            depth = estimator.step(frame.small, frame.to_next, frame.to_previous)
            if isinstance(estimator, (FileDepth, GivenMaps)) and frame.frame.surround is not None:
                depth = crop_map(depth, frame.frame.surround)  # given depth covers the whole frame
        yield Estimated(frame, depth)


def place(
    frames: Iterator[Estimated],
    *,
    eyes: int,
    divergence: float,
    convergence: float,
    device: torch.device,
    clock: StageClock,
    shaping: DepthShaping = _AS_IT_IS,
    guided: bool = False,
    as_bytes: bool = False,
    flight: Flight | None = None,
) -> Iterator[Placed]:
    """Turn each frame's depth into disparity at full size; the eyes share the total among them.

    A frame that has a `placement` of its own goes by that. `guided` moves depth's edges to the edges of the
    frame's colours, `shaping` is `shape_depth`'s. On the CPU `as_bytes` leaves pictures of 8 bits as they
    are, and the views that are rendered from them become bytes, too (`Filler.takes_bytes`). Here frames enter
    a GPU's memory, counted by `flight`.
    """
    transfer = open_transfer(device)
    if transfer.is_remote:
        bring = partial(_bring_up, transfer=transfer)
    else:
        bring = partial(_at_full_size, as_bytes=as_bytes)

    def work(frame: Estimated) -> Placed:
        own = frame.analysed.frame.placement or Placement(divergence, convergence, shaping.foreground_scale)
        with clock("disparity"):
            shaped = replace(shaping, foreground_scale=own.foreground_scale)
            analysed, image, depth, bits = bring(frame, shaping=shaped, guided=guided)
            values = {"divergence": own.divergence / eyes, "convergence": own.convergence}
            disparity = to_disparity(depth, **values)
            small = _shrink_disparity(disparity, analysed.small.shape[:2])
            shift = convergence_shift(disparity.shape[-1], **values)
        return Placed(analysed, image, depth[0], disparity, small, bits, shift=shift)

    for index, frame in enumerate(frames):
        if flight is None:
            yield work(frame)
        else:
            flight.enter()
            yield flight.run(index, work, frame)


_FullSize = tuple[Analysed, Tensor, Tensor, "Tensor | None"]  # [3, H, W], [1, 1, H, W], [H, W, 3]


def _at_full_size(frame: Estimated, *, shaping: DepthShaping, guided: bool, as_bytes: bool) -> _FullSize:
    """Give a frame's picture and its depth at full size, on the CPU."""
    film_frame = frame.analysed.frame
    guide = to_8_bit(film_frame.image, film_frame.color) if guided else None
    full = raise_depth(frame.depth, film_frame.image.shape[:2], guide=guide)
    depth = shape_frames(torch.from_numpy(full)[None, None], shaping, on_device=False)
    if as_bytes and film_frame.exact is None and film_frame.image.dtype == np.uint8:
        return frame.analysed, torch.from_numpy(film_frame.image).permute(2, 0, 1), depth, None
    return frame.analysed, picture_tensor(film_frame), depth, None


def _bring_up(frame: Estimated, *, shaping: DepthShaping, guided: bool, transfer: Transfer) -> _FullSize:
    """Bring a frame, its depth and its motion to the GPU, and its depth to full size there."""
    analysed, film_frame = frame.analysed, frame.analysed.frame
    bits = None
    if film_frame.exact is None:
        bits = transfer.up(whole_image(film_frame))
        image = to_floats(picture_of(bits, film_frame.surround))
    else:
        image = transfer.up(_exact_picture(film_frame)).to(torch.float32).contiguous()
    guide = image if guided else None
    if guided and film_frame.image.dtype != np.uint8:
        guide = to_floats(transfer.up(to_8_bit(film_frame.image, film_frame.color)))
    size = (image.shape[-2], image.shape[-1])
    depth = upsample_on_device(transfer.up(frame.depth)[None, None], size, guide=guide)
    to_previous, to_next = (
        None if motion is None else Motion(transfer.up(motion.flow), transfer.up(motion.confidence))
        for motion in (analysed.to_previous, analysed.to_next)
    )
    moved = replace(analysed, to_previous=to_previous, to_next=to_next)
    return moved, image, shape_frames(depth, shaping, on_device=True), bits


def _shrink_disparity(disparity: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring disparity to a smaller size and its pixels; values at edges are picked, not mixed."""
    return F.interpolate(disparity, size, mode="nearest-exact") * (size[1] / disparity.shape[-1])


def render(
    frames: Iterator[Placed], *, eyes: tuple[Eye, ...], clock: StageClock, flight: Flight | None = None
) -> Iterator[Rendered]:
    """Warp each frame to the views of the given eyes."""
    flight = flight or Flight()

    def work(frame: Placed) -> Rendered:
        with clock("warp"):
            views = tuple(_render_view(frame, eye) for eye in eyes)
        return Rendered(frame.analysed, frame.image, frame.depth, eyes, views, frame.bits, frame.window)

    for index, frame in enumerate(frames):
        yield flight.run_in_portions(index, work, frame)


def picture_tensor(frame: VideoFrame) -> Tensor:  # [3, H, W] in [0, 1]
    """Return a frame's picture as floats: its exact values if it has them, else those of its bits."""
    if frame.exact is None:
        return to_tensor(frame.image, torch.device("cpu"))
    return _exact_picture(frame).to("cpu", torch.float32).contiguous()


def _exact_picture(frame: VideoFrame) -> Tensor:  # [3, h, w] in [0, 1]
    """Return the exact values of the picture of a frame that has them."""
    assert frame.exact is not None
    rows, columns = (slice(None), slice(None)) if frame.surround is None else frame.surround.box.slices
    return frame.exact[:, rows, columns]


def to_tensor(image: np.ndarray, device: torch.device) -> Tensor:
    """Convert [H, W, 3] uint8 or uint16 to [3, H, W] float in [0, 1], 1 being the type's highest value."""
    highest = np.iinfo(image.dtype).max
    if torch.device(device).type == "cpu":  # bytes are parted faster than floats
        tensor = torch.empty(3, *image.shape[:2])
        for plane, part in zip(cv2.split(image), tensor, strict=True):
            np.copyto(part.numpy(), plane)
            part.div_(highest)
        return tensor
    if image.dtype != np.uint8:
        image = image.astype(np.float32)  # torch has few operations for uint16
    planes = torch.from_numpy(image).to(device).permute(2, 0, 1)
    return planes.to(torch.float32, memory_format=torch.contiguous_format).div_(highest)


def _render_view(frame: Placed, eye: Eye) -> RenderedFrame:
    """Warp one frame to one eye's view, and bring its disparity and motion there."""
    if frame.image.dtype == torch.uint8:
        warped, hole, seen = warp_bytes(frame.image, frame.disparity[0], eye=eye)
    else:
        warped, hole, seen = (part[0] for part in warp_frames(frame.image[None], frame.disparity, eye=eye))
    columns = find_columns(frame.small_disparity, eye=eye)
    to_previous, to_next = bring_motions([frame.analysed.to_previous, frame.analysed.to_next], columns)
    return RenderedFrame(frame.image, warped, hole, seen, to_previous, to_next, frame.shift)


def refine(
    frames: Iterator[Rendered], *, clock: StageClock, flight: Flight | None = None
) -> Iterator[Rendered]:
    """Add to the hole masks what the frame before shows along the flow (half of Eq. 2).

    It is for fillers that redraw regions (`Filler.refines_holes`).
    """
    flight = flight or Flight()

    def work(previous: Rendered | None, current: Rendered) -> Rendered:
        with clock("refine"):
            return replace(current, views=tuple(_refine(previous, current)))

    previous: Rendered | None = None
    for index, current in enumerate(frames):
        yield flight.run(index, work, previous, current)
        previous = current


def _refine(previous: Rendered | None, current: Rendered) -> Iterator[RenderedFrame]:
    """Refine the masks of one frame's views, by the unrefined ones of the frame before."""
    for i, view in enumerate(current.views):
        neighbours = []
        if previous is not None and view.to_previous is not None:
            neighbours.append((previous.views[i].hole[None], view.to_previous))
        yield view._replace(hole=add_neighbours(view.hole[None], neighbours)[0])


def fill(
    frames: Iterator[Rendered], *, filler: Filler, clock: StageClock, flight: Flight | None = None
) -> Iterator[tuple[Rendered, tuple[Tensor, ...]]]:
    """Fill each view's holes; yields the frame with its filled views, [3, H, W] in [0, 1] or uint8 each."""
    flight = flight or Flight()
    streams: list[CheckedStream] = []  # one an eye
    finished: list[deque[Tensor]] = []  # of each stream
    waiting: deque[Rendered] = deque()

    def work(step: Callable[..., list[Tensor]], *arguments: RenderedFrame) -> list[Tensor]:
        with clock("fill"), torch.no_grad():
            return step(*arguments)

    def ready() -> Iterator[tuple[Rendered, tuple[Tensor, ...]]]:
        """Yield the frames of which each eye's view is there."""
        while finished and all(finished):
            yield waiting.popleft(), tuple(done.popleft() for done in finished)

    size, index = None, -1
    for index, frame in enumerate(frames):
        if frame.analysed.starts_scene:
            for stream, done in zip(streams, finished, strict=True):
                done.extend(flight.run(index, work, stream.finish))
            yield from ready()
            if size != (size := (frame.image.shape[-2], frame.image.shape[-1])):  # black bars come and go
                for stream in streams:
                    stream.close()
                streams = [
                    CheckedStream(filler, eye=eye, size=size, rows_apart=_ROWS_APART) for eye in frame.eyes
                ]
                finished = [deque() for _ in streams]
        waiting.append(frame)
        for stream, done, view in zip(streams, finished, frame.views, strict=True):
            done.extend(flight.run(index, work, stream.push, view))
        flight.leave()
        yield from ready()
    for stream, done in zip(streams, finished, strict=True):
        done.extend(flight.run(index, work, stream.finish))
    yield from ready()
    for stream in streams:
        stream.close()
