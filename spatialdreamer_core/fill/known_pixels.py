"""What a filler must leave as it is: the warped view's own pixels, farther from holes than it may reach.

A clip is compared whole. In a film only some rows of each frame are compared, the next ones in the next
frame, which takes about one per cent of the time. On a GPU nothing waits for what comes out: it is copied to
the CPU behind all other work and read some frames later.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..contracts import working_dtype
from ..dvg.interleaved import planes_of
from ..dvg.mask_edges import grow_hole
from ..kernels import use_kernels

_OVERSHOOT = 0.1  # beyond [0, 1], which resampling leaves


class Verdict:
    """What was found in one finished frame.

    Args:
        found: [5], the least and the largest value of the finished frame, the same of the rendered view's
            rows that are compared, and the number of pixels that were changed and should not.
    """

    def __init__(self, found: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        self._found = found.to("cpu", non_blocking=found.is_cuda)
        if found.is_cuda:
            self._event = torch.cuda.current_stream(found.device).record_event()

    def is_there(self) -> bool:
        """Tell whether it can be read without waiting for the GPU."""
        return self._event is None or self._event.query()

    def read(self) -> tuple[float | None, int]:
        """Return a value that is NaN or outside [0, 1], if there is one, and how many pixels were changed."""
        if self._event is not None:
            self._event.synchronize()
        least, largest, low, high, changed = self._found.tolist()  # NaN is both least and largest
        wrong = None
        if not least >= min(low, -_OVERSHOOT):
            wrong = least
        elif not largest <= max(high, 1 + _OVERSHOOT):
            wrong = largest
        return wrong, int(changed)


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
        warped: Tensor,  # [3, H, W] in [0, 1], or uint8
        hole: Tensor,  # [1, H, W], 1 = hole; or bool
        *,
        reach: int | None,
        rows: slice,
    ) -> None:
        self.dtype, self.device = warped.dtype, warped.device
        self._rows = rows
        looked_at = warped
        self._kept: Tensor | None = None  # [4, h, W], those rows: colours, and above 0.5 may be changed
        if reach is not None:
            grown = grow_hole(hole[None], reach)[0] if reach else hole
            # A copy: fillers may work in the frame's own memory.
            self._kept = torch.cat([planes_of(warped, rows=rows), grown[:, rows]])
            looked_at = self._kept[:3] if self._kept.numel() else warped
        self._range = _range_of(looked_at)

    def judge(self, filled: Tensor) -> Verdict:  # filled: [3, H, W]
        """Compare a finished frame with what is known of it."""
        extremes = (*_range_of(filled), *self._range)
        if self._kept is not None and self._kept.numel() and filled.numel() < 2**31:
            if use_kernels(filled, self._kept):
                from .known_pixels_triton import judge_triton

                return Verdict(judge_triton(filled, self._kept, self._rows, extremes))
        dtype = working_dtype(filled)
        return Verdict(torch.stack([value.to(dtype) for value in (*extremes, self._count_changed(filled))]))

    def _count_changed(self, filled: Tensor) -> Tensor:  # []
        """Count the known pixels in those rows that differ in a finished frame."""
        if self._kept is None:
            return filled.new_zeros(())
        red, green, blue = planes_of(filled, rows=self._rows) != self._kept[:3]
        return ((red | green | blue) & (self._kept[3] <= 0.5)).sum()


def _range_of(picture: Tensor) -> tuple[Tensor, Tensor]:  # two of []
    """Find the least and the largest value of a picture; bytes cannot leave their range."""
    if picture.dtype == torch.uint8:
        return picture.new_zeros(()), picture.new_zeros(())
    low, high = picture.aminmax()
    return low, high
