"""Depth for warping: its edges, range and curve as the user wants them, before it becomes disparity.

Edges first, because the warp tears a ramp apart and leaves the rim of its foreground behind: ramps become
steps that put the mixed colours of an outline on the foreground (`edge_width`), and foregrounds grow if need
be (`edge_dilation`). Then three pointwise curves in this order, each from [0, 1] to [0, 1] and monotone, so
that `divergence` stays the total disparity range and nearer stays nearer:

    clipping          x = clip((x - far) / (near - far), 0, 1)
    gamma             x = x ** gamma
    foreground scale  level n = 1, 2, 3:  x = (s(x) - s(0)) / (s(1) - s(0)),  s(x) = log(1 + exp(k (x - b)))
                      level -n:           the same with              s(x) = log(exp(k (x - b)) - 1)

The foreground scale and its constants (k, b) are those that iw3 uses for relative depth (nagadomi/nunif, MIT,
`iw3/mapper.py`); ours is always relative inverse depth, whatever the estimator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import check_type
from ..contracts import check_call
from ..options import OptionConflict, check_options, option
from .edges import dilate_foreground, snap_edges
from .edges_on_device import dilate_on_device, snap_on_device

EDGE_WIDTH = 3  # px; best for blurred depth and harmless to exact one in `benchmarks.edges`
LEAST_RANGE = 0.01  # of near - far
GROWTH = ((12.0, 0.343), (12.0, 0.515), (12.0, 0.687))  # (k, b) of levels 1 to 3
SHRINKAGE = ((7.8788, -0.002102), (6.2626, -0.0003), (3.4343, -0.0001))  # (k, b) of levels -1 to -3


@dataclass(frozen=True)
class DepthShaping:
    """How depth is changed before the warp; the defaults leave it as it is."""

    foreground_scale: float = option(
        0.0,
        -3.0,
        3.0,
        step=0.1,
        advanced=True,
        metavar="LEVEL",
        help="As in iw3: above 0 the foreground gets more of the disparity range and the background less, "
        "for people who look flat outdoors; below 0 the other way round. 0 leaves it as it is.",
    )
    gamma: float = option(
        1.0,
        0.1,
        10.0,
        step=0.05,
        name="depth_gamma",
        advanced=True,
        metavar="EXPONENT",
        help="Exponent of the depth: above 1 pushes the middle back, below 1 brings it forward.",
    )
    near: float = option(
        1.0,
        0.0,
        1.0,
        step=0.01,
        name="depth_near",
        advanced=True,
        metavar="DEPTH",
        help="Near clipping: the depth from which on everything is nearest. What lies between depth_far "
        "and depth_near gets the whole disparity range.",
    )
    far: float = option(
        0.0,
        0.0,
        1.0,
        step=0.01,
        name="depth_far",
        advanced=True,
        metavar="DEPTH",
        help="Far clipping: the depth up to which everything is farthest.",
    )
    edge_width: int = option(
        0,
        0,
        20,
        "px",
        advanced=True,
        help="Pixels beside an edge of depth within which a ramp becomes a step, so placed that objects "
        "keep their soft outline. Ramps, as depth models leave them, tear outlines. 0 leaves them.",
    )
    edge_dilation: int = option(
        0,
        0,
        10,
        "px",
        advanced=True,
        help="Pixels by which foregrounds grow, for outlines softer than the depth's edges, of which a rim "
        "stays behind on the background.",
    )

    def check(self) -> None:
        """Check every setting.

        Raises:
            InputError: For the first one that breaks its rule.
        """
        check_options(self)
        if self.near - self.far < LEAST_RANGE:
            raise OptionConflict(
                f"depth_near must be at least {LEAST_RANGE:g} above depth_far ({self.far:g}), "
                f"got {self.near:g}; 1 and 0 keep the whole range",
                "depth_near",
                "depth_far",
            )


def shape_depth(
    depth: Tensor,  # [F, 1, H, W] in [0, 1], 1 = near
    shaping: DepthShaping,
) -> Tensor:  # [F, 1, H, W] in [0, 1]
    """Shape inverse depth for the warp: snap its edges, clip its range, bend its curve.

    The edges are worked on by the CPU, a frame at a time, or by the GPU that holds the depth.

    Args:
        depth: Inverse depth of the size at which it is warped.
        shaping: What to change.

    Returns:
        Inverse depth, float32; `depth` itself where `shaping` changes nothing.

    Raises:
        InputError: If a setting is out of range or the depth breaks its rule (`contracts.TABLE`).
    """
    check_type("shaping", shaping, DepthShaping)
    shaping.check()
    check_call("shape_depth", depth=depth)
    if shaping == DepthShaping():
        return depth
    return shape_frames(depth.float().clamp(0, 1), shaping, on_device=depth.is_cuda)


def shape_frames(depth: Tensor, shaping: DepthShaping, *, on_device: bool) -> Tensor:
    """Like `shape_depth`, without checking its arguments; `on_device` keeps edges off the CPU."""
    if shaping == DepthShaping():
        return depth
    depth = depth.float()
    if shaping.edge_width or shaping.edge_dilation:
        work = _work_on_device if on_device else _work_on_cpu
        depth = work(depth.detach(), int(shaping.edge_width), int(shaping.edge_dilation))
    if (shaping.near, shaping.far) != (1.0, 0.0):
        depth = ((depth - shaping.far) / (shaping.near - shaping.far)).clamp(0, 1)
    if shaping.gamma != 1:
        depth = depth**shaping.gamma
    return _scale_foreground(depth, shaping.foreground_scale)


def _work_on_device(depth: Tensor, width: int, dilation: int) -> Tensor:
    """Make the edges of each frame steep and let foregrounds grow, where the depth is."""
    if width:
        depth = snap_on_device(depth, radius=width)
    return dilate_on_device(depth, radius=dilation) if dilation else depth


def _work_on_cpu(depth: Tensor, width: int, dilation: int) -> Tensor:
    """Do the same by OpenCV, a frame at a time."""
    planes = []
    for frame in depth.cpu().contiguous():
        plane = frame[0].numpy()
        if width:
            plane = snap_edges(plane, radius=width)
        if dilation:
            plane = dilate_foreground(plane, radius=dilation)
        planes.append(plane)
    stack = planes[0][None] if len(planes) == 1 else np.stack(planes)
    return torch.from_numpy(stack)[:, None].to(depth.device)


def _scale_foreground(depth: Tensor, scale: float) -> Tensor:
    """Bend the curve by iw3's foreground scale; between two levels it is their weighted mean."""
    level = math.floor(abs(scale))
    share = abs(scale) - level
    bent = _bend(depth, math.copysign(level, scale))
    return torch.lerp(bent, _bend(depth, math.copysign(level + 1, scale)), share) if share else bent


def _bend(depth: Tensor, level: float) -> Tensor:
    """Apply the curve of one whole level, -3 to 3."""
    if level == 0:
        return depth
    steepness, bias = (GROWTH if level > 0 else SHRINKAGE)[int(abs(level)) - 1]
    values, ends = (steepness * (x - bias) for x in (depth, torch.tensor([0.0, 1.0], dtype=torch.float64)))
    values, ends = (F.softplus(x) if level > 0 else x.expm1().log() for x in (values, ends))
    low, high = ends.tolist()
    return ((values - low) / (high - low)).clamp(0, 1)
