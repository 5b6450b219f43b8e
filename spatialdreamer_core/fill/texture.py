"""Texture for holes: detail of the background beside a hole, continued into it.

An estimate of what a hole hides is smooth, as every mean is, so a filled hole looks washed out. Its
background goes on beside the hole, and its texture with it. So a hole pixel takes the detail of the pixel
that lies W / 32 behind it in its row, which is farther than the default divergence opens holes:

    detail = pixel - Gaussian mean of its surroundings (sigma 2.5 px).

This shift is the same in all rows and frames. So texture is not torn between rows, and it moves with its
background; mirrored at the hole's edge, it would move twice as far as the edge does. Where the shift ends
inside the hole, in wide holes and at the frame's border, the texture is mirrored all the same, with the rows
aligned so that a ragged edge does not tear it into stripes. Where the background is narrower than the hole,
detail runs back and forth in it. The pixel at the edge gets none: its estimate is good already.

The true texture is another one, so PSNR limits the strength. Means over Motorcycle, Books and
Reindeer, both eyes, and over the synthetic clips (`benchmarks.warp`; gradient over the truth's); temporal
error of frames filled one by one (`benchmarks.fill`):

    strength             0      .2     .4     .5     .6     .8     1
    inner hole, dB       18.48  18.53  18.55  18.55  18.54  18.48  18.39
      its gradient       .51    .55    .63    .67    .72    .82    .93
    border, dB           17.92  17.93  17.93  17.93  17.93  17.92  17.91
      its gradient       .18    .21    .25    .28    .30    .36    .41
    synthetic inner, dB  22.80  22.79  22.71  22.64  22.56  22.35  22.08
    temporal error       11.22  11.24  11.30  11.34  11.39  11.52  11.69
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..dvg.interleaved import Pixels
from .hole_runs import HoleRuns
from .spatial import mean_around

TEXTURE = 0.5  # default strength
SHIFT = 1 / 32  # of the frame's width, from a hole pixel to the one whose detail it takes
BORDER_SHARE = 0.3  # of the strength, in holes at the frame's border, which are wide and seldom right
SEAM = 2  # px after the hole's first pixel, in which the texture grows to its full strength
LEAST_ROOM = 4  # px of background that give a full texture; fewer would give stripes
_ROWS = (-4, -2, 2, 4)  # px, whose seams a row's texture is aligned with
SPACING, SIGMA = 3, 2.5  # px, between the samples of the mean, and its standard deviation
_TAPS = [
    (down, right, math.exp(-0.5 * (down**2 + right**2) / SIGMA**2))
    for down in (-SPACING, 0, SPACING)
    for right in (-SPACING, 0, SPACING)
]


def add_texture(
    colour: Tensor,  # [3, N] in the view's range
    extended: Tensor,  # [3, H, W] in [0, 1], or uint8
    runs: HoleRuns,
    *,
    strength: float = TEXTURE,
) -> Tensor:  # [3, N] in the view's range
    """Add the background's texture to estimates of hole pixels.

    Args:
        colour: The estimates, in the order of `runs`.
        extended: The view, its holes holding the nearest background pixel of their row (`runs.source`).
        runs: What is known about its holes.
        strength: Share of the detail that is added, 0 to 1.
    """
    distance = (runs.column - runs.source).abs()
    share = torch.minimum((distance - 1) / SEAM, runs.room[runs.run] / LEAST_ROOM).clamp(0, 1)
    at_border = runs.limit.isinf()  # the frame ends where the foreground would be
    weight = strength * share * torch.where(at_border, BORDER_SHARE, 1.0)
    textured = colour + weight.to(colour.dtype) * continued_detail(extended, runs)
    # Within the range of a picture, or of the estimate where resampling has overshot.
    highest = 255 if extended.dtype == torch.uint8 else 1
    return textured.clamp(colour.clamp(max=0), colour.clamp(min=highest))


def continued_detail(extended: Tensor, runs: HoleRuns) -> Tensor:  # [3, N]
    """Look up each hole pixel's detail in its background; none in what is foreground for another hole."""
    column = detail_columns(runs, extended.shape[-2:])
    index = torch.add(column, runs.row, alpha=extended.shape[-1])
    detail = Pixels(extended).colours_at(index)
    detail -= mean_around(extended, runs.foreground, runs.row, column, _TAPS)
    return detail.masked_fill_(runs.foreground.flatten().index_select(0, index), 0)


def detail_columns(
    runs: HoleRuns,
    size: Sequence[int],  # height and width of the frame
) -> Tensor:  # [N] int64
    """Find the column whose detail each hole pixel takes."""
    offset = runs.source - runs.column
    away = offset.sign()
    room = runs.room.clamp(min=1)[runs.run]
    # From the background's last pixel; negative where the shift ends in the hole.
    step = whole_shift(size[1]) - offset.abs()
    step = torch.where(step < 0, 2 * _seam_shift(runs, away, size) - step, step) % (2 * room)
    return runs.source + away * torch.minimum(step, 2 * room - 1 - step)


def whole_shift(width: int) -> int:
    """Return how many pixels away a hole pixel's detail is, in a frame of this width."""
    return max(1, round(SHIFT * width))


def _seam_shift(runs: HoleRuns, away: Tensor, size: Sequence[int]) -> Tensor:  # [N] int64, px
    """Tell how much farther away the background is in the rows about a hole pixel than in its own."""
    height, width = size
    seams = away.new_zeros(height * width, dtype=torch.int32)
    seams[torch.add(runs.column, runs.row, alpha=width)] = (away * (runs.source + 1)).int()
    total, count = torch.zeros_like(away), torch.ones_like(away)
    for down in _ROWS:
        row = (runs.row + down).clamp(0, height - 1)
        seam = seams.index_select(0, torch.add(runs.column, row, alpha=width)) * away
        same_side = seam > 0
        total += torch.where(same_side, (seam - 1 - runs.source) * away, 0)
        count += same_side
    return (total / count).round().long()
