"""SBS Packer: both views in one picture, as players and headsets want them."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..spatialdreamer_core.stereo import FORMATS, pack
from .layout import frames_to_image, image_to_frames


class SpatialDreamerSBSPacker(io.ComfyNode):
    """Node around `spatialdreamer_core.stereo.pack`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerSBSPacker",
            display_name="SBS Packer",
            category="SpatialDreamer",
            description="Packs the left and the right view into one stereo picture.",
            inputs=[
                io.Image.Input("left", tooltip="The left eye's view."),
                io.Image.Input("right", tooltip="The right eye's view, of the same size and length."),
                io.Combo.Input("format", options=list(FORMATS), default="full_sbs", tooltip=FORMAT_TOOLTIP),
            ],
            outputs=[
                io.Image.Output("stereo", display_name="stereo", tooltip="The packed frames."),
            ],
        )

    @classmethod
    def execute(cls, left: Tensor, right: Tensor, format: str) -> io.NodeOutput:
        """Pack the views."""
        stereo = pack(image_to_frames("left", left), image_to_frames("right", right), format=format)
        return io.NodeOutput(frames_to_image(stereo))


FORMAT_TOOLTIP = (
    "full_sbs: side by side, double width (best quality). half_sbs: side by side, each view squeezed to half "
    "width (most TVs). full_tb, half_tb: left view above the right one. cross_eyed: right view on the left, "
    "to view without glasses. anaglyph: one picture for red-cyan glasses."
)
