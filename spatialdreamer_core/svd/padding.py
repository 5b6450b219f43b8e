"""Sizes that the model takes: frames padded to multiples, cropped back, and masks at the latents' size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import InputError, check_range
from ..contracts import check_call, working_dtype
from .model import LATENT_FACTOR


def pad_to_multiple(
    frames: Tensor,  # [F, C, H, W]
    multiple: int = 64,
) -> Tensor:  # [F, C, H', W']
    """Repeat the last column and row until width and height are multiples of a number.

    Args:
        frames: Frames or masks, of any size; one row or column will do.
        multiple: Of height and width, px.

    Returns:
        The padded frames, or the frames themselves if nothing is missing; `crop_to` undoes it.

    Raises:
        InputError: If `frames` is no video, or `multiple` not a whole number above 0.
    """
    check_call("pad_to_multiple", frames=frames)
    check_range("multiple", multiple, 1, 1 << 16, "px", whole=True)
    right, bottom = -frames.shape[-1] % multiple, -frames.shape[-2] % multiple
    if not (right or bottom):
        return frames
    # Not F.pad: several of its versions lack replication in half precision.
    rows = torch.arange(frames.shape[-2] + bottom, device=frames.device).clamp_(max=frames.shape[-2] - 1)
    columns = torch.arange(frames.shape[-1] + right, device=frames.device).clamp_(max=frames.shape[-1] - 1)
    return frames[..., rows[:, None], columns]


def crop_to(
    frames: Tensor,  # [F, C, H', W']
    *,
    height: int,
    width: int,
) -> Tensor:  # [F, C, H, W], a view
    """Cut away what `pad_to_multiple` added, at the right and the bottom.

    Args:
        frames: Padded frames.
        height: To keep, px.
        width: To keep, px.

    Raises:
        InputError: If the frames are smaller than that.
    """
    check_call("crop_to", frames=frames)
    for name, side in (("height", height), ("width", width)):
        check_range(name, side, 1, 2**31 - 1, "px", whole=True)
    if not (1 <= height <= frames.shape[-2] and 1 <= width <= frames.shape[-1]):
        raise InputError(
            f"`frames` must be at least as large as what is cut out of them ({width}x{height}), "
            f"got {frames.shape[-1]}x{frames.shape[-2]}; give the size they had before they were padded"
        )
    return frames[..., : int(height), : int(width)]


def pool_mask(
    mask: Tensor,  # [F, 1, H, W], 1 = hole
    factor: int = LATENT_FACTOR,
) -> Tensor:  # [F, 1, ceil(H / factor), ceil(W / factor)]
    """Bring a hole mask to the latents' size: a latent that holds any part of a hole is a hole.

    Args:
        mask: Hole mask.
        factor: Pixels of a latent, each side.

    Raises:
        InputError: If the mask breaks its rule (`contracts.TABLE`), or `factor` is no whole number above 0.
    """
    check_call("pool_mask", mask=mask)
    check_range("factor", factor, 1, 1 << 16, "px", whole=True)
    return F.max_pool2d(mask.to(working_dtype(mask)), int(factor), ceil_mode=True).to(mask.dtype)
