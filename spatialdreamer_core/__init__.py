"""SpatialDreamer: monocular video to stereoscopic video, as a torch library.

    import spatialdreamer_core as sd

    sd.convert("film.mp4", "film_LRF_Full_SBS.mp4", sd.ConvertConfig(divergence=2.0))
    for pair in sd.convert_frames(frames):  # [F, 3, H, W] in [0, 1], or any iterable of frames
        show(pair.left, pair.right)

The sub-packages are the pipeline's stages, in the order in which data passes them: `flow`, `depth`, `dvg`,
`fill`, `stereo`; `video` reads and writes files, `pipeline` joins all of them. `svd` and `spatialdreamer` are
a filler by video diffusion, and need diffusers and transformers. The names below are loaded when they are
first used. Nothing here imports ComfyUI. Conventions: docs/conventions.md.
"""

from typing import TYPE_CHECKING

from .lazy_names import lazy_names

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .depth import estimate_depth
    from .dvg import depth_to_disparity, forward_warp, refine_hole_mask
    from .fill import FastFill, Filler, fast_fill, fill_holes, render_pair
    from .fill.composite import composite
    from .flow import Flow, estimate_flow
    from .pipeline import ConvertConfig, StereoPair, convert_frames
    from .pipeline.convert import convert
    from .stereo import pack

__all__ = [
    "ConvertConfig",
    "FastFill",
    "Filler",
    "Flow",
    "StereoPair",
    "composite",
    "convert",
    "convert_frames",
    "depth_to_disparity",
    "estimate_depth",
    "estimate_flow",
    "fast_fill",
    "fill_holes",
    "forward_warp",
    "pack",
    "refine_hole_mask",
    "render_pair",
]
_HOMES = {
    "depth": ("estimate_depth",),
    "dvg": ("depth_to_disparity", "forward_warp", "refine_hole_mask"),
    "fill": ("FastFill", "Filler", "composite", "fast_fill", "fill_holes", "render_pair"),
    "flow": ("Flow", "estimate_flow"),
    "pipeline": ("ConvertConfig", "StereoPair", "convert", "convert_frames"),
    "stereo": ("pack",),
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
