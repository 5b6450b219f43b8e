"""Colour and contrast of refined frames, corrected by what is known of them.

A network's output drifts: each window is a little brighter, greyer or warmer than what went in, which pulses
in a film. What is known of a frame, outside of its holes, tells how far it has drifted, and

    corrected = g · picture + b,   g = σ(known) / σ(picture),   b = μ(known) - g · μ(picture)

for each channel takes it back. Mean and deviation are of the known pixels of a frame and of a few around it,
the nearest ones counting most, so that the correction changes smoothly over a window and single frames'
noise does not flicker. Windows are corrected one by one, each against its own warped view, which is as steady
as the film is.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_REACH = 2  # frames before and after that count
_MOST_GAIN = 1.25  # more would show noise that is not in the picture
_LEAST_VARIANCE = 1e-5  # below it a channel has no contrast to compare
_LEAST_KNOWN = 64  # px; fewer tell nothing


def match_colours(
    picture: Tensor,  # [F, 3, h, w] in [0, 1]
    reference: Tensor,  # [F, 3, h, w] in [0, 1]
    known: Tensor,  # [F, 1, h, w], 1 = known
) -> Tensor:  # [F, 3, h, w] in [0, 1]
    """Give a window the mean and the deviation of each channel that its reference has where it is known.

    Args:
        picture: The model's frames.
        reference: The rendered view.
        known: Where it can be trusted. Frames without known pixels go by those around them; where there are
            none either, they stay as they are.
    """
    moments = torch.stack(
        [
            torch.cat([_moments(values, mask) for values in (shown, wanted)])
            for shown, wanted, mask in zip(picture, reference, known, strict=True)
        ]
    )  # [F, 2 · (1 + 3 + 3)]
    count, *sums = _pool_over_time(moments).split([1, 3, 3, 1, 3, 3], dim=1)
    seen = (count >= _LEAST_KNOWN).float()
    count = count.clamp_min(1)
    mean, variance, _, wanted_mean, wanted_variance = (total / count for total in sums)
    has_contrast = (variance > _LEAST_VARIANCE) & (wanted_variance > _LEAST_VARIANCE)
    gain = (wanted_variance / variance.clamp_min(_LEAST_VARIANCE)).sqrt()
    gain = torch.where(has_contrast, gain.clamp(1 / _MOST_GAIN, _MOST_GAIN), 1.0)
    gain, offset = 1 + seen * (gain - 1), seen * (wanted_mean - gain * mean)
    gain, offset = (value.to(picture.dtype)[..., None, None] for value in (gain, offset))
    return torch.addcmul(offset, picture, gain).clamp_(0, 1)


def _moments(values: Tensor, mask: Tensor) -> Tensor:  # [3, h, w], [1, h, w] -> [7]
    """Count a frame's known pixels; return that, and mean and variance by channel, each times the count."""
    values, mask = values.float(), mask.float()
    count, total = mask.sum((1, 2)), (values * mask).sum((1, 2))
    mean = total / count.clamp_min(1)
    squares = ((values - mean[:, None, None]).square_() * mask).sum((1, 2))
    return torch.cat([count, total, squares])


def _pool_over_time(sums: Tensor) -> Tensor:  # [F, n]
    """Add up each frame's sums and its neighbours', the nearest ones counting most."""
    weights = 1 - torch.arange(-_REACH, _REACH + 1, device=sums.device).abs() / (_REACH + 1)
    return F.conv1d(sums.T[:, None], weights[None, None].to(sums), padding=_REACH)[:, 0].T
