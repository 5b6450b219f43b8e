"""Look a tensor up where flow points to; sizes to work at, and flow brought to another size."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import check_choice, check_range, check_size
from ..contracts import check_call, working_dtype
from ..remapping import can_remap, remap


def sample_at_flow(
    values: Tensor,  # [B, C, H, W]
    flow: Tensor,  # [B, 2, H, W]
    *,
    mode: Literal["bilinear", "nearest"] = "bilinear",
    outside: Literal["border", "zeros"] = "border",
) -> Tensor:  # [B, C, H, W]
    """Sample `values` at p + flow(p) for each pixel p (backward warping).

    Args:
        values: What is looked up, in the frame that the flow points into.
        flow: (dx, dy) in pixels, pixel centres at integers.
        mode: Interpolation.
        outside: What positions outside the frame give: the nearest border pixel, or 0.

    Returns:
        What is found, of the values' type.

    Raises:
        InputError: If an argument breaks its rule (`contracts.TABLE`), or `mode` or `outside` is unknown.
    """
    check_call("sample_at_flow", values=values, flow=flow)
    check_choice("mode", mode, ("bilinear", "nearest"))
    check_choice("outside", outside, ("border", "zeros"))
    return look_up(values, flow, mode=mode, outside=outside)


def look_up(
    values: Tensor,  # [B, C, H, W]
    flow: Tensor,  # [B, 2, H, W]
    *,
    mode: Literal["bilinear", "nearest"] = "bilinear",
    outside: Literal["border", "zeros"] = "border",
) -> Tensor:  # [B, C, H, W]
    """Like `sample_at_flow`, without checking its arguments."""
    if not len(values):
        return values
    return look_up_at(values, *ends_of(flow), mode=mode, outside=outside)


def ends_of(flow: Tensor) -> tuple[Tensor, Tensor]:  # [B, 2, H, W] -> two of [B, H, W]
    """Return where vectors end, x and y in pixels."""
    flow = flow.to(working_dtype(flow))  # half precision does not tell neighbouring columns apart
    height, width = flow.shape[-2:]
    x = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, 0]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    return x, y


def look_up_at(
    values: Tensor,  # [B, C, H, W]
    x: Tensor,  # [B, h, w] px
    y: Tensor,  # [B, h, w] px
    *,
    mode: Literal["bilinear", "nearest"] = "bilinear",
    outside: Literal["border", "zeros"] = "border",
) -> Tensor:  # [B, C, h, w]
    """Sample `values` at positions."""
    height, width = values.shape[-2:]
    if (mode, outside) == ("bilinear", "border") and can_remap(values, x, y):
        found = values.new_empty(*values.shape[:2], *x.shape[-2:])
        for planes, at_x, at_y, results in zip(values, x.numpy(), y.numpy(), found, strict=True):
            for plane, result in zip(planes, results, strict=True):
                remap(plane, at_x, at_y, out=result)
        return found
    dtype = working_dtype(values)
    grid = x.new_empty(*x.shape, 2)  # written in two steps: on the CPU `stack` takes three times as long
    grid[..., 0], grid[..., 1] = (2 * x + 1) / width - 1, (2 * y + 1) / height - 1
    found = F.grid_sample(
        values.to(dtype), grid.to(dtype), mode=mode, padding_mode=outside, align_corners=False
    )
    return found.to(values.dtype)


def fit_size(height: int, width: int, *, longer_side: int) -> tuple[int, int]:
    """Return the (height, width) of a frame shrunk, if need be, to a longer side of so many pixels.

    Raises:
        InputError: If a size is not a whole number above 0.
    """
    check_size("size", (height, width))
    check_range("longer_side", longer_side, 1, 2**31 - 1, "px", whole=True)
    factor = min(1.0, longer_side / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def resize_flow(
    flow: Tensor,  # [B, 2, H, W]
    size: tuple[int, int],  # (height, width)
) -> Tensor:  # [B, 2, height, width]
    """Resize a flow field bilinearly and scale its vectors to pixels of the new size.

    Raises:
        InputError: If the flow breaks its rule (`contracts.TABLE`) or the size is none.
    """
    check_call("resize_flow", flow=flow)
    check_size("size", size)
    height, width = flow.shape[-2:]
    size = (int(size[0]), int(size[1]))
    if (height, width) == size:
        return flow
    if 0 in flow.shape:
        return flow.new_zeros(*flow.shape[:2], *size)
    resized = F.interpolate(flow.to(working_dtype(flow)), size, mode="bilinear", align_corners=False)
    factors = resized.new_tensor([size[1] / width, size[0] / height]).view(1, 2, 1, 1)
    return (resized * factors).to(flow.dtype)
