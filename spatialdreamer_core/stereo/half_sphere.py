"""A flat picture on half a sphere, as VR180 players take it: 180 by 180 degrees, equirectangular.

A pixel of the result looks along azimuth a and elevation e. A picture taken by a camera of focal length f
(in pixels) shows that direction at x = f tan(a), y = f tan(e) / cos(a), from its centre. Where the picture
grows it is sampled bilinearly; where it shrinks, towards its sides, as many such samples are averaged a pixel
as it takes for none of the picture's pixels to be left out.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..options import Option

FIELD_OF_VIEW = Option(
    default=90.0,
    low=10.0,
    high=170.0,
    unit="degrees",
    step=1.0,
    name="field_of_view",
    kind=float,
    advanced=True,
    help="With format vr180, how much of the viewer's 180 degrees the picture's width covers.",
)

_MOST_SAMPLES = 8  # a pixel, along each side: enough up to 139 degrees at full resolution
_STRIP_PIXELS = 1 << 21  # samples that are in memory at once


def half_sphere_side(width: int, *, field_of_view: float) -> int:
    """Return the side of the half sphere that keeps the resolution of a picture's middle, even, in pixels."""
    focal = width / 2 / math.tan(math.radians(field_of_view) / 2)
    return max(2, 2 * round(math.pi * focal / 2))


def to_half_sphere(
    view: Tensor,  # [F, C, H, W]
    *,
    side: int,
    field_of_view: float,
    aspect: float = 1.0,
) -> Tensor:  # [F, C, side, side], of the view's type; 0 where the picture does not reach
    """Put pictures on half a sphere.

    Args:
        view: The pictures, floats or uint8.
        side: Side of the result in pixels.
        field_of_view: Degrees that the pictures' width covers.
        aspect: Width over height of their pixels.
    """
    result = view.new_zeros(*view.shape[:2], side, side)
    height, width = view.shape[-2:]
    across = math.tan(math.radians(field_of_view) / 2)
    up = across * height / (width * aspect)
    columns, rows = _covered(side, math.atan(across)), _covered(side, math.atan(up))
    # As many samples a pixel as it covers of the picture's pixels: those at the middle times what the mapping
    # shrinks most, which is horizontally at the sides and vertically at the corners.
    middle = math.pi / side * width / (2 * across)
    shrunk = middle * (1 + across**2), middle * aspect * (1 + up**2) * math.sqrt(1 + across**2)
    samples = [min(_MOST_SAMPLES, max(1, math.ceil(pixels - 1e-6))) for pixels in shrunk]
    dtype = torch.float64 if view.dtype == torch.float64 else torch.float32
    azimuth = _angles(side, columns, samples[0], dtype, view.device)
    elevation = _angles(side, rows, samples[1], dtype, view.device)
    x, secant = azimuth.tan() / across, 1 / azimuth.cos()
    step = max(1, _STRIP_PIXELS // (len(azimuth) * samples[1]))  # rows of the result
    for start in range(rows[0], rows[1], step):
        end = min(start + step, rows[1])
        part = elevation[(start - rows[0]) * samples[1] : (end - rows[0]) * samples[1]]
        y = part.tan()[:, None] * secant / up
        grid = torch.stack([x.expand_as(y), y], dim=-1)
        for frame, target in zip(view, result, strict=True):
            sampled = F.grid_sample(frame[None].to(dtype), grid[None], align_corners=False)
            mean = F.avg_pool2d(sampled, (samples[1], samples[0]))[0]
            mean = mean if view.is_floating_point() else mean.round_()
            target[:, start:end, columns[0] : columns[1]] = mean.to(view.dtype)
    return result


def _covered(side: int, angle: float) -> tuple[int, int]:
    """Return the first pixel that a picture reaching `angle` to both sides touches, and the one after."""
    reach = math.ceil(angle / math.pi * side - 1e-6)
    return max(0, side // 2 - reach), min(side, side - side // 2 + reach)


def _angles(
    side: int, covered: tuple[int, int], samples: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return the angles of the samples of the covered pixels, in radians."""
    places = torch.arange(covered[0] * samples, covered[1] * samples, dtype=dtype, device=device)
    return ((places + 0.5) / (side * samples) - 0.5) * math.pi
