"""What the operating system does to a command: signals that end it, and output streams that may not be there.

It imports nothing large, so that signals are handled while the rest is imported.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn, TextIO

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # where the system has them
_EXIT_OF_SIGNALS = 128  # plus the signal's number, as shells count
_STANDARD_ERROR = 2


class Stopped(KeyboardInterrupt):
    """The command was told to end by a signal; like Ctrl-C for all code that knows only that."""

    def __init__(self, number: int) -> None:
        super().__init__(_message(number))
        self.exit_code = _EXIT_OF_SIGNALS + number


class Signals:
    """Turns the signals that end a process into one line and an exit code; use it in a `with` statement.

    At first a signal ends the process at once: nothing has been written, and an exception in the middle of an
    import may be lost. After `begin_work` it raises `Stopped`, and a second one ends the process at once.
    Signals that are ignored, as under nohup, stay so. Outside of the main thread it does nothing.

    Args:
        clean_up: Called before the process ends at once.
        to_the_end: Whether signals stay handled after the `with` block, while the interpreter ends.
    """

    def __init__(self, clean_up: Callable[[], None], *, to_the_end: bool) -> None:
        self._clean_up, self._to_the_end = clean_up, to_the_end
        self._is_working = False
        self._received: int | None = None
        self._is_postponed = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for name in _SIGNALS:
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        self._is_working = False
        if self._to_the_end:
            return
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def begin_work(self) -> None:
        """From now on there is something to clean up."""
        self._is_working = True

    @property
    def received(self) -> bool:
        """Whether a signal came."""
        return self._received is not None

    @contextlib.contextmanager
    def postponed(self) -> Iterator[None]:
        """In the `with` block a first signal is only noted; a second one still ends the process at once."""
        self._is_postponed = True
        try:
            yield
        finally:
            self._is_postponed = False

    def check(self) -> None:
        """Raise `Stopped` again if a signal came: whoever caught it first may have ignored it.

        Raises:
            Stopped: If so.
        """
        if self._received is not None:
            raise Stopped(self._received)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if self._received is not None or not self._is_working:
            self._end_at_once(number)
        self._received = number
        if not self._is_postponed:
            raise Stopped(number)

    def _end_at_once(self, number: int) -> NoReturn:
        """End the process without the interpreter's own farewell, which native code may disturb."""
        with contextlib.suppress(Exception):
            self._clean_up()
        with contextlib.suppress(OSError):
            os.write(_STANDARD_ERROR, f"spatialdreamer: {_message(number)}\n".encode())
        os._exit(_EXIT_OF_SIGNALS + number)


def end_process(code: int) -> NoReturn:
    """End the process when its work is done and told.

    The interpreter's own end takes a while, in which a signal is no longer handled and native libraries may
    abort; only what was registered for the end is done.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def find_address_space_limit() -> float | None:
    """Return the limit on this process's addresses (ulimit -v) in GB, or None where there is none."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit / 2**30


def open_missing_streams() -> None:
    """Open the null device in place of closed standard streams.

    Else the next file that is opened, such as the film, takes the number of standard error, and what
    libraries print goes into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")


@contextlib.contextmanager
def forgiving_streams() -> Iterator[None]:
    """Print whatever can be printed in the `with` block, and drop the rest without an error."""
    streams = sys.stdout, sys.stderr
    output, errors = ForgivingStream(sys.stdout), ForgivingStream(sys.stderr)
    sys.stdout, sys.stderr = output, errors
    try:
        yield
    finally:
        output.flush()
        errors.flush()
        sys.stdout, sys.stderr = streams


class ForgivingStream:
    """A text stream that drops what its file does not take: a full disk, a closed pipe, unknown letters."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]

    def write(self, text: str) -> int:
        """Write a text, or drop it."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Write what is held back, or drop it."""
        self._try(self._stream.flush)

    def isatty(self) -> bool:
        """Tell whether the file is a terminal."""
        with contextlib.suppress(OSError, ValueError):
            return self._stream.isatty()
        return False

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def _try(self, action: Callable[[], object]) -> None:
        """Do something with the file; if it fails, everything goes to the null device from then on."""
        try:
            action()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self._stream.fileno())  # the interpreter's own flush at the end succeeds, too
                os.close(null)


def _message(number: int) -> str:
    """Say what ended the command."""
    return f"interrupted by {signal.Signals(number).name}; no partial file was left"
