"""`estimate_depth`: one function for every depth estimator."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import overload

import cv2
import numpy as np
import torch
from torch import Tensor

from ..checks import InputError, check_choice, check_finite, check_video
from ..flow import CutDetector, dis_flow
from .builtin import BuiltinDepth
from .guided_filter import ColourGuide, steepen_edges

_LOGGER = logging.getLogger(__name__)
_WORKING_SIDE = 640  # pixels, the longer side of the frames that the builtin estimator sees
_GUIDE_SIDE = 320  # pixels, the size at which the upsampling's coefficients are found


@dataclass(frozen=True)
class EstimatorInfo:
    """What a user needs to know to choose an estimator."""

    name: str  # what `estimate_depth` takes
    title: str
    licence: str  # of the weights, if there are any
    available: bool  # can be used here and now
    note: str


def list_estimators() -> list[EstimatorInfo]:
    """List the depth estimators, best for a first try first."""
    note = "From motion, position, haze and focus; no weights, no download. Preview grade."
    return [EstimatorInfo("builtin", "Built-in (preview grade)", "Apache-2.0", True, note)]


def working_size(height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) at which the builtin estimator works: the longer side at most 640 pixels."""
    factor = min(1.0, _WORKING_SIDE / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def estimate_depth(
    frames: Tensor,  # [F, 3, H, W] in [0, 1]
    *,
    estimator: str = "builtin",
    flow_forward: Tensor | None = None,  # [F-1, 2, H, W]
    flow_backward: Tensor | None = None,  # [F-1, 2, H, W]
    on_frame: Callable[[int], None] | None = None,
) -> Tensor:  # [F, 1, H, W]
    """Estimate the inverse depth of a video's frames; a scene begins anew at each cut.

    Args:
        frames: The video.
        estimator: A name from `list_estimators`.
        flow_forward: Flow from each frame to the next, as `estimate_flow` gives it; None computes it.
        flow_backward: Flow from each frame to the previous one; given together with `flow_forward`.
        on_frame: Called with the number of finished frames; may raise to interrupt.

    Returns:
        Inverse depth in [0, 1], 1 = near, float32, on the frames' device; its edges lie on the frames' edges.

    Raises:
        InputError: If a shape is wrong, a value is not finite, the estimator is unknown or only one flow is
            given.
    """
    check_video("frames", frames, channels=3)
    check_finite("frames", frames, "repair the frames, or check the node that made them")
    check_choice("estimator", estimator, tuple(info.name for info in list_estimators()))
    if (flow_forward is None) != (flow_backward is None):
        raise InputError(
            "flow_forward and flow_backward must be given together, got one; give both or neither"
        )
    expected = [len(frames) - 1, 2, *frames.shape[-2:]]
    for name, flow in (("flow_forward", flow_forward), ("flow_backward", flow_backward)):
        if flow is not None and list(flow.shape) != expected:
            raise InputError(
                f"`{name}` must be [F-1, 2, H, W] = {expected} for these frames, "
                f"got {list(flow.shape)}; use estimate_flow on the same frames"
            )
    _warn_once()
    size = working_size(*frames.shape[-2:])
    depth = torch.empty(len(frames), 1, *frames.shape[-2:])
    detector, builtin = CutDetector(), BuiltinDepth()
    image = _to_rgb(frames[0])
    small, to_previous = _shrink(image, size), None
    detector.step(image)
    for t in range(len(frames)):
        to_next = next_to_previous = None
        if t + 1 < len(frames):
            next_image = _to_rgb(frames[t + 1])
            next_small = _shrink(next_image, size)
            next_is_cut = detector.step(next_image)
            if not next_is_cut:
                if flow_forward is not None and flow_backward is not None:
                    to_next, next_to_previous = (
                        _shrink_flow(f[t], size) for f in (flow_forward, flow_backward)
                    )
                else:
                    to_next, next_to_previous = _flow_pair(small, next_small)
        depth_small = builtin.step(small, to_next, to_previous)
        depth[t, 0] = torch.from_numpy(upsample_depth(depth_small, image))
        if t + 1 < len(frames):
            if next_is_cut:
                builtin.reset()
            image, small, to_previous = next_image, next_small, next_to_previous
        if on_frame is not None:
            on_frame(t + 1)
    return depth.to(frames.device)


@lru_cache(maxsize=1)
def _warn_once() -> None:
    """Say once a process what the builtin estimator is good for."""
    _LOGGER.warning("depth estimator `builtin` is preview grade: use a depth model for final results")


@overload
def upsample_depth(depth: np.ndarray, guide: np.ndarray) -> np.ndarray: ...
@overload
def upsample_depth(depth: Tensor, guide: Tensor) -> Tensor: ...
def upsample_depth(
    depth: np.ndarray | Tensor,  # [h, w] float32, or [F, 1, h, w]
    guide: np.ndarray | Tensor,  # [H, W, 3] uint8 RGB, or [F, 3, H, W] in [0, 1]
) -> np.ndarray | Tensor:  # [H, W], or [F, 1, H, W]
    """Bring depth to the size of the frames it belongs to, its edges to the frames' edges.

    Coefficients of a colour-guided filter are found at a small size; applied to the full-size frame, they
    tell for each pixel at an edge of depth to which side it belongs. Elsewhere depth is interpolated.

    Args:
        depth: Inverse depth; numpy arrays are one frame, tensors a video.
        guide: The frame or frames.

    Raises:
        InputError: If a tensor is no video of the same length.
    """
    if isinstance(depth, np.ndarray):
        assert isinstance(guide, np.ndarray), type(guide)
        return _upsample(depth, guide)
    assert isinstance(guide, Tensor), type(guide)
    check_video("depth", depth, channels=1)
    check_video("guide", guide, channels=3)
    if len(depth) != len(guide):
        raise InputError(f"`depth` must have as many frames as `guide` ({len(guide)}), got {len(depth)}")
    maps = depth.detach().float().cpu().numpy()
    results = [_upsample(np.ascontiguousarray(m[0]), _to_rgb(g)) for m, g in zip(maps, guide, strict=True)]
    return torch.from_numpy(np.stack(results)[:, None]).to(depth.device)


def _upsample(depth: np.ndarray, guide: np.ndarray) -> np.ndarray:
    """Upsample one frame's depth, see `upsample_depth`."""
    height, width = guide.shape[:2]
    if depth.shape == (height, width):
        return depth
    raised = cv2.resize(depth, (width, height), interpolation=cv2.INTER_LINEAR)
    small = _shrink(guide, depth.shape).astype(np.float32) / 255
    shrink = max(1, round(max(depth.shape) / _GUIDE_SIDE))
    coefficients = ColourGuide(small, radius=2 * shrink, epsilon=1e-3, shrink=shrink).coefficients(depth)
    radius = max(1, round(width / depth.shape[1]))
    return np.clip(steepen_edges(raised, radius=radius, coefficients=coefficients, image=guide), 0, 1)


def _to_rgb(frame: Tensor) -> np.ndarray:
    """Convert a frame [3, H, W] in [0, 1] to 8-bit RGB [H, W, 3]."""
    rgb = (frame.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(rgb.permute(1, 2, 0).numpy())


def _shrink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a frame to the working size."""
    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA)


def _shrink_flow(flow: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Bring a flow field [2, H, W] to the working size: [h, w, 2], in its pixels."""
    vectors = np.ascontiguousarray(flow.detach().float().cpu().permute(1, 2, 0).numpy())
    factors = np.array([size[1] / flow.shape[2], size[0] / flow.shape[1]], np.float32)
    return cv2.resize(vectors, (size[1], size[0]), interpolation=cv2.INTER_AREA) * factors


def _flow_pair(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimate the flow between two frames [h, w, 3] uint8, there and back."""
    grey, grey_next = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (first, second))
    return dis_flow(grey, grey_next, preset="fast"), dis_flow(grey_next, grey, preset="fast")
