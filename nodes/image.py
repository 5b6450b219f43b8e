"""Image to Stereo 3D: photos, or the frames of a clip, to stereo pictures in one node."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..spatialdreamer_core.depth import (
    BUILTIN,
    estimate_depth,
    guide_depth,
    shape_depth,
)
from ..spatialdreamer_core.dvg import depth_to_disparity, forward_warp
from ..spatialdreamer_core.dvg.eyes import Eye
from ..spatialdreamer_core.fill import fast_fill
from ..spatialdreamer_core.flow import Flow, estimate_flow
from ..spatialdreamer_core.stereo import pack
from .conversion import check_is_linked, flow_method_input, view_inputs
from .depth_models import depth_download_input, depth_fingerprint, depth_stability_input, prepare_model
from .flow_models import flow_fingerprint, prepare_flow_model
from .layout import frames_to_image, image_to_depth, image_to_frames
from .presentation import found_by
from .progress import frame_progress
from .shaping import check_values, settings_of, shaping_inputs


class SpatialDreamerImageToStereo(io.ComfyNode):
    """Node around the library's stages from `estimate_depth` to `pack`, for frames in memory."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerImageToStereo",
            display_name="Image to Stereo 3D (SBS, VR)",
            category="SpatialDreamer",
            **found_by("2d to 3d image", "photo", "half sbs", "stereogram", "red cyan", "depth"),
            description="Converts a photo, or the frames of a clip, to stereo 3D: depth, warp, hole filling, "
            "packing. For whole videos take Video to Stereo 3D, which keeps the sound and streams.",
            inputs=[
                io.Image.Input("image", tooltip="One photo, or a clip's frames in order."),
                *view_inputs(),
                depth_download_input(),
                io.Image.Input(
                    "depth_map",
                    optional=True,
                    tooltip="Depth map of any depth node, 0 to 1, white = near, used instead of the "
                    "estimator; one for each frame or one for all.",
                ),
                *shaping_inputs(automatic_edges=True),
                depth_stability_input(),
                flow_method_input(),
            ],
            outputs=[
                io.Image.Output("stereo", display_name="stereo", tooltip="The stereo pictures."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, image: Any = None, depth_map: Any = None, **widgets: Any) -> bool:
        """Refuse when it is queued what cannot run, see `check_values`."""
        check_is_linked("image", image, "Load Image")
        check_is_linked("depth_map", depth_map, "a depth map")
        check_values(**widgets)
        return True

    @classmethod
    def fingerprint_inputs(
        cls, depth: str | None = None, flow: str | None = None, download: bool = False, **_: object
    ) -> str:
        """Tell when another depth model is meant than before, or a model's files were replaced."""
        return f"{depth_fingerprint(depth, download)} {flow_fingerprint(flow)}"

    @classmethod
    def execute(
        cls, image: Tensor, download: bool = False, depth_map: Tensor | None = None, **widgets: Any
    ) -> io.NodeOutput:
        """Make stereo pictures."""
        config = settings_of(**widgets)
        config.check()
        frames = image_to_frames("image", image)
        given = None if depth_map is None else image_to_depth(depth_map, like=frames, name="depth_map")
        flow = None
        if len(frames) > 1:
            kept = prepare_flow_model(config.flow, download=download)
            method = config.flow if kept is None else kept.model
            flow = estimate_flow(frames, method=method, on_frame=frame_progress(len(frames) - 1))
        builtin = False
        if given is None:
            prepared = prepare_model(config.depth, download=download, node_id=cls.hidden.unique_id)
            model = prepared.model
            builtin = model is None
            given = estimate_depth(
                frames,
                estimator=model or BUILTIN,
                flow=flow,
                stability=config.depth_stability,
                on_frame=frame_progress(len(frames)),
            )
        shaped = guide_depth(given, frames) if config.guided_upsampling else given
        shaped = shape_depth(shaped, config.shaping(builtin=builtin))
        disparity = depth_to_disparity(shaped, divergence=config.divergence, convergence=config.convergence)
        if config.eye == "both":
            left = _render(frames, disparity / 2, flow, "left")
            right = _render(frames, disparity / 2, flow, "right")
        elif config.eye == "left":
            left, right = _render(frames, disparity, flow, "left"), frames
        else:
            left, right = frames, _render(frames, disparity, flow, "right")
        return io.NodeOutput(frames_to_image(pack(left, right, format=config.format)))


def _render(frames: Tensor, disparity: Tensor, flow: Flow | None, eye: Eye) -> Tensor:
    """Render one eye's view and fill its holes."""
    warped, hole = forward_warp(frames, disparity, eye=eye, on_frame=frame_progress(len(frames)))
    return fast_fill(
        warped,
        hole,
        left=frames,
        disparity=disparity,
        flow=flow,
        eye=eye,
        on_frame=frame_progress(len(frames)),
    )
