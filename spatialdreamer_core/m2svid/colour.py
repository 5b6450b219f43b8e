"""Colour and contrast of refined frames, corrected by what is known of them.

A network's output drifts: each window is a little brighter, greyer or warmer than what went in, which pulses
in a film. What is known of a frame, outside of its holes, tells how far it has drifted, and

    corrected = g · picture + b,   g = σ(known) / σ(picture),   b = μ(known) - g · μ(picture)

for each channel takes it back. Windows are corrected one by one, each against its own rendered view, which is
as steady as the film. So a frame's mean is that of its own known pixels. The deviation is that of a few
frames around it as well, the nearest ones counting most: a single frame's sharpness does not change it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_REACH = 2  # frames before and after that count
_OTHERS = 1e-3  # weight of other frames' means, for a frame without known pixels of its own
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
    nearness = 1 - torch.arange(-_REACH, _REACH + 1, device=moments.device).abs() / (_REACH + 1)
    mean, _, wanted_mean, _ = _averages(moments, torch.where(nearness < 1, _OTHERS, 1.0))
    _, variance, _, wanted_variance = _averages(moments, nearness)
    seen = (_pool(moments[:, :1], torch.ones_like(nearness)) >= _LEAST_KNOWN).float()
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


def _averages(moments: Tensor, weights: Tensor) -> tuple[Tensor, ...]:  # [F, 14] -> four of [F, 3]
    """Average means and variances, those of the picture and the wanted ones, over frames weighed by place."""
    count, *sums = _pool(moments, weights).split([1, 3, 3, 1, 3, 3], dim=1)
    return tuple(total / count.clamp_min(1e-6) for total in sums if total.shape[1] == 3)


def _pool(sums: Tensor, weights: Tensor) -> Tensor:  # [F, n], [2 * _REACH + 1] -> [F, n]
    """Add up each frame's sums and those around it, weighed by place."""
    return F.conv1d(sums.T[:, None], weights[None, None].to(sums), padding=_REACH)[:, 0].T
