"""The pipeline as a chain of generators: each takes the stage before it and holds at most two frames of it.

analyse (flow, cuts) → estimate (depth) → place (disparity) → render (warp) → refine (hole masks, Eq. 2) →
fill. A stage that looks at the next frame keeps one frame back, so a film of any length takes the memory of a
few frames, and the result does not depend on where a window would end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from ..depth import DepthStream, upsample_depth, working_frame
from ..dvg import (
    depth_to_disparity,
    forward_warp_with_disparity,
    refine_one_mask,
    source_columns,
)
from ..dvg.eyes import Eye
from ..fill import FastFill, ViewFlow, ViewFrame, carry_flow
from ..flow import CutDetector, Motion, dis_flow, flow_confidence
from .clock import StageClock
from .reader import VideoFrame


@dataclass(frozen=True)
class Analysed:
    """A frame with its motion at working size; None where there is no neighbour in the same scene."""

    frame: VideoFrame
    small: np.ndarray  # [h, w, 3] uint8, the frame at working size
    starts_scene: bool
    to_previous: Motion | None
    to_next: Motion | None


@dataclass(frozen=True)
class Estimated:
    """An analysed frame with its depth."""

    analysed: Analysed
    depth: np.ndarray  # [h, w] float32 in [0, 1], at working size


@dataclass(frozen=True)
class Placed:
    """An analysed frame with its depth and disparity."""

    analysed: Analysed
    image: Tensor  # [3, H, W] in [0, 1]
    depth: Tensor  # [1, H, W] in [0, 1]
    disparity: Tensor  # [1, 1, H, W] px
    small_disparity: Tensor  # [1, 1, h, w] px of the working size


@dataclass(frozen=True)
class View:
    """The rendered view of one eye."""

    eye: Eye
    image: Tensor  # [3, H, W] in [0, 1]
    hole: Tensor  # [1, H, W], 1 = hole
    disparity: Tensor  # [1, H, W] px, in the rendered view
    to_previous: ViewFlow | None
    to_next: ViewFlow | None


@dataclass(frozen=True)
class Rendered:
    """An analysed frame with its depth and the views rendered from it."""

    analysed: Analysed
    image: Tensor  # [3, H, W] in [0, 1]
    depth: Tensor  # [1, H, W] in [0, 1]
    views: tuple[View, ...]


def analyse(frames: Iterator[VideoFrame], *, flow_preset: str, clock: StageClock) -> Iterator[Analysed]:
    """Find cuts and estimate the flow between neighbouring frames, both ways."""
    cuts = CutDetector()
    current: Analysed | None = None
    grey = np.empty(0, np.uint8)
    for frame in frames:
        with clock("flow"):
            small = working_frame(frame.image)
            starts_scene = cuts.step(small) or current is None
            previous_grey, grey = grey, cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
            to_previous = None
            if current is not None:
                to_next = None
                if not starts_scene:
                    to_next, to_previous = _motion(previous_grey, grey, flow_preset)
                current = replace(current, to_next=to_next)
        if current is not None:
            yield current
        current = Analysed(frame, small, starts_scene, to_previous, None)
    if current is not None:
        yield current


def _motion(first: np.ndarray, second: np.ndarray, preset: str) -> tuple[Motion, Motion]:
    """Estimate the motion from the first frame to the second and back."""
    there, back = (
        torch.from_numpy(dis_flow(a, b, preset=preset)).permute(2, 0, 1)[None].contiguous()
        for a, b in ((first, second), (second, first))
    )
    return Motion(there, flow_confidence(there, back)), Motion(back, flow_confidence(back, there))


def estimate(frames: Iterator[Analysed], *, estimator: DepthStream, clock: StageClock) -> Iterator[Estimated]:
    """Estimate each frame's depth at working size; a scene begins anew at each cut."""
    for frame in frames:
        with clock("depth"):
            if frame.starts_scene:
                estimator.reset()
            depth = estimator.step(frame.small, frame.to_next, frame.to_previous)
        yield Estimated(frame, depth)


def place(
    frames: Iterator[Estimated],
    *,
    eyes: int,
    divergence: float,
    convergence: float,
    device: torch.device,
    clock: StageClock,
) -> Iterator[Placed]:
    """Turn each frame's depth into disparity at full size; the eyes share the total among them."""
    for frame in frames:
        with clock("disparity"):
            image = to_tensor(frame.analysed.frame.image, device)
            depth = _as_video(upsample_depth(frame.depth, frame.analysed.frame.image.shape[:2]), device)
            disparity, small = (
                depth_to_disparity(values, divergence=divergence / eyes, convergence=convergence)
                for values in (depth, _as_video(frame.depth, device))
            )
        yield Placed(frame.analysed, image, depth[0], disparity, small)


def render(frames: Iterator[Placed], *, eyes: tuple[Eye, ...], clock: StageClock) -> Iterator[Rendered]:
    """Warp each frame to the views of the given eyes."""
    for frame in frames:
        with clock("warp"):
            views = tuple(_render_view(frame, eye) for eye in eyes)
        yield Rendered(frame.analysed, frame.image, frame.depth, views)


def _as_video(plane: np.ndarray, device: torch.device) -> Tensor:
    """Convert [H, W] to [1, 1, H, W]."""
    return torch.from_numpy(plane).to(device)[None, None]


def to_tensor(image: np.ndarray, device: torch.device) -> Tensor:
    """Convert [H, W, 3] uint8 to [3, H, W] float in [0, 1]."""
    planes = torch.from_numpy(image).to(device).permute(2, 0, 1)
    return planes.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def _render_view(frame: Placed, eye: Eye) -> View:
    """Warp one frame to one eye's view, and bring its disparity and motion there."""
    view, hole, seen = forward_warp_with_disparity(frame.image[None], frame.disparity, eye=eye)
    columns = source_columns(frame.small_disparity, eye=eye)
    motions = (frame.analysed.to_previous, frame.analysed.to_next)
    to_previous, to_next = (_carry(motion, columns) for motion in motions)
    return View(eye, view[0], hole[0], seen[0], to_previous, to_next)


def _carry(motion: Motion | None, columns: Tensor) -> ViewFlow | None:
    """Bring the source view's motion into the rendered view."""
    if motion is None:
        return None
    return carry_flow(motion.flow.to(columns.device), motion.confidence.to(columns.device), columns)


def refine(frames: Iterator[Rendered], *, clock: StageClock) -> Iterator[Rendered]:
    """Add to each hole mask what its neighbours' original masks show along the flow (Eq. 2)."""
    previous: Rendered | None = None
    current: Rendered | None = None
    for following in frames:
        if current is not None:
            yield _refine_frame(previous, current, following, clock)
        previous, current = current, following
    if current is not None:
        yield _refine_frame(previous, current, None, clock)


def _refine_frame(
    previous: Rendered | None, current: Rendered, following: Rendered | None, clock: StageClock
) -> Rendered:
    """Refine the masks of one frame's views."""
    with clock("refine"):
        views = []
        for i, view in enumerate(current.views):
            neighbours = [
                (other.views[i].hole[None], towards.flow[None], towards.confidence[None])
                for other, towards in ((previous, view.to_previous), (following, view.to_next))
                if other is not None and towards is not None
            ]
            hole = refine_one_mask(view.hole[None], neighbours)
            views.append(replace(view, hole=hole[0]))
        return replace(current, views=tuple(views))


def fill(frames: Iterator[Rendered], *, clock: StageClock) -> Iterator[tuple[Rendered, tuple[Tensor, ...]]]:
    """Fill each view's holes; yields the frame with its filled views, [3, H, W] in [0, 1] each."""
    fillers: list[FastFill] = []
    current: Rendered | None = None
    for following in frames:
        if current is not None:
            yield current, _fill_frame(fillers, current, following, clock)
        current = following
    if current is not None:
        yield current, _fill_frame(fillers, current, None, clock)


def _fill_frame(
    fillers: list[FastFill], current: Rendered, following: Rendered | None, clock: StageClock
) -> tuple[Tensor, ...]:
    """Fill the views of one frame."""
    with clock("fill"):
        if not fillers:
            fillers.extend(FastFill(eye=view.eye) for view in current.views)
        filled = []
        for i, (filler, view) in enumerate(zip(fillers, current.views, strict=True)):
            if current.analysed.starts_scene:
                filler.reset()
            upcoming = following.views[i] if following is not None else None
            filled.append(
                filler.step(
                    _view_frame(view),
                    to_previous=view.to_previous,
                    to_next=view.to_next,
                    following=None if upcoming is None else _view_frame(upcoming),
                )
            )
        return tuple(filled)


def _view_frame(view: View) -> ViewFrame:
    """Give a view as the fill takes it."""
    return ViewFrame(view.image, view.hole, view.disparity)
