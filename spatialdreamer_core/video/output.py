"""Output files that are whole or absent: written under a temporary name, renamed when complete."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection
from pathlib import Path

from ..checks import InputError

_FULL_DISK = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_STEM_LENGTH = 40  # characters of the target's stem in the temporary name, which must stay below 255 bytes


def partial_path_for(path: Path) -> Path:
    """Return the hidden temporary name of an output file: same folder, so that the final rename is atomic."""
    return path.with_name(f".{path.stem[:_STEM_LENGTH]}.partial-{os.getpid()}{path.suffix}")


def check_output_path(
    path: str | Path,
    *,
    suffixes: Collection[str],
    input_path: str | Path | None = None,
) -> Path:
    """Check, before any expensive work, that an output file can be written; make its folder if there is none.

    Args:
        path: The file to be written; an existing one is replaced in the end.
        suffixes: Allowed file name suffixes, lower case with a dot.
        input_path: The file that is read meanwhile, and so must not be the output.

    Returns:
        The absolute path.

    Raises:
        InputError: If the suffix is not allowed, the path is a folder or the input, or it cannot be written.
    """
    path = Path(path).absolute()
    if path.suffix.lower() not in suffixes:
        raise InputError(f"output file must end in one of {', '.join(suffixes)}, got {path.name!r}")
    if os.path.isdir(path):
        raise InputError(f"output must be a file, got the folder {path}; add a file name")
    if input_path is not None and os.path.exists(path) and os.path.exists(input_path):
        if path.samefile(input_path):
            raise InputError(
                f"output must not be the input file itself, got {path}; choose another name or folder"
            )
    partial = partial_path_for(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # tells of a name that is too long
        with open(partial, "wb"):
            pass
        partial.unlink()
    except OSError as error:
        raise write_error(path, error) from error
    return path


def write_error(path: Path, error: OSError) -> InputError:
    """Turn the system's error while writing a file into one message for the user."""
    reason = error.strerror or str(error)
    if error.errno in _FULL_DISK:
        return InputError(
            f"output folder must have room for {path.name}, got {reason!r} in {path.parent}; "
            "free space or choose another folder"
        )
    if error.errno == errno.EFBIG:
        return InputError(
            f"output file must fit the file system, got {reason!r} for {path}; "
            "write a shorter part or choose another drive"
        )
    return InputError(f"output must be writable, got {reason!r} for {path}; choose another folder or name")
