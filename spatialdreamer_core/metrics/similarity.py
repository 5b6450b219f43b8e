"""Structural similarity of a view and the true one (Wang, Bovik, Sheikh and Simoncelli 2004, eq. 13)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import InputError, check_choice
from ..contracts import check_call, working_dtype

_SIDES = {"gaussian": 11, "uniform": 7}  # px, of the windows
_SIGMA = 1.5  # px, of the Gaussian window
_C1, _C2 = 0.01**2, 0.03**2  # of a range of values of 1

Window = Literal["gaussian", "uniform"]


def ssim(
    result: Tensor,  # [F, C, H, W] in [0, 1]
    truth: Tensor,  # [F, C, H, W] in [0, 1]
    mask: Tensor | None = None,  # [F, 1, H, W] bool
    *,
    window: Window = "gaussian",
) -> float:
    """Structural similarity, the mean over channels, pixels and frames; 1 is ideal.

        (2 μa μb + C1) (2 σab + C2) / ((μa² + μb² + C1) (σa² + σb² + C2)),  C1 = 0.01², C2 = 0.03²

    Moments are those of windows that lie wholly within the frame, of each colour channel by itself.

    Args:
        result: The view to be judged.
        truth: What it should be.
        mask: Pixels at whose windows' centres it is measured; None for all.
        window: "gaussian" (the paper's, 11x11 with a sigma of 1.5 px) or "uniform" (7x7, scikit-image's
            default but for its sample covariance).

    Returns:
        A number of at most 1; NaN if the mask is empty.

    Raises:
        InputError: If a tensor breaks its rule (`contracts.TABLE`), or a frame is smaller than a window.
    """
    check_call("ssim", result=result, truth=truth, mask=mask)
    similarity = ssim_map(result, truth, window=window).mean(1, keepdim=True)
    if mask is None:
        return float(similarity.mean())
    rim = _SIDES[window] // 2
    return float(similarity[mask[..., rim:-rim, rim:-rim] > 0.5].mean())


def check_window(height: int, width: int, *, window: Window = "gaussian") -> None:
    """Check that a window fits into frames of a size.

    Raises:
        InputError: If it does not, or there is no such window.
    """
    check_choice("window", window, tuple(_SIDES))
    side = _SIDES[window]
    if min(height, width) < side:
        raise InputError(
            f"frames must be at least {side}x{side} for SSIM's {window} window, got {width}x{height}; "
            "measure larger ones"
        )


def ssim_map(
    result: Tensor,  # [F, C, H, W]
    truth: Tensor,  # [F, C, H, W]
    *,
    window: Window = "gaussian",
) -> Tensor:  # [F, C, H - side + 1, W - side + 1]
    """Like `ssim`, for each window and channel, without checking the tensors."""
    check_window(*result.shape[-2:], window=window)
    dtype = working_dtype(result)
    a, b = result.detach().to(dtype), truth.detach().to(dtype)
    moments = [_blur(each, window) for each in (a, b, a * a, b * b, a * b)]
    mean_a, mean_b = moments[:2]
    variance_a, variance_b = moments[2] - mean_a**2, moments[3] - mean_b**2
    covariance = moments[4] - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return luminance * (2 * covariance + _C2) / (variance_a + variance_b + _C2)


def _blur(video: Tensor, window: Window) -> Tensor:
    """Average over the windows within the frame, one axis after the other."""
    side, channels = _SIDES[window], video.shape[1]
    offset = torch.arange(side, dtype=video.dtype, device=video.device) - side // 2
    weights = torch.exp(-(offset**2) / (2 * _SIGMA**2)) if window == "gaussian" else torch.ones_like(offset)
    weights = (weights / weights.sum()).expand(channels, 1, 1, -1)
    rows = F.conv2d(video, weights, groups=channels)
    return F.conv2d(rows, weights.transpose(-1, -2), groups=channels)
