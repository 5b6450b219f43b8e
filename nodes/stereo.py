"""SBS Packer: both views in one picture, as players and headsets want them."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..spatialdreamer_core.checks import InputError, check_video
from ..spatialdreamer_core.contracts import check_call
from ..spatialdreamer_core.flow import find_cuts
from ..spatialdreamer_core.options import option_of
from ..spatialdreamer_core.pipeline import ConvertConfig
from ..spatialdreamer_core.stereo import StereoLayout, apply_floating_window, floating_window
from .conversion import layout_inputs
from .layout import frames_to_image, image_to_depth, image_to_frames
from .presentation import found_by
from .shaping import check_values
from .sockets import Disparity, DisparityType
from .viewer import Packing, shown_frames, stereo_output
from .widgets import make_settings, widget


class SpatialDreamerSBSPacker(io.ComfyNode):
    """Node around `spatialdreamer_core.stereo.StereoLayout` and `floating_window`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerSBSPacker",
            display_name="Stereo 3D: SBS Packer",
            category="SpatialDreamer",
            **found_by("half sbs", "top bottom", "over under", "cross eyed", "red cyan"),
            description="Packs the left and the right view into one stereo picture.",
            inputs=[
                io.Image.Input("left", tooltip="The left eye's view."),
                io.Image.Input("right", tooltip="The right eye's view, of the same size and length."),
                widget(option_of(ConvertConfig, "format"), optional=False),
                DisparityType.Input(
                    "disparity",
                    optional=True,
                    tooltip="Disparity of the DVG Forward Warp that rendered one of the views; only "
                    "`floating_window` needs it.",
                ),
                io.Boolean.Input(
                    "floating_window",
                    default=False,
                    optional=True,
                    tooltip="Draws narrow black bars, at most 3 % of the width, at the outer sides of both "
                    "views where something that pops out of the screen is cut by the picture's edge, which "
                    "then seems to lie in front of it. Needs `disparity`.",
                ),
                *layout_inputs(),
                io.Image.Input(
                    "depth_map",
                    optional=True,
                    tooltip="Depth map of the left view, white = near; only the format rgbd needs it.",
                ),
            ],
            outputs=[
                io.Image.Output("stereo", display_name="stereo", tooltip="The packed frames."),
            ],
        )

    @classmethod
    def validate_inputs(cls, **widgets: Any) -> bool:
        """Refuse when it is queued what cannot run."""
        check_values(**widgets)
        return True

    @classmethod
    def execute(
        cls,
        left: Tensor,
        right: Tensor,
        format: str,
        disparity: Disparity | None = None,
        floating_window: bool = False,
        depth_map: Tensor | None = None,
        **widgets: Any,
    ) -> io.NodeOutput:
        """Pack the views."""
        layout = make_settings(StereoLayout, {"format": format, **widgets})
        layout.check()
        views = image_to_frames("left", left), image_to_frames("right", right)
        if floating_window:
            views = _apply_window(*views, disparity)
        check_call("pack", left=views[0], right=views[1], depth=None)
        if format == "rgbd":
            if depth_map is None:
                raise InputError(
                    "`depth_map` must be connected for the format rgbd, got none; connect that of the left "
                    "view"
                )
            depth = image_to_depth(depth_map, like=views[0], name="depth_map")
            views = views[0], depth.expand(-1, 3, -1, -1)
        stereo = layout.pack(*views)
        shown = shown_frames(stereo, Packing(format, layout.swap_eyes))
        return io.NodeOutput(frames_to_image(stereo), ui=stereo_output(shown))


def _apply_window(left: Tensor, right: Tensor, disparity: Disparity | None) -> tuple[Tensor, Tensor]:
    """Draw the floating window's bars over both views."""
    if disparity is None:
        raise InputError(
            "`floating_window` needs `disparity`, got none; connect that of DVG Forward Warp or turn it off"
        )
    check_video("disparity", disparity.pixels, like=left, like_name="left")
    return apply_floating_window(left, right, floating_window(disparity.pixels, cuts=find_cuts(left)))
