"""Measures of a rendered view against the true one, split into what was visible and what had to be filled."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..contracts import check_call
from ..dvg.eyes import Eye
from ..dvg.zbuffer import NO_SOURCE, source_columns

_LUMA = (0.299, 0.587, 0.114)


class ViewRegions(NamedTuple):
    """A partition of the rendered view, all [F, 1, H, W] bool."""

    visible: Tensor  # some source pixel lands here
    inner_hole: Tensor  # disocclusion: what lay behind something
    border: Tensor  # hole in a run that touches the side of the frame: out of the source's view


def view_regions(
    disparity: Tensor,  # [F, 1, H, W] px
    *,
    eye: Eye = "right",
) -> ViewRegions:
    """Split a rendered view by what is known of it; a pixel lands on both columns around its target.

    Raises:
        InputError: If the disparity breaks its rule (`contracts.TABLE`) or the eye is unknown.
    """
    check_call("view_regions", disparity=disparity)
    return split_regions(source_columns(disparity, eye=eye) == NO_SOURCE)


def hole_regions(
    hole: Tensor,  # [F, 1, H, W], 1 = hole
) -> ViewRegions:
    """Split a rendered view by its hole mask, as `view_regions` does by disparity.

    Raises:
        InputError: If the mask breaks its rule (`contracts.TABLE`).
    """
    check_call("hole_regions", hole=hole)
    return split_regions(hole > 0.5)


def split_regions(
    hole: Tensor,  # [F, 1, H, W] bool
) -> ViewRegions:
    """Like `hole_regions`, without checking the mask."""
    runs = hole.to(torch.uint8)
    from_left = runs.cumprod(-1).bool()
    from_right = runs.flip(-1).cumprod(-1).flip(-1).bool()
    border = from_left | from_right
    return ViewRegions(~hole, hole & ~border, border)


def masked_psnr(
    result: Tensor,  # [F, C, H, W] in [0, 1]
    truth: Tensor,  # [F, C, H, W] in [0, 1]
    mask: Tensor | None = None,  # [F, 1, H, W] bool
) -> float:
    """Peak signal-to-noise ratio in dB, -10 · log10(mean squared error), over the masked pixels.

    Raises:
        InputError: If a tensor breaks its rule (`contracts.TABLE`).
    """
    check_call("masked_psnr", result=result, truth=truth, mask=mask)
    error = (result.detach().float().clamp(0, 1) - truth.detach().float()).square().mean(1, keepdim=True)
    return float(-10 * torch.log10(error.mean() if mask is None else error[mask > 0.5].mean()))


def sharpness(
    result: Tensor,  # [F, 3, H, W] in [0, 1]
    truth: Tensor,  # [F, 3, H, W] in [0, 1]
    mask: Tensor,  # [F, 1, H, W] bool
) -> float:
    """Mean |forward difference| of grey over the mask eroded 5x5, divided by the truth's; 1 is ideal.

    Raises:
        InputError: If a tensor breaks its rule (`contracts.TABLE`).
    """
    check_call("sharpness", result=result, truth=truth, mask=mask)
    return float(inner_gradient(result, mask > 0.5) / inner_gradient(truth, mask > 0.5))


def inner_gradient(
    video: Tensor,  # [F, 3, H, W]
    mask: Tensor,  # [F, 1, H, W] bool
) -> Tensor:
    """Sum of the mean absolute forward differences along x and y over the mask eroded 5x5."""
    inner = F.max_pool2d((~mask).float(), 5, stride=1, padding=2) < 0.5
    grey = _grey(video.detach().float())
    along_x = grey.diff(dim=-1).abs()[inner[..., 1:]].mean()
    along_y = grey.diff(dim=-2).abs()[inner[..., 1:, :]].mean()
    return along_x + along_y


def gradient_ratio(
    result: Tensor,  # [F, 3, H, W] in [0, 1]
    truth: Tensor,  # [F, 3, H, W] in [0, 1]
    mask: Tensor,  # [F, 1, H, W] bool
) -> float:
    """Mean |forward difference| of grey between masked pixels, divided by the truth's; 1 is ideal.

    Unlike `sharpness` it is meant for holes, which are narrow: no pixel beside the mask counts, and none of
    it is left out. Below 1 a fill lacks texture; NaN if no two masked pixels are neighbours.

    Raises:
        InputError: If a tensor breaks its rule (`contracts.TABLE`).
    """
    check_call("gradient_ratio", result=result, truth=truth, mask=mask)
    return float(gradient_within(result, mask > 0.5) / gradient_within(truth, mask > 0.5))


def gradient_within(
    video: Tensor,  # [F, 3, H, W]
    mask: Tensor,  # [F, 1, H, W] bool
) -> Tensor:
    """Sum of the mean absolute differences along x and y between pixels that are both masked."""
    grey = _grey(video.detach().float())
    along_x = grey.diff(dim=-1).abs()[mask[..., 1:] & mask[..., :-1]].mean()
    along_y = grey.diff(dim=-2).abs()[mask[..., 1:, :] & mask[..., :-1, :]].mean()
    return along_x + along_y


def _grey(video: Tensor) -> Tensor:  # [F, 1, H, W]
    """Weight the channels to luma (BT.601)."""
    weights = torch.tensor(_LUMA, dtype=video.dtype, device=video.device).view(1, 3, 1, 1)
    return (video * weights).sum(1, keepdim=True)
