"""Texture for holes: detail of the background beside a hole, mirrored into it.

An estimate of what a hole hides is smooth, as every mean is, so a filled hole looks washed out. Its
background goes on beside the hole, and its texture with it. So a pixel at distance r from the background's
last pixel b takes the detail of the pixel r - 1 behind b,

    detail = pixel - Gaussian mean of its surroundings (sigma 2.5 px),

which is that of b itself at the seam. Where the background is narrower than the hole, detail runs back and
forth in it; rows are aligned with their neighbours, so that a ragged seam does not tear the texture into
stripes. The true texture is another one, so PSNR limits the strength. Means over Motorcycle, Books and
Reindeer, both eyes, and over the synthetic clips (`benchmarks.warp`; gradient over the truth's):

    strength             0      .2     .4     .5     .6     .8     1
    inner hole, dB       18.54  18.61  18.65  18.65  18.63  18.58  18.48
      its gradient       .51    .56    .65    .70    .75    .86    .97
    border, dB           18.00  18.00  18.00  17.99  17.98  17.94  17.90
      its gradient       .18    .24    .33    .37    .42    .52    .61
    synthetic inner, dB  23.27  23.23  23.11  23.02  22.91  22.65  22.33
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .hole_runs import HoleRuns
from .spatial import mean_around

TEXTURE = 0.5  # default strength
BORDER_SHARE = 0.5  # of the strength, in holes at the frame's border, which are wide and seldom right
LEAST_ROOM = 6  # px of background that give a full texture; fewer would give stripes
_ROWS = (-4, -2, 2, 4)  # px, whose seams a row's texture is aligned with
_SPACING, _SIGMA = 3, 2.5  # px, between the samples of the mean, and its standard deviation
_TAPS = [
    (down, right, math.exp(-0.5 * (down**2 + right**2) / _SIGMA**2))
    for down in (-_SPACING, 0, _SPACING)
    for right in (-_SPACING, 0, _SPACING)
]


def add_texture(
    colour: Tensor,  # [3, N] in [0, 1]
    extended: Tensor,  # [3, H, W] in [0, 1]
    runs: HoleRuns,
    *,
    strength: float = TEXTURE,
) -> Tensor:  # [3, N] in [0, 1]
    """Add the background's texture to estimates of hole pixels.

    Args:
        colour: The estimates, in the order of `runs`.
        extended: The view, its holes holding the nearest background pixel of their row (`runs.source`).
        runs: What is known about its holes.
        strength: Share of the detail that is added, 0 to 1.
    """
    at_border = runs.limit.isinf()  # the frame ends where the foreground would be
    weight = (
        strength * torch.where(at_border, BORDER_SHARE, 1.0) * (runs.room / LEAST_ROOM).clamp(max=1)[runs.run]
    )
    textured = colour + weight.to(colour.dtype) * mirrored_detail(extended, runs)
    # Within the range of a picture, or of the estimate where resampling has overshot.
    return textured.clamp(colour.clamp(max=0), colour.clamp(min=1))


def mirrored_detail(extended: Tensor, runs: HoleRuns) -> Tensor:  # [3, N]
    """Look up each hole pixel's detail in its background; none in what is foreground for another hole."""
    column = mirrored_columns(runs, extended.shape[-2:])
    index = torch.add(column, runs.row, alpha=extended.shape[-1])
    detail = extended.flatten(1).index_select(1, index)
    detail -= mean_around(extended, runs.foreground, runs.row, column, _TAPS)
    return detail.masked_fill_(runs.foreground.flatten().index_select(0, index), 0)


def mirrored_columns(
    runs: HoleRuns,
    size: Sequence[int],  # height and width of the frame
) -> Tensor:  # [N] int64
    """Find the column whose detail each hole pixel takes."""
    offset = runs.source - runs.column
    away = offset.sign()
    room = runs.room.clamp(min=1)[runs.run]
    step = (offset.abs() - 1 + 2 * _seam_shift(runs, away, size)) % (2 * room)
    return runs.source + away * torch.minimum(step, 2 * room - 1 - step)


def _seam_shift(runs: HoleRuns, away: Tensor, size: Sequence[int]) -> Tensor:  # [N] int64, px
    """Tell how much farther away the background is in the rows about a hole pixel than in its own."""
    height, width = size
    seams = away.new_zeros(height * width)
    seams[torch.add(runs.column, runs.row, alpha=width)] = away * (runs.source + 1)
    total, count = torch.zeros_like(away), torch.ones_like(away)
    for down in _ROWS:
        row = (runs.row + down).clamp(0, height - 1)
        seam = seams.index_select(0, torch.add(runs.column, row, alpha=width)) * away
        same_side = seam > 0
        total += torch.where(same_side, (seam - 1 - runs.source) * away, 0)
        count += same_side
    return (total / count).round().long()
