"""Depth brought to the frame's size on the device that holds it.

The same as `upsample_depth` does with OpenCV on the CPU, but for rounding: resizing, the guided filter (He,
Sun and Tang, PAMI 2013) and edges as torch operations, without checks and without a wait for the device.
`tests/…/depth/test_on_device.py` holds it to that.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .edges_on_device import snap_on_device, steepen_on_device
from .estimate import GUIDE_EPSILON, GUIDE_RADIUS, working_size


def upsample_on_device(
    depth: Tensor,  # [1, 1, h, w] in [0, 1]
    size: tuple[int, int],  # (height, width)
    *,
    guide: Tensor | None = None,  # [3, height, width] in [0, 1]
) -> Tensor:  # [1, 1, height, width] float32
    """Bring one frame's depth to the size of its frame, its edges as steep as they were.

    Args:
        depth: Inverse depth, finite.
        size: The frame's size.
        guide: The frame, on the depth's device. It is looked at in 8 bits. With it, edges move to the nearest
            edge of its colours; None: they stay where they are.
    """
    depth = depth.detach().float()
    height, width = size
    if guide is not None:
        small_width = working_size(height, width)[1]
        raised = _upsample_guided(depth, guide.detach()).clamp_(0, 1)
        return snap_on_device(raised, radius=max(2, round(2 * width / small_width)))
    if depth.shape[-2:] == size:
        return depth
    raised = F.interpolate(depth, size, mode="bilinear", align_corners=False)
    return steepen_on_device(raised, radius=max(1, round(width / depth.shape[-1])))


def _upsample_guided(depth: Tensor, guide: Tensor) -> Tensor:  # [1, 1, h, w], [3, H, W] -> [1, 1, H, W]
    """Do as `guided_upsample`: coefficients found at the working size, applied to the full-size guide."""
    levels = (guide.float() * 255).round_()
    size = working_size(*levels.shape[-2:])
    image = _shrink(levels, size, whole=True).div_(255)
    coefficients = _find_coefficients(image, _shrink(depth[0], size))
    raised = F.interpolate(coefficients[None], levels.shape[-2:], mode="bilinear", align_corners=False)[0]
    result = raised[3]
    for slope, channel in zip(raised[:3], levels.div_(255), strict=True):
        result = torch.addcmul(result, slope, channel)
    return result[None, None]


def _find_coefficients(image: Tensor, values: Tensor) -> Tensor:  # [3, h, w], [1, h, w] -> [4, h, w]
    """Do as `ColourGuide.coefficients`."""
    products = image[:, None] * image[None]
    means = _box(torch.cat([image, values, image * values, products.flatten(0, 1)]))
    colour, mean = means[:3], means[3]
    covariance = means[4:7] - colour * mean
    spread = means[7:].view_as(products) - colour[:, None] * colour[None]
    spread.diagonal().add_(GUIDE_EPSILON)  # of the two axes of channels
    # The inverse of a symmetric 3x3 matrix: cross products of its rows over the determinant.
    cofactors = torch.linalg.cross(spread.roll(-1, 0), spread.roll(-2, 0), dim=1)
    determinant = (spread[0] * cofactors[0]).sum(0)
    slopes = (cofactors * covariance).sum(1) / determinant
    offset = mean - (slopes * colour).sum(0)
    return _box(torch.cat([slopes, offset[None]]))


def _box(planes: Tensor) -> Tensor:  # twice [C, h, w]
    """Average over the guide's window, the frame mirrored beyond its border."""
    height, width = planes.shape[-2:]
    rows, columns = (_mirrored(length, planes.device) for length in (height, width))
    return F.avg_pool2d(planes[:, rows[:, None], columns], 2 * GUIDE_RADIUS + 1, stride=1)


@lru_cache(maxsize=16)
def _mirrored(length: int, device: torch.device) -> Tensor:  # [length + 2 * GUIDE_RADIUS] int64
    """List positions from beyond a frame's border to beyond its end, mirrored into it."""
    position = np.arange(-GUIDE_RADIUS, length + GUIDE_RADIUS) % (2 * length)
    return torch.from_numpy(np.where(position < length, position, 2 * length - 1 - position)).to(device)


def _shrink(planes: Tensor, size: tuple[int, int], *, whole: bool = False) -> Tensor:
    """Resize [C, H, W] as OpenCV does by area; `whole` values give whole ones, as 8-bit pictures do."""
    height, width = planes.shape[-2:]
    if (height, width) == size:
        return planes.clone()
    factors = height / size[0], width / size[1]
    if min(factors) >= 1 and all(factor.is_integer() for factor in factors):
        down, right = int(factors[0]), int(factors[1])
        total = planes.view(-1, size[0], down, size[1], right).sum((2, 4))
        if whole and down == right == 2:
            return total.add_(2).div_(4).floor_()  # the only size at which halves are rounded up
        mean = total * float(np.float32(1) / np.float32(down * right))
        return mean.round_() if whole else mean
    areas = min(factors) >= 1
    for axis, length in ((-1, size[1]), (-2, size[0])):
        index, weight = _taps(planes.shape[axis], length, areas, planes.device)
        taken = planes.index_select(axis, index)
        shape = (length, -1) if axis == -1 else (length, -1, taken.shape[-1])
        weights = weight if axis == -1 else weight[..., None]
        planes = (taken.unflatten(axis, shape[:2]) * weights).sum(-1 if axis == -1 else -2)
    return planes.round_() if whole else planes


@lru_cache(maxsize=16)
def _taps(
    length: int, size: int, areas: bool, device: torch.device
) -> tuple[Tensor, Tensor]:  # [size * taps] int64, [size, taps]
    """Tell which of `length` pixels each of `size` is made of, and their shares.

    Where one axis grows, OpenCV makes each pixel of two on both axes.
    """
    growth = size / length
    scale = 1 / growth  # rounded as OpenCV does
    at = np.arange(size)[:, None]
    begin = at * scale
    first = np.floor(begin)
    if areas:
        end = np.minimum(begin + scale, length)
        source = first + np.arange(int(np.ceil(scale)) + 1)
        share = np.minimum(source + 1, end) - np.maximum(source, begin)
        share = np.where(share > 1e-3, share, 0) / (end - begin)
    else:
        beyond = ((at + 1) - (first + 1) * growth).astype(np.float32)
        beyond = np.where(beyond <= 0, 0, beyond - np.floor(beyond))
        source = first + np.arange(2)
        share = np.concatenate([1 - beyond, beyond], axis=1)
    index = source.clip(0, length - 1).astype(np.int64).ravel()
    return torch.from_numpy(index).to(device), torch.from_numpy(share.astype(np.float32)).to(device)
