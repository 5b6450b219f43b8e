"""Quantiles of values that come bit by bit, in constant memory.

The sketch is a histogram over the leading bits of each value's float32 pattern, whose integers sort like the
values. Its bins are `2 ** -9` of a value's distance from the first values' median, whatever the unit, and its
memory stays the same however many values there are.
"""

from __future__ import annotations

import torch
from torch import Tensor

_KEY_BITS = 18  # sign, 8 of the exponent, 9 of the mantissa
_DROPPED_BITS = 32 - _KEY_BITS


class Quantiles:
    """Counts values; tells below which of them a share of all lies."""

    def __init__(self) -> None:
        self._counts = torch.zeros(2**_KEY_BITS, dtype=torch.int64)
        self._centre: float | None = None

    def add(
        self,
        values: Tensor,  # [N] float32 on the CPU, finite, N >= 1
        *,
        weight: int = 1,
    ) -> None:
        """Count values, each `weight` times."""
        if self._centre is None:
            self._centre = float(values.median())
        counts = torch.bincount(_to_key(values - self._centre), minlength=2**_KEY_BITS)
        self._counts.add_(counts, alpha=weight)

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been counted."""
        return self._centre is None

    def quantile(self, share: float) -> float:
        """Find the value below which a share of the counted ones lies, to the width of a bin."""
        assert self._centre is not None, "nothing has been counted"
        below = self._counts.cumsum(0)
        wanted = share * float(below[-1])
        key = min(int(torch.searchsorted(below, wanted)), len(below) - 1)
        key = key if self._counts[key] else int(self._counts.nonzero()[0])
        inside = (wanted - float(below[key] - self._counts[key])) / float(self._counts[key])
        low, high = _from_key(torch.tensor([key, key + 1])).tolist()
        return self._centre + (low + inside * (high - low))


def _to_key(values: Tensor) -> Tensor:  # float32 -> int32 in [0, 2 ** _KEY_BITS)
    """Map values to bins whose numbers sort like the values."""
    bits = (values + 0.0).view(torch.int32)  # + 0.0 makes -0 into 0
    bits ^= (bits >> 31).bitwise_and_(0x7FFFFFFF)  # below 0, larger bits are smaller values
    bits >>= _DROPPED_BITS
    bits += 2 ** (_KEY_BITS - 1)
    return bits


def _from_key(keys: Tensor) -> Tensor:  # int64 -> float64
    """Return the lower bounds of bins."""
    ordered = (keys << _DROPPED_BITS) - 2**31
    bits = torch.where(ordered < 0, -(ordered + 1) | -(2**31), ordered)
    return bits.to(torch.int32).view(torch.float32).double()
