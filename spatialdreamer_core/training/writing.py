"""What a run, its latents or its exported weights cannot write, in one message."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from ..atomic import write_error
from ..checks import InputError, one_line

_GO_ON = "free space on that drive, then start again, which goes on from the newest checkpoint"


@contextlib.contextmanager
def writing(path: Path, *, name: str, remedy: str = _GO_ON) -> Iterator[None]:
    """Turn what torch, safetensors or the system raise in the `with` block into one message.

    Args:
        path: What is written.
        name: What it is called.
        remedy: What the user can do; as of a run by default.

    Raises:
        InputError: If it cannot be written, as on a full disk.
    """
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise write_error(path, error, name=name) from error
    except (RuntimeError, SafetensorError) as error:  # torch's and safetensors' of a full disk
        raise InputError(f"{name} must be writable, got {one_line(error)!r} for {path}; {remedy}") from error
