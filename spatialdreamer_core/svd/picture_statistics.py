"""GroupNorm in a region of a picture by the statistics of the whole picture.

SVD's UNet norms groups of channels by their mean and variance over the picture (GroupNorm), so a region that
is cut out of it is normed by its own, and what a model fills there is of another tone and contrast. The whole
picture's are estimated by a pass on all of it at a lower resolution, which tells its statistics and those of
the region's part of it; what lies between the two, the region at its full resolution is given, too:

    mean = mean_region + (mean'_whole - mean'_part)
    variance = variance_region · variance'_whole / variance'_part

with ' for the lower resolution. What that resolution itself changes cancels out, and a region that is the
whole picture comes out as it would.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .windows import Region

_LARGEST_RATIO = 16.0  # of variances: a part of a few latents tells little


class _Correction(NamedTuple):
    """What the statistics of regions lack, [N, groups] for N samples of a region."""

    mean: Tensor  # is added
    variance: Tensor  # multiplies


class PictureStatistics:
    """Takes a network's statistics of whole pictures, and gives them to regions.

    Args:
        network: The network, each of whose GroupNorms a pass runs once.
        size: Height and width of the pictures, px.
    """

    def __init__(self, network: nn.Module, size: tuple[int, int]) -> None:
        self._norms = [module for module in network.modules() if isinstance(module, nn.GroupNorm)]
        self._size = size
        self._corrections: dict[tuple[nn.Module, Region], _Correction] = {}

    @contextmanager
    def take(self, regions: Sequence[Region]) -> Iterator[None]:
        """Take the statistics of a pass on whole pictures at any size, and of its parts.

        Args:
            regions: Those that will need them, px of the pictures at full size.
        """

        def take(norm: nn.GroupNorm, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
            variance, mean = _statistics(norm, inputs[0])
            for region in regions:
                part_variance, part_mean = _statistics(norm, self._part(inputs[0], region))
                ratio = (variance / part_variance).nan_to_num(1.0)
                ratio = ratio.clamp(1 / _LARGEST_RATIO, _LARGEST_RATIO)
                self._corrections[norm, region] = _Correction(mean - part_mean, ratio)

        with self._hooked(take):
            yield

    @contextmanager
    def give(self, regions: Sequence[Region]) -> Iterator[None]:
        """Correct a pass on a batch of regions.

        Args:
            regions: Those of the batch, in its order.
        """

        def give(norm: nn.GroupNorm, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            parts = [self._corrections[norm, region] for region in regions]
            shift, ratio = (torch.cat(values) for values in zip(*parts, strict=True))
            variance = _statistics(norm, inputs[0])[0]
            deviation = (variance * ratio + norm.eps).sqrt()
            scale, shift = (variance + norm.eps).sqrt() / deviation, -shift / deviation
            weight, bias, scale, shift = (
                values.reshape(*values.shape, *[1] * (output.ndim - 2)).to(output)
                for values in (norm.weight[None], norm.bias[None], *_per_channel(norm, scale, shift))
            )
            return (output - bias) * scale + (weight * shift + bias)

        with self._hooked(give):
            yield

    def _part(self, values: Tensor, region: Region) -> Tensor:  # [..., h, w]
        """Cut a region out of values of any size, at least one row and column."""
        cuts = []
        spans = zip((region.rows, region.columns), self._size, values.shape[-2:], strict=True)
        for span, full, side in spans:
            start = min(round(span.start * side / full), side - 1)
            cuts.append(slice(start, max(start + 1, round(span.stop * side / full))))
        return values[..., cuts[0], cuts[1]]

    @contextmanager
    def _hooked(self, hook: object) -> Iterator[None]:
        """Call a hook after each norm."""
        handles = [norm.register_forward_hook(hook) for norm in self._norms]  # type: ignore[arg-type]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _statistics(norm: nn.GroupNorm, values: Tensor) -> tuple[Tensor, Tensor]:  # [N, groups] each
    """Return variance and mean of a norm's input [N, C, ...]."""
    groups = values.flatten(2).unflatten(1, (norm.num_groups, -1)).flatten(2)
    return torch.var_mean(groups.float(), dim=2, correction=0)


def _per_channel(norm: nn.GroupNorm, *values: Tensor) -> list[Tensor]:  # [N, C] each
    """Give the groups' values to their channels."""
    channels = norm.num_channels // norm.num_groups
    return [value.repeat_interleave(channels, dim=1) for value in values]
