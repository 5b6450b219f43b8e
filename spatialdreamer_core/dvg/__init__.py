"""DVG, depth-based video generation (SpatialDreamer, section 3.2): disparity, warping, hole masks."""

from .disparity import depth_to_disparity, looks_inverted
from .forward import forward_warp, forward_warp_with_disparity
from .hole_masks import refine_hole_mask, refine_one_mask
from .pair import RenderedPair, render_pair
from .zbuffer import NO_SOURCE, gather_columns, source_columns

__all__ = [
    "NO_SOURCE",
    "RenderedPair",
    "depth_to_disparity",
    "forward_warp",
    "forward_warp_with_disparity",
    "gather_columns",
    "looks_inverted",
    "refine_hole_mask",
    "refine_one_mask",
    "render_pair",
    "source_columns",
]
