"""Packing formats: their names, and what size and shape of pixels a packed frame has."""

from __future__ import annotations

from fractions import Fraction

from ..checks import InputError, check_size
from ..options import Option
from .half_sphere import FIELD_OF_VIEW, half_sphere_side
from .quilt import QuiltGrid

FORMATS = (
    *("full_sbs", "half_sbs", "full_tb", "half_tb", "cross_eyed", "anaglyph"),
    *("row_interlaced", "column_interlaced", "checkerboard", "frame_sequential"),
    *("rgbd", "vr180", "quilt", "wiggle"),
)
FORMAT = Option(
    default="full_sbs",
    choices=FORMATS,
    name="format",
    help="How the two views share a frame. full_sbs: side by side, double width (best quality). half_sbs: "
    "side by side, each view squeezed to half width (most TVs). full_tb, half_tb: left view above the "
    "right one. cross_eyed: right view on the left, to view without glasses. anaglyph: one picture for "
    "red-cyan glasses. row_interlaced, column_interlaced, checkerboard: the views alternate line by line or "
    "pixel by pixel, left first (passive monitors, DLP projectors). frame_sequential: left and right in "
    "turn at double frame rate (shutter glasses). rgbd: the picture beside its depth, white is near. vr180: "
    "each view on half a sphere, side by side (headsets). quilt: views in a grid (Looking Glass). wiggle: a "
    "photo's two views in turn, as a GIF or WebP.",
)
WHOLE_FORMATS = ("full_sbs", "half_sbs", "full_tb", "half_tb", "cross_eyed")
"""Formats from which each eye's whole view can be cut out again."""
PIXEL_FORMATS = ("row_interlaced", "column_interlaced", "checkerboard")
"""Formats in which neighbouring pixels are different eyes': colours at half resolution would mix them."""
TWO_PICTURES = ("frame_sequential", "wiggle")
"""Formats that make two pictures of a pair: left, then right."""
_BESIDE = ("full_sbs", "cross_eyed", "rgbd", "quilt")


def pictures_a_pair(format: str) -> int:
    """Return how many pictures a format makes of two views.

    Raises:
        InputError: If the format is unknown.
    """
    FORMAT.check(format)
    return 2 if format in TWO_PICTURES else 1


def packed_size(
    height: int, width: int, *, format: str, field_of_view: float = FIELD_OF_VIEW.default
) -> tuple[int, int]:
    """Return (height, width) of a packed frame.

    Args:
        height: Height of a view.
        width: Its width.
        format: One of `FORMATS`.
        field_of_view: With vr180, the degrees that the view's width covers.

    Raises:
        InputError: If a side is not a whole number above 0 or the format is unknown.
    """
    check_size("size", (height, width))
    FORMAT.check(format)
    if format == "vr180":
        side = half_sphere_side(width, field_of_view=field_of_view)
        return side, 2 * side
    rows = {"full_tb": 2 * height, "half_tb": 2 * ((height + 1) // 2)}
    columns = {"half_sbs": 2 * ((width + 1) // 2), **dict.fromkeys(_BESIDE, 2 * width)}
    return rows.get(format, height), columns.get(format, width)


def even_size(height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) of a video that holds pictures of a size: every encoder takes even sides."""
    return height + height % 2, width + width % 2


def pixel_aspect(format: str) -> Fraction:
    """Return width over height of a packed frame's pixels, where those of the views are square.

    Raises:
        InputError: If the format is unknown.
    """
    FORMAT.check(format)
    return {"half_sbs": Fraction(2), "half_tb": Fraction(1, 2)}.get(format, Fraction(1))


def check_packed(
    height: int,
    width: int,
    *,
    format: str,
    frames: int | None = None,
    grid: QuiltGrid | None = None,
    name: str = "images",
) -> None:
    """Check that frames can hold two views of one size.

    Args:
        height: Height of the frames.
        width: Their width.
        format: One of `FORMATS`.
        frames: Their number; None if it is not known.
        grid: With quilt, how its views lie; None: two beside each other.
        name: What they are called in messages.

    Raises:
        InputError: If they cannot, a side is not a whole number above 0, or the format is unknown.
    """
    check_size("size", (height, width))
    FORMAT.check(format)
    remedy = "pack them with SBS Packer (`pack`) or choose the format they have"
    if format in TWO_PICTURES and frames is not None and frames % 2:
        raise InputError(
            f"`{name}` must be left and right views in turn for the format {format}, so of an even number, "
            f"got {frames}; {remedy}"
        )
    if format == "vr180" and width != 2 * height:
        raise InputError(
            f"`{name}` must be two squares side by side for the format vr180, so twice as wide as high, got "
            f"{width}x{height}; {remedy}"
        )
    if format == "quilt" and grid is not None:
        grid.check_size(height, width, name=name)
        return
    stacked = format.endswith("tb")
    beside = format in _BESIDE or format == "half_sbs"
    if (stacked and height % 2) or (beside and width % 2):
        where, side = ("one above the other", "height") if stacked else ("side by side", "width")
        raise InputError(
            f"`{name}` must be two views {where} for the format {format}, so of an even {side}, got "
            f"{width}x{height}; {remedy}"
        )
