"""DVG, depth-based video generation (SpatialDreamer, section 3.2): disparity, warping, hole masks."""

from .borders import BORDER_WIDTH, ease_borders
from .disparity import CONVERGENCE, DIVERGENCE, Placement, depth_to_disparity, looks_inverted
from .forward import forward_warp, forward_warp_with_disparity
from .hole_masks import NEIGHBOURS, current_neighbours, refine_hole_mask, refine_one_mask
from .mask_edges import DILATION, FEATHER, dilate_hole, soft_hole_mask
from .zbuffer import NO_SOURCE, carry_motion, gather_columns, source_columns

__all__ = [
    "BORDER_WIDTH",
    "CONVERGENCE",
    "DILATION",
    "DIVERGENCE",
    "FEATHER",
    "NEIGHBOURS",
    "NO_SOURCE",
    "Placement",
    "carry_motion",
    "current_neighbours",
    "depth_to_disparity",
    "dilate_hole",
    "ease_borders",
    "forward_warp",
    "forward_warp_with_disparity",
    "gather_columns",
    "looks_inverted",
    "refine_hole_mask",
    "refine_one_mask",
    "soft_hole_mask",
    "source_columns",
]
