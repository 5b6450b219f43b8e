"""Depth Estimator: depth from a model, or a preview-grade map without any weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..spatialdreamer_core.depth import (
    BUILTIN,
    DEFAULT_STRENGTH,
    estimate_depth,
    list_estimators,
)
from ..spatialdreamer_core.flow import Flow
from ..spatialdreamer_core.options import option_of
from ..spatialdreamer_core.pipeline import ConvertConfig
from .conversion import check_is_linked
from .depth_models import depth_download_input, depth_fingerprint, depth_stability_input, prepare_model
from .layout import frames_to_image, image_to_frames
from .presentation import found_by
from .progress import frame_progress
from .shaping import check_values
from .sockets import FlowType
from .widgets import check_each, widget

_ESTIMATOR = replace(option_of(ConvertConfig, "depth"), name="estimator")


class SpatialDreamerDepthEstimator(io.ComfyNode):
    """Node around `spatialdreamer_core.depth.estimate_depth`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerDepthEstimator",
            display_name="Stereo 3D: Depth Estimator",
            category="SpatialDreamer",
            **found_by("depth", "depth map", "depth anything", "midas", "monocular depth"),
            description="Estimates depth with a depth model whose weights are installed, or without any "
            "weights (preview grade). The depth map of any other depth node can take its place.",
            inputs=[
                io.Image.Input("image", tooltip="The video's frames, in order, or one photo."),
                widget(_ESTIMATOR, optional=False, help=_estimator_tooltip()),
                FlowType.Input(
                    "flow",
                    optional=True,
                    tooltip="Optical Flow of the same frames. Along it the depth is steadied over time, and "
                    "`builtin` sees motion parallax. Without it flow is estimated inside.",
                ),
                depth_download_input(),
                depth_stability_input(),
            ],
            outputs=[
                io.Image.Output(
                    "depth", display_name="depth", tooltip="Inverse depth in 0 to 1: white is near."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, flow: Any = None, **widgets: Any) -> bool:
        """Refuse when it is queued what cannot run, see `check_values`."""
        check_is_linked("flow", flow, "Optical Flow")
        check_each([_ESTIMATOR], widgets)
        check_values(**widgets)
        return True

    @classmethod
    def fingerprint_inputs(cls, estimator: str | None = None, download: bool = False, **_: object) -> str:
        """Tell when another model is meant than before, or its files were replaced."""
        return depth_fingerprint(estimator, download)

    @classmethod
    def execute(
        cls,
        image: Tensor,
        estimator: str,
        flow: Flow | None = None,
        download: bool = False,
        depth_stability: float = DEFAULT_STRENGTH,
    ) -> io.NodeOutput:
        """Estimate the depth of the frames."""
        frames = image_to_frames("image", image)
        prepared = prepare_model(estimator, download=download, node_id=cls.hidden.unique_id)
        depth = estimate_depth(
            frames,
            estimator=prepared.model or BUILTIN,
            flow=flow,
            stability=depth_stability,
            on_frame=frame_progress(len(frames)),
        )
        return io.NodeOutput(frames_to_image(depth))


def _estimator_tooltip() -> str:
    """Describe the estimators, with their licences and which of them are missing on this machine."""
    estimators = list_estimators()
    missing = [info.name for info in estimators if not info.available]
    restricted = [info.name for info in estimators if info.commercial is False]
    text = (
        "auto: Depth Anything V2 Small if it is installed or `download` brings it, else builtin. builtin: "
        "from motion, position, upright shapes, haze and focus; no weights, preview grade. The others are "
        "depth models. "
        f"No commercial use: {', '.join(restricted)}."
    )
    return f"{text} Not installed (turn `download` on): {', '.join(missing)}." if missing else text
