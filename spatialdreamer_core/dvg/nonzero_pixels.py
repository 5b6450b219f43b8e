"""Masks by a threshold, the positions of their pixels and the values there, for work on few pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..comparing import compare


def above(values: Tensor, threshold: float) -> Tensor:
    """Return `values > threshold`."""
    return compare(lambda given: given > threshold, values)


def below(values: Tensor, threshold: float) -> Tensor:
    """Return `values < threshold`."""
    return compare(lambda given: given < threshold, values)


def nonzero_pixels(
    mask: Tensor,  # [H, W] bool
) -> tuple[Tensor, Tensor]:  # two of [N] int64
    """Return the rows and columns of the pixels that are True, in row-major order.

    The same as `mask.nonzero(as_tuple=True)`; on the CPU NumPy counts them in half of the time.
    """
    if mask.device.type != "cpu":
        row, column = mask.nonzero(as_tuple=True)
        return row, column
    index = torch.from_numpy(np.flatnonzero(mask.numpy()))
    row = index.div(mask.shape[1], rounding_mode="floor")
    return row, index - row * mask.shape[1]


def values_at(
    planes: Tensor,  # [H, W] or [C, H, W]
    row: Tensor,  # int64
    column: Tensor,  # int64, of the shape of `row` or one that broadcasts with it
) -> Tensor:  # the positions' shape, or C of them
    """Look planes up at pixels: the same as `planes[..., row, column]`.

    On the CPU one index into a flat plane takes a fifth of the time; strips of planes are flat one by one.
    """
    if planes.dim() == 3:
        return torch.stack([values_at(plane, row, column) for plane in planes])
    if not planes.is_contiguous():  # made flat, it would be copied
        return planes[row, column]
    index = torch.add(column, row, alpha=planes.shape[1])
    return planes.flatten().index_select(0, index.flatten()).view(index.shape)
