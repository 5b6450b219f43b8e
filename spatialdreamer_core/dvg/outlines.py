"""Outlines of foregrounds on their trailing side, beside which a hole opens.

The last pixel c there is a mix of the foreground F and the background B before and after it: left where it
is, some of the foreground's colour stays on the background as a dotted rim. At a clean step of the disparity
the picture tells how much of the pixel the foreground covers,

    α = (c - B) · (F - B) / (|F - B|² + λ),

where λ is what colours differ by within a surface: where they do not tell, the pixel is background. That much
of it goes along with the foreground (`Rim`), and the pixel is cleaned of it. At any other step, as in soft
depth or between thin things, no pair of colours can be trusted and the whole pixel goes along
(`widen_foreground`). `benchmarks.warp` has what both give on stereo pairs and on exact outlines.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..kernels import use_kernels
from .cracks import JUMP, MAX_CRACK
from .eyes import Eye, eye_sign
from .nonzero_pixels import above, nonzero_pixels
from .splat import Landing, land_at
from .zbuffer import NO_SOURCE, find_columns, take_columns

LEAST_STEP = MAX_CRACK + 1.0  # px; with the rim in it, a smaller step's gap is bridged as a crack
COLOUR_NOISE = 0.01  # λ, squared and summed over channels: 0.06 in each
LEAST_SHARE = 0.15  # of a pixel; less cannot be told from the background's texture


class Rim(NamedTuple):
    """What foregrounds cover of the pixel after their trailing edge; N such pixels."""

    row: Tensor  # [N] int64
    landing: Landing  # [N] each, of the covered part
    shares: Tensor  # [2 N] in [0, 1], α divided among the bins of the landing: all first ones, then the next
    disparity: Tensor  # [N] px, the foreground's
    front: Tensor  # [C, N], its colour
    behind: Tensor  # [C, N], the background's colour beside it


class Outlined(NamedTuple):
    """Rows whose outlines are ready to be warped."""

    colour: Tensor  # [C, H, W] in [0, highest]
    disparity: Tensor  # [1, H, W] px
    rim: Rim | None


def widen_foreground(
    disparity: Tensor,  # [..., W] px
    *,
    sign: int,
) -> Tensor:  # [..., W] px
    """Let each surface take along the pixel after its trailing edge, beside which a hole opens.

        d'[x] = max(d[x], d[x-1])   for the right eye, and mirrored for the left one

    A second pixel is the background's own and would be lost.
    """
    if not disparity.requires_grad:
        widened = disparity.clone()
        inner = widened[..., 1:] if sign < 0 else widened[..., :-1]
        torch.maximum(disparity[..., :-1], disparity[..., 1:], out=inner)
        return widened
    wider = torch.maximum(disparity[..., :-1], disparity[..., 1:])
    edge = disparity[..., :1] if sign < 0 else disparity[..., -1:]
    return torch.cat([edge, wider] if sign < 0 else [wider, edge], dim=-1)


def find_outlines(
    colour: Tensor,  # [C, H, W] in [0, highest]
    disparity: Tensor,  # [1, H, W] px
    *,
    sign: int,
    highest: float = 1.0,
    in_place: bool = False,
) -> Outlined:
    """Let foregrounds take along what they cover of the pixel at their trailing edge.

    Args:
        colour: Rows of the source view.
        disparity: Their disparity.
        sign: -1 for the right eye (x' = x - d), +1 for the left one.
        highest: The largest value of a colour.
        in_place: Whether the colours themselves are cleaned, instead of a copy.
    """
    width = disparity.shape[-1]
    widened = widen_foreground(disparity, sign=sign)
    row, column = nonzero_pixels(above(widened - disparity, LEAST_STEP)[0])
    # 1. Clean steps: one pixel wide, from the foreground's end to a background that goes on.
    away = -sign  # from the foreground to the background
    moved = [disparity[0, row, (column + away * n).clamp(0, width - 1)] for n in (-2, -1, 0, 1)]
    is_clean = (moved[0] - moved[1] <= JUMP) & ((moved[3] - moved[2]).abs() <= JUMP)
    if not is_clean.any():
        return Outlined(colour, widened, None)
    row, column, near, far = (part[is_clean] for part in (row, column, moved[1], moved[2]))
    widened[0, row, column] = far
    # 2. How much of the pixel is the foreground's.
    front, mixed, behind = (colour[:, row, (column + away * n).clamp(0, width - 1)] for n in (-1, 0, 1))
    contrast = (front - behind).detach()
    noise = COLOUR_NOISE * highest**2
    share = ((mixed - behind).detach() * contrast).sum(0) / (contrast.square().sum(0) + noise)
    is_mixed = share > LEAST_SHARE
    if not is_mixed.any():
        return Outlined(colour, widened, None)
    row, column, near, share = (part[is_mixed] for part in (row, column, near, share.clamp(max=1)))
    front, mixed, behind = (part[:, is_mixed] for part in (front, mixed, behind))
    # 3. What is left of it: its own detail as far as it is background.
    rest = ((mixed - share * front) / (1 - share).clamp(min=LEAST_SHARE)).clamp(0, highest)
    cleaned = colour if in_place else colour.clone()
    cleaned[:, row, column] = torch.lerp(rest, behind, share)
    # The covered part lies on the foreground's side of the pixel.
    landing = land_at(column + sign * (near + (1 - share) / 2), width)
    shares = torch.cat([(1 - landing.fraction) * share, landing.fraction * share])
    return Outlined(cleaned, widened, Rim(row, landing, shares, near, front, behind))


def find_seen(
    disparity: Tensor,  # [F, 1, H, W] px
    *,
    eye: Eye = "right",
) -> tuple[Tensor, Tensor]:  # [F, 1, H, W] int64, [F, 1, H, W] px
    """Find the source column seen at each pixel of a warped view, and the disparity there.

    As `zbuffer.find_columns`, but for rims: a pixel that only they reach belongs to their foreground.
    """
    sign = eye_sign(eye)
    if use_kernels(disparity):
        from .zbuffer_triton import find_seen_triton

        return find_seen_triton(disparity, sign=sign)
    widened = widen_foreground(disparity, sign=sign)
    columns, of_rims = find_columns(disparity, eye=eye), find_columns(widened, eye=eye)
    is_rim = columns == NO_SOURCE
    seen = torch.where(is_rim, take_columns(widened, of_rims), take_columns(disparity, columns))
    return torch.where(is_rim, of_rims, columns), seen
