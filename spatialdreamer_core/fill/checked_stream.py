"""Holds any filler to its contract while it works; errors name the filler, the rule and what it did."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from torch import Tensor

from ..checks import InputError, check_flag, check_range, one_line
from ..dvg.eyes import Eye
from ..memory import is_out_of_memory, run_once_more
from .filler import Filler, RenderedFrame
from .known_pixels import KnownPixels, Verdict

T = TypeVar("T")

_MAX_REACH = 4096  # px


class FillerError(InputError, RuntimeError):
    """A filler broke its contract or failed: a mistake in its code, not in what its user gave it."""


def check_filler(filler: object) -> None:
    """Check before the work that an object is a filler.

    Raises:
        InputError: If it is not.
    """
    opens = getattr(filler, "open", None)
    if isinstance(filler, type) or not callable(opens) or not _takes(opens, "eye", "size"):
        got, example = type(filler).__name__, "FastFill()"
        if isinstance(filler, type):
            got, example = f"the class {filler.__name__}", f"{filler.__name__}(...)"
        elif isinstance(filler, str):
            example = f"FillerConfig({filler!r:.60}).load(device=...)"
        raise InputError(
            f"`filler` must be a filler, an object with a method open(*, eye, size), got {got}; make one, "
            f"such as {example}"
        )
    check_flag("filler.refines_holes", getattr(filler, "refines_holes", False))
    check_flag("filler.takes_bytes", getattr(filler, "takes_bytes", False))
    reach = getattr(filler, "reach", 0)
    if reach is not None:
        check_range("filler.reach", reach, 0, _MAX_REACH, "px; None: everywhere", whole=True)


def _takes(method: Callable[..., object], *names: str) -> bool:
    """Tell whether a method can be called with these keywords; one without a signature may take them."""
    try:
        inspect.signature(method).bind(**dict.fromkeys(names))
    except TypeError:
        return False
    except ValueError:
        pass
    return True


class CheckedStream:
    """A filler's stream, held to the contract.

    A frame of the view's size, type and device comes back for each one, in the end all of them; its values
    lie in [0, 1], and known pixels beyond the filler's reach are as they were. On a GPU, values and pixels
    are judged without waiting for it: an error may come with a later frame of the scene.

    Args:
        filler: Any filler.
        eye: The rendered eye.
        size: Height and width of the views.
        rows_apart: Known pixels are compared in every n-th row, from another row on in each frame.

    Raises:
        InputError: If it is no filler.
    """

    def __init__(self, filler: Filler, *, eye: Eye, size: tuple[int, int], rows_apart: int = 1) -> None:
        check_filler(filler)
        self._name = type(filler).__name__
        self._shape = (3, *size)
        self._reach = getattr(filler, "reach", 0)
        self._rows_apart = rows_apart
        self._taken = 0
        self._waiting: deque[KnownPixels] = deque()
        self._returned = 0
        self._verdicts: deque[tuple[int, Verdict]] = deque()  # on the frame of that number
        self._stream = self._run(lambda: filler.open(eye=eye, size=size))
        if not all(callable(getattr(self._stream, name, None)) for name in ("push", "finish")):
            raise self._error("open a stream with push and finish", f"opened {type(self._stream).__name__}")

    def push(self, frame: RenderedFrame) -> list[Tensor]:  # of [3, H, W] in [0, 1]
        """Do as `FillStream.push`.

        Raises:
            InputError: If the filler breaks the contract.
        """
        rows = slice(self._taken % self._rows_apart, None, self._rows_apart)
        self._waiting.append(KnownPixels(frame.warped, frame.hole, reach=self._reach, rows=rows))
        self._taken += 1
        try:
            finished = self._run(lambda: self._stream.push(frame))
        except Exception:  # after lack of memory the frame comes again
            self._waiting.pop()
            self._taken -= 1
            raise
        return self._checked(self._listed(finished))

    def finish(self) -> list[Tensor]:  # of [3, H, W] in [0, 1]
        """Do as `FillStream.finish`.

        Raises:
            InputError: If the filler breaks the contract.
        """
        frames = self._listed(self._run(self._stream.finish))
        self._read_verdicts(wait=True)
        kept = len(self._waiting) - len(frames)
        if kept > 0:
            raise self._error("return every frame", f"kept {kept} at the end of a scene")
        self._checked(frames)
        self._read_verdicts(wait=True)
        return frames

    def close(self) -> None:
        """Let the stream say what it has to say of the film, if it can."""
        self._run(getattr(self._stream, "close", lambda: None))

    def _run(self, step: Callable[[], T]) -> T:
        """Run a step of the filler.

        Lack of memory is reported elsewhere; an exception of another package may be an interrupt (ComfyUI's).
        """
        try:
            return step()
        except InputError:
            raise
        except Exception as error:
            if is_out_of_memory(error) or type(error).__module__ != "builtins":
                raise
            failure = f"{type(error).__name__}: {one_line(error)}"
            raise self._error("fill each frame", f"failed at its frame {self._taken}: {failure}") from error

    def _listed(self, frames: object) -> list[Tensor]:
        """Check that what a filler returns is a list."""
        if not isinstance(frames, (list, tuple)):
            raise self._error(
                "return a list of the frames that are finished", f"returned {type(frames).__name__}"
            )
        return list(frames)

    def _checked(self, frames: list[Tensor]) -> list[Tensor]:
        """Check the frames that a filler has finished."""
        more = len(frames) - len(self._waiting)
        if more > 0:
            raise self._error("return one frame for each that it takes", f"returned {more} more")
        for frame in frames:
            self._returned += 1
            self._check_frame(frame, self._waiting.popleft())
            self._read_verdicts(wait=False)
        return frames

    def _check_frame(self, frame: Tensor, known: KnownPixels) -> None:
        """Check a finished frame against what is known of the one that it was made from."""
        shape = tuple(frame.shape) if isinstance(frame, Tensor) else type(frame).__name__
        if shape != self._shape:
            raise self._error(
                f"return frames [3, H, W] of the view's size, {self._shape}", f"returned {shape}"
            )
        if (frame.dtype, frame.device) != (known.dtype, known.device):
            raise self._error(
                f"return frames of the view's type, {known.dtype} on {known.device}",
                f"returned {frame.dtype} on {frame.device}",
            )
        # The filler's step is done: lack of memory must not repeat it.
        verdict = run_once_more(partial(known.judge, frame))
        self._verdicts.append((self._returned, verdict))

    def _read_verdicts(self, *, wait: bool) -> None:
        """Read the verdicts that are there, or all of them."""
        while self._verdicts and (wait or self._verdicts[0][1].is_there()):
            number, verdict = self._verdicts.popleft()
            wrong, changed = verdict.read()
            if wrong is not None:
                raise self._error("return values in [0, 1]", f"returned {wrong:g} in its frame {number}")
            if changed:
                beyond = f" more than {self._reach} px from holes" if self._reach else ""
                raise self._error(
                    f"leave known pixels{beyond} as they are (its `reach` says how far it may go)",
                    f"changed {changed} of them in its frame {number}",
                )

    def _error(self, rule: str, deed: str) -> FillerError:
        """Name the filler, what it must do and what it did."""
        return FillerError(f"a filler must {rule}, but {self._name} {deed}; mend it or use another filler")
