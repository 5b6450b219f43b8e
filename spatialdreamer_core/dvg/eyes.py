"""Which eye is rendered, and to which side its pixels move."""

from __future__ import annotations

from typing import Literal

from ..checks import check_choice

Eye = Literal["right", "left"]


def eye_sign(eye: Eye) -> int:
    """Return -1 for the right eye (x' = x - d) and +1 for the left one (x' = x + d).

    Raises:
        InputError: For anything else.
    """
    check_choice("eye", eye, ("right", "left"))
    return -1 if eye == "right" else 1
