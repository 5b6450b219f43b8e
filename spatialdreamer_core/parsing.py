"""The boundary around every parser of a file that somebody else made.

What a parser may raise on damaged or hostile content is nobody's list: a struct error here, a recursion error
there. So one boundary a kind of file turns all of it into the error for the user.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from .checks import InputError, one_line
from .memory import is_out_of_memory


@contextmanager
def parsing(path: str | os.PathLike[str], *, rule: str, remedy: str) -> Iterator[None]:
    """Turn whatever the `with` block raises on a file's content into one `InputError`.

    Only parsing belongs in the block: no callback of a caller, whose interrupt must pass, and no writing.

    Args:
        path: The file, for the message.
        rule: What the file must be: "depth must be a whole NPZ file".
        remedy: What the user can do: "save it again".

    Raises:
        InputError: For every exception but those that end the process; an `InputError` stays as it is.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise InputError(
                f"{path} needs more memory than is free ({one_line(error)}); close other programs or use a "
                "smaller file"
            ) from error
        raise InputError(f"{rule}, got {path} ({one_line(error)}); {remedy}") from error
