"""A clip that is converted part by part, as ComfyUI's loops bring it, with the frames of all of it at once.

What stages carry from frame to frame stays in them between two parts, and a frame that waits for later ones
comes with the next part. The chain runs in one thread, which waits where the frames of a part end: so it is
known when a part is done, and nothing else is going on until the next one.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Generator, Iterator
from queue import Empty, SimpleQueue
from typing import NamedTuple

from torch import Tensor

from ..checks import InputError
from ..depth import DepthModel
from ..fill import Filler
from ..flow import FlowModel
from .config import ConvertConfig
from .frames import StereoPair, convert_frames
from .prefetch import POLL_SECONDS, Closed


class _Part(NamedTuple):
    """Frames to convert, with their depth if that is given."""

    frames: Tensor
    depth: Tensor | None
    is_last: bool


class _End(NamedTuple):
    """What the chain says when it waits for another part, or ends."""

    is_over: bool
    error: BaseException | None = None


_Parts = SimpleQueue["_Part | None"]  # None: there will be no more, and nobody wants the rest
_Results = SimpleQueue["StereoPair | _End"]


class ClipConversion:
    """The conversion of one clip; call `take` for each of its parts in turn.

    Depth models get a scene's range from its first 8 frames, as with any frames that are read once; builtin
    depth and depth that is given come as for a whole clip.

    Args:
        config: As of `convert_frames`.
        filler: As of `convert_frames`.
        depth_model: As of `convert_frames`.
        flow_model: As of `convert_frames`.

    Attributes:
        config: As given.
        parts: How many were taken.
    """

    def __init__(
        self,
        config: ConvertConfig | None = None,
        *,
        filler: Filler | None = None,
        depth_model: DepthModel | None = None,
        flow_model: FlowModel | None = None,
    ) -> None:
        self.config = ConvertConfig() if config is None else config
        self.parts = 0
        self._options = {"filler": filler, "depth_model": depth_model, "flow_model": flow_model}
        self._to_chain: _Parts = SimpleQueue()
        self._from_chain: _Results = SimpleQueue()
        self._has_depth: bool | None = None
        self._is_over = False
        weakref.finalize(self, self._to_chain.put, None)  # ends the thread, which does not know this object

    def take(
        self,
        frames: Tensor,  # [F, 3, H, W] in [0, 1]
        *,
        depth: Tensor | None = None,  # [F, 1, h, w] in [0, 1]
        more_follows: bool,
    ) -> Generator[StereoPair, None, None]:
        """Convert a part of the clip.

        Args:
            frames: Its frames.
            depth: Their inverse depth, which all parts have or none.
            more_follows: Whether another part follows; then frames that wait for later ones come with that.

        Yields:
            The pairs that are finished, after those of the part before.

        Raises:
            InputError: As of `convert_frames`; if only some parts have depth; or if the last part was taken,
                or the generator of one was left before its end.
        """
        if self._is_over:
            raise InputError(
                f"a clip must have no part after its last one, got one after {self.parts}; begin another clip"
            )
        if depth is not None and len(depth) != len(frames):
            raise InputError(
                f"`depth` must have as many maps as there are frames ({len(frames)}), got {len(depth)}; give "
                "one per frame"
            )
        if self._has_depth not in (None, depth is not None):
            raise InputError(
                "`depth` must be given for all parts of a clip or for none, got "
                f"{'some' if depth is not None else 'none'} in part {self.parts + 1}; do as in the first part"
            )
        self._is_over = True  # until all of the part is there
        if self._has_depth is None:
            self._has_depth = depth is not None
            self._start()
        self._to_chain.put(_Part(frames, depth, not more_follows))
        while not isinstance(item := self._next(), _End):
            yield item
        if item.error is not None:
            raise item.error
        self.parts += 1
        self._is_over = item.is_over

    def close(self) -> None:
        """End the conversion, whose frames that still wait are lost."""
        self._is_over = True
        self._to_chain.put(None)

    def _next(self) -> StereoPair | _End:
        """Wait for what the chain says, in a way that can be interrupted on Windows."""
        while True:
            try:
                return self._from_chain.get(timeout=POLL_SECONDS)
            except Empty:
                continue

    def _start(self) -> None:
        """Start the chain."""
        feed = _Feed(self._to_chain, self._from_chain)
        pairs = convert_frames(
            feed.frames(),
            self.config,
            depth=feed.maps() if self._has_depth else None,
            overlap=False,
            **self._options,  # type: ignore[arg-type]
        )
        threading.Thread(
            target=_hand_over, args=(pairs, self._from_chain), name="spatialdreamer-clip", daemon=True
        ).start()


class _Feed:
    """A clip's frames and maps as iterators that wait where a part ends."""

    def __init__(self, parts: _Parts, results: _Results) -> None:
        self._parts, self._results = parts, results
        self._maps: deque[Tensor] = deque()  # of frames that were read

    def frames(self) -> Iterator[Tensor]:
        """Read the frames, and tell where another part is needed."""
        is_first = True
        while True:
            if not is_first:
                self._results.put(_End(is_over=False))
            is_first = False
            part = self._parts.get()
            if part is None:
                raise Closed
            for number, frame in enumerate(part.frames):
                if part.depth is not None:
                    self._maps.append(part.depth[number])
                yield frame
            if part.is_last:
                return

    def maps(self) -> Iterator[Tensor]:
        """Give the maps of the frames that were read, in order."""
        while True:
            yield self._maps.popleft()


def _hand_over(pairs: Iterator[StereoPair], results: _Results) -> None:
    """Do the work of the thread."""
    error: BaseException | None = None
    try:
        for pair in pairs:
            results.put(pair)
    except Closed:
        return
    except BaseException as caught:
        error = caught
    results.put(_End(is_over=True, error=error))
