"""What a filler must leave as it is: the warped view's own pixels, farther from holes than it may reach.

A clip is compared whole. In a film only some rows of each frame are compared, the next ones in the next
frame, which takes about one per cent of the time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..dvg.mask_edges import grow_hole

_OVERSHOOT = 0.1  # beyond [0, 1], which resampling leaves


class KnownPixels:
    """Known pixels of one rendered frame, kept until the filler has finished it.

    Args:
        warped: The rendered view.
        hole: Its hole mask.
        reach: How far from holes the filler may change pixels, px; None: everywhere.
        rows: The rows that are compared.
    """

    def __init__(
        self,
        warped: Tensor,  # [3, H, W] in [0, 1]
        hole: Tensor,  # [1, H, W], 1 = hole
        *,
        reach: int | None,
        rows: slice,
    ) -> None:
        self.dtype, self.device = warped.dtype, warped.device
        self._rows = rows
        self._range = warped.aminmax()
        self._pixels: Tensor | None = None
        if reach is not None:
            self._known = grow_hole(hole[None], reach)[0][:, rows] <= 0.5
            self._pixels = warped[:, rows].clone()  # fillers may work in the frame's own memory

    def count_changed(self, filled: Tensor) -> int:  # filled: [3, H, W]
        """Count the known pixels in those rows that differ in a finished frame."""
        if self._pixels is None:
            return 0
        differs = (filled[:, self._rows] != self._pixels).logical_and_(self._known)
        return int(differs.any(dim=0).sum()) if bool(differs.any()) else 0

    def find_wrong_value(self, filled: Tensor) -> float | None:  # filled: [3, H, W]
        """Return a value of a finished frame that is NaN or outside [0, 1], if there is one."""
        least, largest = torch.stack(filled.aminmax()).tolist()  # NaN is both
        low, high = torch.stack(self._range).tolist()
        if not least >= min(low, -_OVERSHOOT):
            return least
        return None if largest <= max(high, 1 + _OVERSHOOT) else largest
