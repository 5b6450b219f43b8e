"""What the VAE takes at a time: chunks of frames and tiles of pictures, and less of both if memory is short.

Tiles overlap by a quarter of their side and are blended linearly. A tile is normalised by its own statistics
(GroupNorm) and attends only to itself, so tiled results differ from whole ones in tone, more so the smaller
tiles are; the blend spreads that difference so that no edge is seen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from ..checks import InputError, check_types
from ..memory import attempt

TILE_STEP = 64  # px; tiles' sides are multiples of it
SMALLEST_TILE = 128  # px, that is fallen back to; smaller ones hold too little of a picture
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Portion:
    """What the VAE takes at a time."""

    chunk: int  # frames, at least 1
    tile: int  # px, side of a tile, a multiple of 64; 0 = whole pictures

    def check(self) -> None:
        """Check both sizes.

        Raises:
            InputError: For the first one that breaks its rule.
        """
        check_types(self)
        if self.chunk < 1:
            raise InputError(f"chunk must be at least 1 frame, got {self.chunk}; 8 suits most GPUs")
        if self.tile < 0 or self.tile % TILE_STEP:
            raise InputError(
                f"tile must be a multiple of {TILE_STEP} px, or 0 for whole pictures, got {self.tile}; "
                "512 suits most GPUs"
            )

    def smaller(self, longer_side: int) -> Portion | None:
        """Return half of it for pictures with such a longer side [px], or None if that is too little."""
        if self.chunk > 1:
            return replace(self, chunk=self.chunk // 2)
        tile = min(self.tile or longer_side, longer_side)
        if tile <= SMALLEST_TILE:
            return None
        return replace(self, tile=max(SMALLEST_TILE, -(-tile // (2 * TILE_STEP)) * TILE_STEP))

    def __str__(self) -> str:
        pictures = f"tiles of {self.tile} px" if self.tile else "whole pictures"
        return f"{self.chunk} frame(s) at once in {pictures}"


def run_within_memory(
    run: Callable[[Portion], Tensor],
    portion: Portion,
    *,
    longer_side: int,
    task: str,
) -> Tensor:
    """Run a task of the VAE, and again with smaller portions as long as memory does not suffice.

    Each step halves the chunk; single frames are cut into tiles, which are halved down to 128 px. The task
    starts anew each time, so its result is that of the portion that fits.

    Args:
        run: The task.
        portion: To begin with.
        longer_side: Of the pictures, px.
        task: What is done, for the messages: "decoding".

    Raises:
        InputError: If the smallest portion does not fit either.
    """
    while True:
        result = attempt(partial(run, portion))
        if result is not None:
            return result
        smaller = portion.smaller(longer_side)
        if smaller is None:
            raise InputError(
                f"{task} must fit into memory, but the VAE ran out of it with {portion}; "
                "free memory or use smaller frames"
            )
        _LOGGER.warning("%s ran out of memory with %s: trying %s", task, portion, smaller)
        portion = smaller
