"""Image to Stereo 3D: photos, or the frames of a clip, to stereo pictures in one node."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..spatialdreamer_core.depth import (
    BUILTIN,
    DEFAULT_STRENGTH,
    estimate_depth,
    estimator_names,
    guide_depth,
    shape_depth,
)
from ..spatialdreamer_core.dvg import depth_to_disparity, forward_warp, refine_hole_mask
from ..spatialdreamer_core.dvg.eyes import Eye
from ..spatialdreamer_core.fill import composite, fast_fill
from ..spatialdreamer_core.flow import estimate_flow
from ..spatialdreamer_core.stereo import FORMATS, pack
from ..spatialdreamer_core.video import EYES, ConvertConfig
from .depth_models import depth_download_input, depth_fingerprint, depth_stability_input, prepare_model
from .dvg import convergence_input, divergence_input
from .layout import frames_to_image, image_to_depth, image_to_frames
from .presentation import found_by
from .progress import frame_progress
from .shaping import check_values, shaping_inputs
from .sockets import Flow
from .stereo import FORMAT_TOOLTIP


class SpatialDreamerImageToStereo(io.ComfyNode):
    """Node around the library's stages from `estimate_depth` to `pack`, for frames in memory."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerImageToStereo",
            display_name="Image to Stereo 3D",
            category="SpatialDreamer",
            **found_by("2d to 3d image", "photo", "half sbs", "stereogram", "red cyan", "depth"),
            description="Converts a photo, or the frames of a clip, to stereo 3D: depth, warp, hole filling, "
            "packing. For whole videos take Video to Stereo 3D, which keeps the sound and streams.",
            inputs=[
                io.Image.Input("image", tooltip="One photo, or a clip's frames in order."),
                io.Combo.Input("format", options=list(FORMATS), default="full_sbs", tooltip=FORMAT_TOOLTIP),
                divergence_input(),
                convergence_input(),
                io.Combo.Input(
                    "eye",
                    options=list(EYES),
                    default="right",
                    tooltip="Which view is synthesised; the other one is the original. both: each is "
                    "rendered with half of the disparity.",
                ),
                io.Combo.Input(
                    "depth",
                    options=list(estimator_names()),
                    default="auto",
                    tooltip="Depth estimator, see the Depth Estimator node. auto: Depth Anything V2 Small if "
                    "it is installed or `download` brings it, else builtin, which needs no weights and is "
                    "preview grade.",
                ),
                depth_download_input(),
                io.Image.Input(
                    "depth_map",
                    optional=True,
                    tooltip="Depth map of any depth node, 0 to 1, white = near, used instead of the "
                    "estimator; one for each frame or one for all.",
                ),
                *shaping_inputs(automatic_edges=True),
                depth_stability_input(),
            ],
            outputs=[
                io.Image.Output("stereo", display_name="stereo", tooltip="The stereo pictures."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(
        cls,
        divergence: float | None = None,
        convergence: float | None = None,
        foreground_scale: float | None = None,
        depth_gamma: float | None = None,
        depth_near: float | None = None,
        depth_far: float | None = None,
        depth_stability: float | None = None,
    ) -> bool:
        """Refuse when it is queued what cannot run, see `check_values`."""
        check_values(
            divergence=divergence,
            convergence=convergence,
            foreground_scale=foreground_scale,
            depth_gamma=depth_gamma,
            depth_near=depth_near,
            depth_far=depth_far,
            depth_stability=depth_stability,
        )
        return True

    @classmethod
    def fingerprint_inputs(cls, depth: str | None = None, download: bool = False, **_: object) -> str:
        """Tell when another depth model is meant than before, or its files were replaced."""
        return depth_fingerprint(depth, download)

    @classmethod
    def execute(
        cls,
        image: Tensor,
        format: str,
        divergence: float,
        convergence: float,
        eye: str,
        depth: str,
        download: bool = False,
        depth_map: Tensor | None = None,
        foreground_scale: float = 0.0,
        depth_gamma: float = 1.0,
        depth_near: float = 1.0,
        depth_far: float = 0.0,
        edge_width: int = -1,
        edge_dilation: int = 0,
        guided_upsampling: bool = False,
        depth_stability: float = DEFAULT_STRENGTH,
    ) -> io.NodeOutput:
        """Make stereo pictures."""
        config = ConvertConfig(
            format=format,
            divergence=divergence,
            convergence=convergence,
            eye=eye,
            depth=depth,
            foreground_scale=foreground_scale,
            depth_gamma=depth_gamma,
            depth_near=depth_near,
            depth_far=depth_far,
            edge_width=None if edge_width < 0 else edge_width,
            edge_dilation=edge_dilation,
            guided_upsampling=guided_upsampling,
            depth_stability=depth_stability,
        )
        config.check()
        frames = image_to_frames("image", image)
        given = None if depth_map is None else image_to_depth(depth_map, like=frames, name="depth_map")
        flow = None
        if len(frames) > 1:
            flow = Flow(*estimate_flow(frames, method=config.flow, on_frame=frame_progress(len(frames) - 1)))
        builtin = False
        if given is None:
            prepared = prepare_model(depth, download=download, node_id=cls.hidden.unique_id)
            model = prepared.model
            builtin = model is None
            given = estimate_depth(
                frames,
                estimator=model or BUILTIN,
                flow_forward=flow and flow.forward,
                flow_backward=flow and flow.backward,
                stability=depth_stability,
                on_frame=frame_progress(len(frames)),
            )
        shaped = guide_depth(given, frames) if guided_upsampling else given
        shaped = shape_depth(shaped, config.shaping(builtin=builtin))
        disparity = depth_to_disparity(shaped, divergence=divergence, convergence=convergence)
        if eye == "both":
            left = _render(frames, disparity / 2, flow, "left")
            right = _render(frames, disparity / 2, flow, "right")
        elif eye == "left":
            left, right = _render(frames, disparity, flow, "left"), frames
        else:
            left, right = frames, _render(frames, disparity, flow, "right")
        return io.NodeOutput(frames_to_image(pack(left, right, format=format)))


def _render(frames: Tensor, disparity: Tensor, flow: Flow | None, eye: Eye) -> Tensor:
    """Render one eye's view and fill its holes."""
    warped, hole = forward_warp(frames, disparity, eye=eye, on_frame=frame_progress(len(frames)))
    if flow is not None:
        hole = refine_hole_mask(hole, flow.forward, flow.backward, disparity=disparity, eye=eye)
    filled = fast_fill(
        warped,
        hole,
        left=frames,
        disparity=disparity,
        flow=flow,
        eye=eye,
        on_frame=frame_progress(len(frames)),
    )
    return composite(warped, filled, hole)
