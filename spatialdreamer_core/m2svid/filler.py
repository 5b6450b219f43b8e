"""M2SVid as a filler: films of any length in constant memory, see `stream.py`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from ..dvg.eyes import Eye
from ..fill import RenderedFrame
from .config import RefinerConfig
from .model import M2SVid
from .stream import RefineStream

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class M2SVidFiller:
    """Fills holes by M2SVid, and repairs the rest of the view unless it is to be kept.

    Attributes:
        model: The model.
        config: How to refine.
        on_wait: Called now and then while a window is refined; may raise to interrupt.

    Raises:
        InputError: If an option is out of range.
    """

    model: M2SVid
    config: RefinerConfig = field(default_factory=RefinerConfig)
    on_wait: Callable[[], None] | None = None

    refines_holes = True
    takes_bytes = False

    def __post_init__(self) -> None:
        """Check the options."""
        self.config.check()

    @property
    def reach(self) -> int | None:
        """How far from holes pixels change, px; None: everywhere."""
        return self.config.reach

    def open(self, *, eye: Eye, size: tuple[int, int]) -> M2SVidStream:
        """Begin a film, or an eye of it."""
        return M2SVidStream(RefineStream(self.model, self.config, eye=eye, on_wait=self.on_wait))


class M2SVidStream:
    """Fills the frames of one view, scene by scene.

    Args:
        stream: What refines them.
    """

    def __init__(self, stream: RefineStream) -> None:
        self._stream = stream

    def push(self, frame: RenderedFrame) -> list[Tensor]:  # of [3, H, W] in [0, 1]
        """Take a scene's next frame; return those that are finished by it.

        Raises:
            InputError: As `refine`.
        """
        return [refined.filled for refined in self._stream.push(frame)]

    def finish(self) -> list[Tensor]:  # of [3, H, W] in [0, 1]
        """Return the scene's other frames; the next frame begins a new scene.

        Raises:
            InputError: As `refine`.
        """
        return [refined.filled for refined in self._stream.finish()]

    def close(self) -> None:
        """Log how much of the film was run."""
        _LOGGER.info("M2SVid ran on %.0f %% of the film's area", 100 * self._stream.share)
