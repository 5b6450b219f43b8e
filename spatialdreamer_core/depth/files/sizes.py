"""What sizes depth may have: those that memory holds, and those that a depth model makes of a film's size.

Models want sides that are multiples of 8 to 64, and some stretch the picture to get them: DepthCrafter scales
a film down until its longer side fits a limit and rounds each side to the nearest multiple of 64, so
1920x800 becomes 1024x448 and 854x480 becomes 832x512, 9 % off in shape. Such depth still shows the whole
picture. So a depth size belongs to a film's if one scale exists from which rounding leads to it:

    round(scale · film side / multiple) · multiple = depth side, for both sides

where each multiple, and rounding to the nearest, down and up are tried. At few multiples almost every shape
can be reached; what is as far off as 4:3 from 16:9 is refused nevertheless.
"""

from __future__ import annotations

import os
from fractions import Fraction

from ...checks import InputError
from ...memory import require_memory

_MULTIPLES = (8, 14, 16, 32, 64)
_SAME_SHAPE = Fraction(2, 100)  # relative; films' own sides are rounded, too
_OTHER_SHAPE = Fraction(132, 100)  # 4:3 in place of 16:9 is 1.33 off
MAX_PIXELS = 2**26  # twice an 8K film's
_BYTES_PER_PIXEL = 32  # as stored, as floats and while their range is measured


def check_frame_size(
    path: str | os.PathLike[str], *, width: int, height: int, bytes_per_pixel: int = 0
) -> None:
    """Check by a file's header that its frames can be decoded, before any memory is taken for them.

    Args:
        path: The file.
        width: Pixels in a row.
        height: Rows.
        bytes_per_pixel: What decoding needs beside the frame itself.

    Raises:
        InputError: If a side is not positive, or a frame has too many pixels or does not fit into memory.
    """
    remedy = "save it smaller: depth is enlarged to the film's size by itself"
    if width < 1 or height < 1:
        raise InputError(
            f"frames of depth must have a positive size, got {width}x{height} in {path}; {remedy}"
        )
    if width * height > MAX_PIXELS:
        raise InputError(
            f"frames of depth must have at most {MAX_PIXELS / 1e6:.0f} megapixels, got {width}x{height} in "
            f"{path}; {remedy}"
        )
    require_memory(
        width * height * (_BYTES_PER_PIXEL + bytes_per_pixel),
        what=f"a frame of depth of {width}x{height} in {path}",
        remedy=remedy,
    )


def check_film_size(
    path: str | os.PathLike[str],
    size: tuple[int, ...],  # (height, width)
    film_size: tuple[int, ...],  # (height, width)
) -> None:
    """Check that depth of a size can show the whole picture of a film.

    Raises:
        InputError: If it has another shape, and no depth model makes this size of the film's.
    """
    (height, width), (film_height, film_width) = size, film_size
    if not is_size_of_film(width, height, film_width=film_width, film_height=film_height):
        raise InputError(
            f"depth must have the aspect ratio of the input ({film_width}x{film_height}), got "
            f"{width}x{height} in {path}, to which no scaling and rounding to multiples of "
            f"{', '.join(map(str, _MULTIPLES[:-1]))} or {_MULTIPLES[-1]} leads; make it from the uncropped "
            "frames"
        )


def is_size_of_film(width: int, height: int, *, film_width: int, film_height: int) -> bool:
    """Tell whether depth of a size has the film's shape, but for the rounding of depth models."""
    stretch = Fraction(width * film_height, height * film_width)
    if abs(stretch - 1) <= _SAME_SHAPE:
        return True
    if not 1 / _OTHER_SHAPE <= stretch <= _OTHER_SHAPE:
        return False
    sides = ((width, film_width), (height, film_height))
    return any(
        _is_rounded(sides, multiple)
        for multiple in _MULTIPLES
        if width % multiple == 0 and height % multiple == 0
    )


def _is_rounded(sides: tuple[tuple[int, int], ...], multiple: int) -> bool:
    """Tell whether there is a scale from which rounding to a multiple leads to both sides."""
    half = Fraction(multiple, 2)
    for below, above, ends_count in (
        (half, half, True),  # to the nearest; a half goes either way
        (0, multiple, False),  # down
        (multiple, 0, False),  # up
    ):
        low = max(Fraction(side - below, 1) / film_side for side, film_side in sides)
        high = min(Fraction(side + above, 1) / film_side for side, film_side in sides)
        if low < high or (ends_count and low == high):
            return True
    return False
