"""The way back: a rendered view warped to where it came from, and compared with what was really there.

It needs no true second view. What both views see comes back, so it tells how well a method keeps the picture
and its geometry, and it includes the losses of two warps. What was filled into disocclusions lies behind
something in the source view and does not come back.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from ..contracts import check_call
from ..dvg.eyes import Eye
from ..dvg.forward import warp_frames
from ..dvg.zbuffer import NO_SOURCE, find_columns, take_columns
from ..fill.pair import extend_background
from .views import masked_psnr


class RoundTrip(NamedTuple):
    """A view that was brought back."""

    view: Tensor  # [F, 3, H, W] in [0, 1], in the source's place; black where nothing came back
    known: Tensor  # [F, 1, H, W] bool, where something did


def round_trip(
    source: Tensor,  # [F, 3, H, W] in [0, 1], the view that was given
    result: Tensor,  # [F, 3, H, W] in [0, 1], the rendered view
    disparity: Tensor,  # [F, 1, H, W] px, of the source view
    *,
    eye: Eye = "right",
) -> RoundTrip:
    """Warp a rendered view back to the source's place, by the disparity that it was rendered with.

    Each pixel of the result has the disparity of the frontmost source pixel that landed there; holes, where
    nothing did, lie with the background beside them and count as unknown.

    Args:
        source: The given view; its colours tell where outlines lie.
        result: The view of `eye`.
        disparity: The source view's disparity.
        eye: The eye that was rendered.

    Raises:
        InputError: If a tensor breaks its rule (`contracts.TABLE`) or the eye is unknown.
    """
    check_call("round_trip", source=source, result=result, disparity=disparity)
    _, hole, seen = warp_frames(source.detach().float(), disparity, eye=eye)
    return bring_back(result, seen, hole, eye=eye)


def bring_back(
    result: Tensor,  # [F, 3, H, W]
    seen: Tensor,  # [F, 1, H, W] px, the disparity seen at each pixel of the rendered view
    hole: Tensor,  # [F, 1, H, W]
    *,
    eye: Eye,
) -> RoundTrip:
    """Like `round_trip`, for a view whose own disparity and holes are known."""
    back: Eye = "left" if eye == "right" else "right"
    disparity = extend_background(seen, hole)
    view, missing, _ = warp_frames(result, disparity, eye=back)
    columns = find_columns(disparity, eye=back)
    filled = take_columns(hole, columns) > 0.5  # in front is what a filler made up
    return RoundTrip(view, (missing < 0.5) & (columns != NO_SOURCE) & ~filled)


def round_trip_psnr(
    source: Tensor,  # [F, 3, H, W] in [0, 1]
    result: Tensor,  # [F, 3, H, W] in [0, 1]
    disparity: Tensor,  # [F, 1, H, W] px, of the source view
    *,
    eye: Eye = "right",
) -> float:
    """PSNR in dB of the view that came back against the source, where something did; see `round_trip`.

    Raises:
        InputError: If a tensor breaks its rule (`contracts.TABLE`) or the eye is unknown.
    """
    check_call("round_trip_psnr", source=source, result=result, disparity=disparity)
    back = round_trip(source, result.detach().float(), disparity, eye=eye)
    return masked_psnr(back.view, source, back.known)
