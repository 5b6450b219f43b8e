"""From a depth model's output to inverse depth, larger = nearer; scale and shift are set per scene."""

from __future__ import annotations

import torch
from torch import Tensor

from .models import Semantics

_NEAREST = 0.01  # m; what a metric model puts nearer counts as this near


def to_inverse_depth(
    raw: Tensor,  # [B, 1, H, W]
    semantics: Semantics,
) -> Tensor:  # [B, 1, H, W] float32
    """Convert a model's output to inverse depth.

    `affine_inverse` (inverse depth up to scale and shift) stays as it is; Depth Pro's output is of this kind
    before the field of view, a factor that normalisation removes, turns it into metres. `metric` (metres)
    becomes 1 / depth; infinitely far is 0, and so is a depth that is not positive or no number, for it says
    nothing. `affine_depth` (depth up to scale and shift, 0 = near, 1 = far) becomes 1 - depth: with the shift
    unknown, 1 / depth would bend it by an arbitrary amount, and a straight line keeps at least the order.

    Args:
        raw: The model's output.
        semantics: What it means.

    Returns:
        Inverse depth; what was not finite is 0.
    """
    raw = raw.float()
    if semantics == "metric":
        inverse = 1 / raw.clamp(min=_NEAREST)
        inverse = torch.where(raw > 0, inverse, 0)
    elif semantics == "affine_depth":
        inverse = 1 - raw
    else:
        inverse = raw
    return inverse.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
