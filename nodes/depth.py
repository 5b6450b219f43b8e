"""Depth Estimator: a preview-grade depth map without model weights."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..spatialdreamer_core.depth import estimate_depth, list_estimators
from .layout import frames_to_image, image_to_frames
from .progress import frame_progress
from .sockets import Flow, FlowType


class SpatialDreamerDepthEstimator(io.ComfyNode):
    """Node around `spatialdreamer_core.depth.estimate_depth`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerDepthEstimator",
            display_name="Depth Estimator",
            category="SpatialDreamer",
            description="Estimates depth without any model weights, steady over time. Preview grade: for "
            "final results connect the depth map of any other depth node to DVG Forward Warp instead.",
            inputs=[
                io.Image.Input("image", tooltip="The video's frames, in order, or one photo."),
                io.Combo.Input(
                    "estimator",
                    options=[info.name for info in list_estimators() if info.available],
                    default="builtin",
                    tooltip="builtin: from motion, position, upright shapes, haze and focus; no weights, "
                    "preview grade. Depth models come through any other pack's depth node.",
                ),
                FlowType.Input(
                    "flow",
                    optional=True,
                    tooltip="Optical Flow of the same frames. Adds motion parallax and steadies the depth "
                    "over time.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "depth", display_name="depth", tooltip="Inverse depth in 0 to 1: white is near."
                ),
            ],
        )

    @classmethod
    def execute(cls, image: Tensor, estimator: str, flow: Flow | None = None) -> io.NodeOutput:
        """Estimate the depth of the frames."""
        frames = image_to_frames("image", image)
        depth = estimate_depth(
            frames,
            estimator=estimator,
            flow_forward=flow and flow.forward,
            flow_backward=flow and flow.backward,
            on_frame=frame_progress(len(frames)),
        )
        return io.NodeOutput(frames_to_image(depth))
