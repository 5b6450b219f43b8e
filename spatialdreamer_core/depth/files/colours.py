"""Whether a picture of depth is grey, or a colour map, a normal map or depth packed into colours.

The brightness of such colours is not depth: it falls where the depth rises. Grey that a lossy codec stored
has some faint colour in places, and a watermark some strong colour in few places; both pass.
"""

from __future__ import annotations

import os

import numpy as np

from ...checks import InputError

_COLOURED = 0.03  # of the range of Cb or Cr, 8 of 255; lossy codecs add 1 or 2 of 255 to grey
_LARGEST_SHARE = 0.1  # of the pixels; watermarks are smaller
_SAMPLES = 2**16  # pixels looked at, evenly spread


def thin_out(pixels: np.ndarray) -> np.ndarray:  # [h', w', ...], a view
    """Leave out rows and columns of [h, w, ...] until a sample is left that is large enough for shares."""
    step = max(1, int((pixels.shape[0] * pixels.shape[1] / _SAMPLES) ** 0.5))
    return pixels[::step, ::step]


def check_grey(
    chroma_blue: np.ndarray,  # [h, w] in [-0.5, 0.5]
    chroma_red: np.ndarray,  # [h, w] in [-0.5, 0.5]
    where: str | os.PathLike[str],
) -> None:
    """Check that most pixels have no colour.

    Args:
        chroma_blue: Cb, 0 for grey.
        chroma_red: Cr, 0 for grey.
        where: The picture, or the frame of a video, for the message.

    Raises:
        InputError: If more than a tenth of them has one.
    """
    share = float(np.mean((np.abs(chroma_blue) > _COLOURED) | (np.abs(chroma_red) > _COLOURED)))
    if share > _LARGEST_SHARE:
        raise InputError(
            f"depth must be grey, got colours in {share:.0%} of {where}; colour maps, normal maps and depth "
            "packed into RGB do not show depth as brightness: save the depth itself, as grey video, 16-bit "
            "grey PNG or NPZ"
        )


def check_equal_channels(
    rgb: np.ndarray,  # [h, w, 3], red first, of any unit
    where: str | os.PathLike[str],
    *,
    white: float | None = None,
) -> None:
    """Check that red, green and blue are the same in most pixels.

    Args:
        rgb: The picture.
        where: What it is, for the message.
        white: The value of white; None: the largest one.

    Raises:
        InputError: If more than a tenth of the pixels has a colour.
    """
    sample = np.nan_to_num(thin_out(rgb).astype(np.float32), posinf=0, neginf=0)
    white = float(np.abs(sample).max()) or 1.0 if white is None else white
    red, green, blue = np.moveaxis(sample / white, -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue  # BT.601
    check_grey((blue - luma) / 1.772, (red - luma) / 1.402, where)
