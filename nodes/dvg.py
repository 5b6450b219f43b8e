"""DVG (depth-based video generation): the warp into the other eye and the refinement of its hole mask."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

from comfy_api.latest import io
from torch import Tensor

from ..spatialdreamer_core.checks import InputError
from ..spatialdreamer_core.depth import DepthShaping
from ..spatialdreamer_core.dvg import (
    DILATION,
    NEIGHBOURS,
    current_neighbours,
    dilate_hole,
    ease_borders,
    forward_warp,
    looks_inverted,
    refine_hole_mask,
)
from ..spatialdreamer_core.dvg.eyes import Eye
from ..spatialdreamer_core.flow import Flow
from ..spatialdreamer_core.flow.pictures import to_bytes
from ..spatialdreamer_core.options import option_of
from ..spatialdreamer_core.pipeline import ConvertConfig
from ..spatialdreamer_core.pipeline.parallax import make_sample
from ..spatialdreamer_core.stereo import COMFORT_LIMIT, measure_comfort
from .conversion import check_is_linked
from .layout import frames_to_image, frames_to_mask, image_to_depth, image_to_frames, mask_to_frames
from .parallax import CURVES, ParallaxPreview, batch_title
from .presentation import ADVANCED, found_by, show_text
from .progress import frame_progress
from .shaping import check_values, shape_given_depth, shaping_inputs
from .sockets import Disparity, DisparityType, FlowType
from .strength import place_clip, strength_inputs
from .widgets import check_each, check_settings, widget

_EYE = replace(
    option_of(ConvertConfig, "eye"),
    choices=get_args(Eye),
    help="Which eye's view is rendered; the source is taken as the other eye's.",
)
_BORDER_WIDTH = replace(
    option_of(ConvertConfig, "border_width"),
    default=0.0,
    help="Width of a border at the left and right edge in which what pops out of the screen sinks back to it "
    "towards the edge, so that the edge does not cut it; 0 is off. 5 is a good value.",
)


class SpatialDreamerDVGForwardWarp(io.ComfyNode):
    """Node around `spatialdreamer_core.dvg.depth_to_disparity` and `forward_warp`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerDVGForwardWarp",
            display_name="Stereo 3D: DVG Forward Warp",
            category="SpatialDreamer",
            **found_by("depth", "warp", "novel view", "right eye", "disparity", "dibr"),
            description="Moves each pixel of the source view to where the other eye sees it, by its depth. "
            "What nothing lands on is a hole, to be filled by a later node.",
            inputs=[
                io.Image.Input("image", tooltip="The source view's frames, in order, or one photo."),
                io.Image.Input(
                    "depth",
                    tooltip="Depth map of any depth node, 0 to 1, white = near; one for each frame or one "
                    "for all. Another size of the same aspect ratio is resized.",
                ),
                io.Boolean.Input(
                    "invert_depth",
                    default=False,
                    tooltip="Turn on if the depth map is dark where the scene is near (metric depth).",
                ),
                *(
                    widget(option_of(ConvertConfig, name), optional=False)
                    for name in ("divergence", "convergence")
                ),
                widget(_EYE, optional=False),
                widget(_BORDER_WIDTH),
                *shaping_inputs(),
                *strength_inputs(),
            ],
            outputs=[
                io.Image.Output(
                    "warped", display_name="warped", tooltip="The rendered view, black in the holes."
                ),
                io.Mask.Output("hole", display_name="hole", tooltip="1 where nothing landed, 0 where known."),
                DisparityType.Output(
                    "disparity",
                    display_name="disparity",
                    tooltip="Disparity in pixels, the rendered eye and the convergence, for Refine Hole "
                    "Mask, Fast Fill, M2SVid Refiner and Frame Matrix Sampler.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, depth: Any = None, **widgets: Any) -> bool:
        """Refuse when it is queued what cannot run, see `check_values`."""
        check_is_linked("depth", depth, "a depth map")
        check_each([_EYE], widgets)
        check_settings(DepthShaping, widgets)
        check_values(**widgets)
        return True

    @classmethod
    def execute(
        cls,
        image: Tensor,
        depth: Tensor,
        invert_depth: bool,
        eye: Eye,
        border_width: float = _BORDER_WIDTH.default,
        **widgets: Any,
    ) -> io.NodeOutput:
        """Render the other eye's view."""
        frames = image_to_frames("image", image)
        inverse_depth = image_to_depth(depth, like=frames, invert=invert_depth)
        placed = place_clip(frames, shape_given_depth(inverse_depth, frames, widgets), widgets)
        disparity = ease_borders(placed.disparity, width_percent=border_width)
        warnings = []
        if looks_inverted(inverse_depth):
            warnings.append("depth looks inverted (far at the bottom): check `invert_depth`")
        comfort = measure_comfort(disparity)
        if not comfort.within_limit:
            warnings.append(
                f"more disparity than is comfortable (over {COMFORT_LIMIT:g} % of the width): lower "
                "`divergence` or move `convergence`"
            )
        show_text(cls.hidden.unique_id, comfort.describe(), *placed.said, warnings=warnings)
        preview = ParallaxPreview(
            cls.hidden.unique_id,
            {**widgets, "eye": eye, "border_width": border_width, "invert_depth": invert_depth},
        )
        one = slice(len(frames) // 2, len(frames) // 2 + 1)
        edges = {name: value for name, value in widgets.items() if name not in CURVES}
        plane = shape_given_depth(inverse_depth[one], frames[one], edges)[0, 0].float().cpu().numpy()
        sample = make_sample(to_bytes(frames[one][0]), plane, time=one.start)
        preview.offer(sample, title=batch_title(one.start, len(frames)))
        warped, hole = forward_warp(frames, disparity, eye=eye, on_frame=frame_progress(len(frames)))
        return preview.add_to(
            io.NodeOutput(
                frames_to_image(warped), frames_to_mask(hole), Disparity(disparity, eye, shift=placed.shift)
            )
        )


class SpatialDreamerRefineHoleMask(io.ComfyNode):
    """Node around `spatialdreamer_core.dvg.refine_hole_mask`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerRefineHoleMask",
            display_name="Stereo 3D: Refine Hole Mask",
            category="SpatialDreamer",
            **found_by("occlusion", "hole mask", "disocclusion"),
            description="Carries the holes of the frame before along the optical flow into each frame's "
            "hole mask (after Eq. 2 of SpatialDreamer), so that the mask does not flicker. For fillers that "
            "redraw; Fast Fill is best with the hole of DVG Forward Warp itself.",
            inputs=[
                io.Mask.Input("hole", tooltip="Hole mask of DVG Forward Warp: 1 = hole."),
                FlowType.Input("flow", tooltip="Optical Flow of the source view's frames."),
                DisparityType.Input(
                    "disparity", tooltip="Disparity of the DVG Forward Warp that made the mask."
                ),
                widget(
                    DILATION,
                    help="Widens the refined holes by this many pixels to every side, so that the filler "
                    "redraws the rims of objects beside them too. 1 to 3 removes thin halos.",
                ),
                io.Combo.Input(
                    "neighbours",
                    options=list(NEIGHBOURS),
                    default="previous",
                    optional=True,
                    tooltip="Frames whose holes are added. previous: the one before; masks stay small and "
                    "change little. eq2: the ones before and after, as the paper's Eq. 2 is printed.",
                    **ADVANCED,
                ),
            ],
            outputs=[
                io.Mask.Output(
                    "refined_hole", display_name="hole", tooltip="The refined hole mask: 1 = hole."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, neighbours: str | None = None, **widgets: Any) -> bool | str:
        """Let older workflows' name of a choice pass, which is no longer on the list."""
        check_each([DILATION], widgets)
        try:
            current_neighbours("previous" if neighbours is None else neighbours)
        except InputError as error:
            return str(error)
        return True

    @classmethod
    def execute(
        cls,
        hole: Tensor,
        flow: Flow,
        disparity: Disparity,
        dilate: int = DILATION.default,
        neighbours: str = "previous",
    ) -> io.NodeOutput:
        """Refine the mask."""
        refined = refine_hole_mask(
            mask_to_frames("hole", hole, like=disparity.pixels),
            flow,
            disparity=disparity.pixels,
            eye=disparity.eye,
            neighbours=current_neighbours(neighbours),
        )
        return io.NodeOutput(frames_to_mask(dilate_hole(refined, dilate)))
