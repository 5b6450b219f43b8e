"""A flat picture on half a sphere, as VR180 players take it: 180 by 180 degrees, equirectangular.

A pixel of the result looks along azimuth a and elevation e. A picture taken by a camera of focal length f (in
pixels) shows that direction at x = f tan(a), y = f tan(e) / cos(a), from its centre. Since x does not depend
on e, rows are resampled first and columns after them, each by the mean over what the new pixel covers and
never less than one old pixel: bilinear where the picture grows, without aliasing where it shrinks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

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
    focal = width / 2 / math.tan(math.radians(field_of_view) / 2)
    columns = _covered(side, math.radians(field_of_view) / 2)
    rows = _covered(side, math.atan(height / 2 / (focal * aspect)))
    exact = torch.float32 if view.device.type == "mps" else torch.float64  # Metal has no float64
    azimuth = _edges(side, columns, exact, view.device)
    elevation = _edges(side, rows, exact, view.device)
    x = width / 2 + focal * azimuth.tan()
    middle = (azimuth[1:] + azimuth[:-1]) / 2
    y = height / 2 + focal * aspect * elevation.tan()[:, None] / middle.cos()
    for frame, target in zip(view, result, strict=True):  # one by one: sums take eight bytes a pixel
        wide = _average(frame.to(exact), x[:-1].expand(height, -1), x[1:].expand(height, -1))
        tall = _average(wide.mT, y[:-1].T, y[1:].T).mT
        tall = tall if view.is_floating_point() else tall.round()
        target[:, rows[0] : rows[1], columns[0] : columns[1]] = tall.to(view.dtype)
    return result


def _covered(side: int, angle: float) -> tuple[int, int]:
    """Return the first pixel that a picture reaching `angle` to both sides touches, and the one after."""
    reach = math.ceil(angle / math.pi * side - 1e-6)
    return max(0, side // 2 - reach), min(side, side - side // 2 + reach)


def _edges(side: int, covered: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the angles between the covered pixels, and at both ends, in radians."""
    places = torch.arange(covered[0], covered[1] + 1, dtype=dtype, device=device)
    return (places / side - 0.5) * math.pi


def _average(
    rows: Tensor,  # [C, H, W]
    start: Tensor,  # [H, N] px; pixel i lies between i and i + 1
    end: Tensor,  # [H, N] px
) -> Tensor:  # [C, H, N]
    """Average each row over intervals, widened to at least a pixel; beyond the row is 0."""
    width = (end - start).clamp(min=1)
    middle = (start + end) / 2
    sums = torch.nn.functional.pad(rows.cumsum(-1), (1, 0))
    upto = [_interpolate(sums, middle + sign * width / 2) for sign in (-1, 1)]
    return (upto[1] - upto[0]) / width


def _interpolate(
    values: Tensor,  # [C, H, W + 1]
    places: Tensor,  # [H, N]
) -> Tensor:  # [C, H, N]
    """Interpolate rows linearly, constant beyond their ends."""
    places = places.clamp(0, values.shape[-1] - 1)
    before = places.floor().clamp(max=values.shape[-1] - 2).long()
    share = places - before
    left, right = (values.gather(-1, index.expand(len(values), -1, -1)) for index in (before, before + 1))
    return torch.lerp(left, right, share.expand_as(left))
