"""Forward-backward rendering: training pairs from any video (SpatialDreamer, section 3.2).

A video has but one view, so a second one is made up and the way back is rendered: x1 is warped to the other
eye and filled to x2; x2 is warped back to x1's place, with the holes that any warp has. The result lies pixel
on pixel on x1, the truth, so no surface is widened here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..checks import check_choice
from ..contracts import check_call
from ..dvg import CONVERGENCE, DIVERGENCE, depth_to_disparity, refine_hole_mask
from ..dvg.eyes import Eye
from ..dvg.forward import warp_frames
from ..flow import estimate_flow
from ..options import check_options, option, option_of
from .checked_stream import check_filler
from .clip import fill_holes
from .fast import FastFill, FastFillConfig
from .filler import Filler


@dataclass(frozen=True)
class PairConfig:
    """How a pair is rendered by itself; a dataset draws side and divergence for each clip."""

    divergence: float = DIVERGENCE.as_field()
    convergence: float = CONVERGENCE.as_field()
    side: Eye = option(
        "right",
        help="Where x2 lies: the eye that the clip is rendered to first. Holes of the view that comes back "
        "open on the left of near things for right, on their right for left.",
    )
    texture: float = option_of(FastFillConfig, "texture").as_field()

    def check(self) -> None:
        """Check every option.

        Raises:
            InputError: For the first one that breaks its rule.
        """
        check_options(self)


class RenderedPair(NamedTuple):
    """What `render_pair` makes of a video x1."""

    reference: Tensor  # [F, 3, H, W] in [0, 1], x2: the other eye's view, its holes filled
    reference_disparity: Tensor  # [F, 1, H, W] px, of x2
    warped: Tensor  # [F, 3, H, W] in [0, 1], x2 rendered back to x1, black where masked
    hole: Tensor  # [F, 1, H, W], 1 = hole of that view, refined by Eq. 2 unless told not to


def render_pair(
    frames: Tensor,  # [F, 3, H, W] in [0, 1]
    depth: Tensor,  # [F, 1, H, W] in [0, 1], 1 = near
    *,
    side: Eye = "right",
    filler: Filler | None = None,
    divergence: float = DIVERGENCE.default,
    convergence: float = CONVERGENCE.default,
    refine: bool = True,
    on_frame: Callable[[int], None] | None = None,
) -> RenderedPair:
    """Render a video to one side and back.

    Args:
        frames: x1, the truth for what is learned from the pair.
        depth: Its inverse depth.
        side: Where x2 lies. Holes of the view open on the left of near things for "right", on their right for
            "left", so both should occur in training.
        filler: Fills the holes of x2: any filler, such as `load_inpainter`'s; None is fast fill.
        divergence: Total disparity range in % of the width, 0 to 20.
        convergence: The depth that lies on the screen, 0 to 1.
        refine: Whether the mask gets what neighbouring frames could not see either, Eq. 2.
        on_frame: Called with the number of frames of x2 that are filled; may raise to interrupt.

    Raises:
        InputError: If a tensor breaks its rule (`contracts.TABLE`), an option is out of range, or the filler
            breaks its contract or gives values that are not finite.
    """
    check_choice("side", side, ("right", "left"))
    check_call("render_pair", frames=frames, depth=depth)
    filler = FastFill() if filler is None else filler
    check_filler(filler)
    # 1. x1 to the other side, with its disparity; a hole shows background.
    disparity = depth_to_disparity(depth, divergence=divergence, convergence=convergence)
    warped, hole, seen = warp_frames(frames, disparity, eye=side, widen=False)
    reference = fill_holes(filler, left=frames, warped=warped, hole=hole, eye=side, on_frame=on_frame)
    reference_disparity = extend_background(seen, hole)
    # 2. x2 back to x1's place.
    back: Eye = "left" if side == "right" else "right"
    warped, hole, _ = warp_frames(reference, reference_disparity, eye=back, widen=False)
    # 3. The mask, with what neighbouring frames could not see either.
    if refine and len(frames) > 1:
        flow = estimate_flow(reference)
        hole = refine_hole_mask(hole, flow, disparity=reference_disparity, eye=back, neighbours="eq2")
    return RenderedPair(reference, reference_disparity, warped * (1 - hole), hole)


def extend_background(
    disparity: Tensor,  # [F, 1, H, W] px
    hole: Tensor,  # [F, 1, H, W], 1 = hole
) -> Tensor:  # [F, 1, H, W] px
    """Give each hole the disparity of the farther one of the two known pixels beside it in the row.

    A row without any known pixel gets 0.
    """
    known = hole < 0.5
    from_left = _last_known(disparity, known)
    from_right = _last_known(disparity.flip(-1), known.flip(-1)).flip(-1)
    farther = torch.minimum(from_left, from_right)
    farther = torch.where(farther.isinf(), torch.zeros_like(farther), farther)
    return torch.where(known, disparity, farther)


def _last_known(disparity: Tensor, known: Tensor) -> Tensor:
    """Carry the last known value of each row to the right; inf before the first one."""
    column = torch.arange(disparity.shape[-1], device=disparity.device).expand_as(disparity)
    last = torch.where(known, column, -1).cummax(-1).values
    return disparity.gather(-1, last.clamp(min=0)).masked_fill(last < 0, torch.inf)
