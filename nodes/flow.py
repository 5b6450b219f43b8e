"""Optical Flow: how the picture moves between neighbouring frames, in both directions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io
from torch import Tensor
from torch.nn import functional as F

from ..spatialdreamer_core.flow import estimate_flow, list_flow_methods
from ..spatialdreamer_core.options import option_of
from ..spatialdreamer_core.pipeline import ConvertConfig
from .flow_models import flow_download_input, flow_fingerprint, prepare_flow_model
from .layout import frames_to_mask, image_to_frames
from .presentation import found_by
from .progress import frame_progress
from .sockets import FlowType
from .widgets import check_each, widget

_METHOD = replace(option_of(ConvertConfig, "flow"), name="method", default="dis_medium")


class SpatialDreamerOpticalFlow(io.ComfyNode):
    """Node around `spatialdreamer_core.flow.estimate_flow`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerOpticalFlow",
            display_name="Stereo 3D: Optical Flow",
            category="SpatialDreamer",
            **found_by("optical flow", "raft", "motion"),
            description="Estimates how each pixel moves from frame to frame, forward and backward, with DIS "
            "(no weights) or RAFT. Steadies depth, hole masks and filling over time.",
            inputs=[
                io.Image.Input(
                    "image", tooltip="The left view's frames, in order, at the size of the later nodes."
                ),
                widget(_METHOD, optional=False, help=_method_tooltip()),
                flow_download_input(),
            ],
            outputs=[
                FlowType.Output("flow", display_name="flow", tooltip="Forward and backward flow in pixels."),
                io.Mask.Output(
                    "confidence",
                    display_name="confidence",
                    tooltip="1 where forward and backward flow agree, 0 where not (occluded or leaving the "
                    "picture). The last frame, which has no next one, is 1.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, **widgets: Any) -> bool:
        """Refuse when it is queued what cannot run."""
        check_each([_METHOD], widgets)
        return True

    @classmethod
    def fingerprint_inputs(cls, method: str | None = None, **_: object) -> str:
        """Tell when a model's weights were replaced."""
        return flow_fingerprint(method)

    @classmethod
    def execute(cls, image: Tensor, method: str, download: bool = False) -> io.NodeOutput:
        """Estimate the flow of the frames and its confidence."""
        frames = image_to_frames("image", image)
        kept = prepare_flow_model(method, download=download)
        estimator = method if kept is None else kept.model
        flow = estimate_flow(frames, method=estimator, on_frame=frame_progress(len(frames) - 1))
        confidence = F.pad(flow.forward_confidence, (0, 0, 0, 0, 0, 0, 0, 1), value=1.0)
        return io.NodeOutput(flow, frames_to_mask(confidence))


def _method_tooltip() -> str:
    """Describe the methods, and say which of them are missing on this machine."""
    missing = [info.name for info in list_flow_methods() if not info.available]
    text = (
        "From fastest to most accurate. dis_…: on the CPU, no weights. raft_…: torchvision's RAFT, on the "
        "GPU if there is one; frames over 1024 pixels are shrunk to that for the estimate."
    )
    return f"{text} Not installed (turn `download` on): {', '.join(missing)}." if missing else text
