"""Fill a warped view's holes: the fast filler without weights, and the composite that keeps known pixels."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..spatialdreamer_core.dvg import DILATION, FEATHER
from ..spatialdreamer_core.fill import TEXTURE, FastFillConfig, composite, fast_fill
from ..spatialdreamer_core.flow import Flow
from ..spatialdreamer_core.options import options_of
from .layout import frames_to_image, image_to_frames, mask_to_frames
from .presentation import found_by
from .progress import frame_progress
from .sockets import Disparity, DisparityType, FlowType
from .widgets import check_each, check_settings, widget


class SpatialDreamerFastFill(io.ComfyNode):
    """Node around `spatialdreamer_core.fill.fast_fill`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerFastFill",
            display_name="Stereo 3D: Fast Fill",
            category="SpatialDreamer",
            **found_by("inpaint", "hole filling", "disocclusion"),
            description="Fills the holes of a warped view without model weights, continuing the background "
            "beside them.",
            inputs=[
                io.Image.Input("left", tooltip="The source view from which the warp was made."),
                io.Image.Input("warped", tooltip="The warped view of DVG Forward Warp."),
                io.Mask.Input(
                    "hole",
                    tooltip="Hole mask: 1 = to be filled. That of DVG Forward Warp: "
                    "a refined one also replaces pixels that were seen.",
                ),
                DisparityType.Input(
                    "disparity",
                    optional=True,
                    tooltip="Disparity of the same DVG Forward Warp; helps to tell background from "
                    "foreground.",
                ),
                FlowType.Input(
                    "flow",
                    optional=True,
                    tooltip="Optical Flow of the source view: with `disparity`, holes take what other frames "
                    "show there, and the filling is steady over time.",
                ),
                *map(widget, options_of(FastFillConfig).values()),
            ],
            outputs=[
                io.Image.Output("filled", display_name="filled", tooltip="The view without holes."),
            ],
        )

    @classmethod
    def validate_inputs(cls, **widgets: Any) -> bool:
        """Refuse when it is queued what cannot run."""
        check_settings(FastFillConfig, widgets)
        return True

    @classmethod
    def execute(
        cls,
        left: Tensor,
        warped: Tensor,
        hole: Tensor,
        disparity: Disparity | None = None,
        flow: Flow | None = None,
        texture: float = TEXTURE,
    ) -> io.NodeOutput:
        """Fill the holes."""
        source = image_to_frames("left", left)
        rendered = image_to_frames("warped", warped)
        mask = mask_to_frames("hole", hole, like=rendered)
        filled = fast_fill(
            rendered,
            mask,
            left=source,
            disparity=disparity and disparity.pixels,
            flow=flow,
            eye=disparity.eye if disparity else "right",
            texture=texture,
            on_frame=frame_progress(len(rendered)),
        )
        return io.NodeOutput(frames_to_image(filled))


class SpatialDreamerComposite(io.ComfyNode):
    """Node around `spatialdreamer_core.fill.composite`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerComposite",
            display_name="Stereo 3D: Composite",
            category="SpatialDreamer",
            **found_by("inpaint", "blend"),
            description="Takes the filled view inside the holes and the warped view everywhere else, so that "
            "known pixels stay exactly what the warp made.",
            inputs=[
                io.Image.Input("warped", tooltip="The warped view of DVG Forward Warp."),
                io.Image.Input("filled", tooltip="The result of any filler, at the same size."),
                io.Mask.Input("hole", tooltip="Hole mask: 1 = take the filled view."),
                widget(
                    DILATION,
                    optional=False,
                    help="Widens the hole by this many pixels, to hide halos at the edges of objects. "
                    "Pixels outside stay equal to the warped view bit for bit.",
                ),
                widget(
                    FEATHER,
                    help="Blends the filled view into the warped one over this many pixels around the "
                    "hole; 0 is a hard edge. Hides seams of fillers that redraw the whole picture.",
                ),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The finished view."),
            ],
        )

    @classmethod
    def validate_inputs(cls, **widgets: Any) -> bool:
        """Refuse when it is queued what cannot run."""
        check_each([DILATION, FEATHER], widgets)
        return True

    @classmethod
    def execute(
        cls, warped: Tensor, filled: Tensor, hole: Tensor, dilate: int, feather: int = FEATHER.default
    ) -> io.NodeOutput:
        """Composite the two views."""
        rendered = image_to_frames("warped", warped)
        image = composite(
            rendered,
            image_to_frames("filled", filled),
            mask_to_frames("hole", hole, like=rendered),
            dilate=dilate,
            feather=feather,
        )
        return io.NodeOutput(frames_to_image(image))
