"""Red-cyan anaglyph by Dubois' least-squares projection.

The matrices minimise the difference, in a perceptual space, between what each eye sees through red-cyan
glasses and what it should see (E. Dubois, "A projection method to generate anaglyph stereo images", ICASSP
2001; matrix for a typical LCD screen and glasses as published by the author in 2009).
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from ..contracts import check_call, working_dtype

# Rows give red, green, blue of the anaglyph; the first three columns weigh the left view's R, G, B, the
# others the right view's.
DUBOIS_RED_CYAN = (
    (0.437, 0.449, 0.164, -0.011, -0.032, -0.007),
    (-0.062, -0.062, -0.024, 0.377, 0.761, 0.009),
    (-0.048, -0.050, -0.017, -0.026, -0.093, 1.234),
)


def anaglyph(
    left: Tensor,  # [F, 3, H, W] in [0, 1]
    right: Tensor,  # [F, 3, H, W] in [0, 1]
) -> Tensor:  # [F, 3, H, W] in [0, 1]
    """Mix two views into one picture for red-cyan glasses (red on the left eye), of the left view's type.

    Raises:
        InputError: If a view breaks its rule (`contracts.TABLE`).
    """
    check_call("anaglyph", left=left, right=right)
    return mix_anaglyph(left, right)


def mix_anaglyph(left: Tensor, right: Tensor) -> Tensor:
    """Do as `anaglyph`, for views that are known to be right."""
    dtype = working_dtype(left)
    matrix = _matrix(left.device, dtype)
    views = torch.cat([left.to(dtype), right.to(dtype)], dim=1)
    return torch.einsum("oc,fchw->fohw", matrix, views).clamp(0, 1).to(left.dtype)


@functools.cache
@torch.inference_mode(False)  # gradients may pass through the matrix later
def _matrix(device: torch.device, dtype: torch.dtype) -> Tensor:  # [3, 6]
    """Give the matrix on a device, to which it is copied once."""
    return torch.tensor(DUBOIS_RED_CYAN, dtype=dtype, device=device)
