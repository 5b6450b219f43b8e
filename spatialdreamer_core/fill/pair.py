"""Forward-backward rendering: training pairs from any video (SpatialDreamer, section 3.2).

A video has but one view, so a second one is made up and the way back is rendered: x1 is warped to the other
eye and filled to x2; x2 is warped back to x1's place, with the holes that any warp has. The result lies pixel
on pixel on x1, the truth, so no surface is widened here.

That it does so leaves the stereo deviation strength nothing to say: the rendered view tells the disparity
already. `way_back`, which the paper does not have, renders x2 back by a share k of its disparity alone. What
then has to be known to arrive at x1 is how far apart the views are to be.
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
from ..options import Option, check_options, option, option_of
from .checked_stream import check_filler
from .clip import fill_holes
from .fast import FastFill, FastFillConfig
from .filler import Filler

WAY_BACK = Option(
    default=1.0,
    low=0.25,
    high=4.0,
    unit="of the disparity",
    step=0.05,
    name="way_back",
    kind=float,
    help="How far x2 is rendered back: 1 lies on x1, below 1 short of it, above 1 beyond it.",
)


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
    way_back: float = WAY_BACK.default,
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
        way_back: Share of x2's disparity by which it is rendered back, 0.25 to 4. At 1, as in the paper, the
            view lies on x1. A view that lies elsewhere teaches what the stereo deviation strength means: from
            it to x1 it is 1 / `way_back` times as far from x2 as it is now.
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
    warped, hole = render_back(reference, reference_disparity, side=side, refine=refine, way_back=way_back)
    return RenderedPair(reference, reference_disparity, warped, hole)


def render_back(
    reference: Tensor,  # [F, 3, H, W] in [0, 1]
    reference_disparity: Tensor,  # [F, 1, H, W] px
    *,
    side: Eye,
    refine: bool = True,
    way_back: float = WAY_BACK.default,
) -> tuple[Tensor, Tensor]:  # [F, 3, H, W] in [0, 1], [F, 1, H, W]
    """Render x2 back: the second half of `render_pair`, whose results and options these are.

    Returns:
        The view, black where masked, and its mask.

    Raises:
        InputError: If a tensor breaks its rule (`contracts.TABLE`) or an option is out of range.
    """
    check_choice("side", side, ("right", "left"))
    check_call("render_back", reference=reference, reference_disparity=reference_disparity)
    WAY_BACK.check(way_back)
    back: Eye = "left" if side == "right" else "right"
    disparity = reference_disparity * way_back
    warped, hole, _ = warp_frames(reference, disparity, eye=back, widen=False)
    if refine and len(reference) > 1:  # what neighbouring frames could not see either
        flow = estimate_flow(reference)
        hole = refine_hole_mask(hole, flow, disparity=disparity, eye=back, neighbours="eq2")
    return warped * (1 - hole), hole


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
