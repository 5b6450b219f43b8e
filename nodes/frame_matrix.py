"""S2VG's frame matrix: fills a warped view by Stable Video Diffusion as it was published."""

from __future__ import annotations

from typing import Any

from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import io
from torch import Tensor

from ..spatialdreamer_core.dvg.eyes import Eye
from ..spatialdreamer_core.frame_matrix.config import FrameMatrixConfig
from .layout import frames_to_image, image_to_frames, mask_to_frames
from .placed_model import PlacedModel, PlacedSpatialDreamer
from .presentation import found_by, show_text
from .progress import matrix_progress
from .sampler_inputs import EYE, view_inputs
from .sockets import Disparity, DisparityType, ModelType
from .widgets import Widget, check_each, check_settings, make_settings, settings_inputs, widget


def matrix_inputs() -> list[Widget]:
    """Describe the widgets of `FrameMatrixConfig`."""
    return settings_inputs(FrameMatrixConfig, looks={"seed": {"control_after_generate": True}})


def matrix_model_input() -> io.Input:
    """Describe the socket for the model."""
    return ModelType.Input(
        "model",
        tooltip="From SpatialDreamer Model Loader, with nothing but a Stable Video Diffusion: `weights` none "
        "(untrained), `unet` from checkpoint.",
    )


def place_frame_matrix(model: PlacedSpatialDreamer) -> PlacedModel:
    """Take a loaded SVD for the frame matrix; ComfyUI moves it as before.

    Raises:
        InputError: If its UNet was trained for another sampler.
    """
    from ..spatialdreamer_core.frame_matrix import FrameMatrixModel

    return PlacedModel(FrameMatrixModel(model.network.svd), model.choices, shares=model)


class SpatialDreamerFrameMatrixSampler(io.ComfyNode):
    """Node around `spatialdreamer_core.frame_matrix.fill_matrix`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerFrameMatrixSampler",
            display_name="Stereo 3D: Frame Matrix Sampler",
            category="SpatialDreamer",
            **found_by("s2vg", "svd", "stable video diffusion", "inpaint", "light field", "looking glass"),
            description="Fills the holes of a warped view by Stable Video Diffusion as it was published: "
            "views between the eyes are denoised over time and over views in turn. It takes minutes.",
            inputs=[
                matrix_model_input(),
                *view_inputs(),
                DisparityType.Input(
                    "disparity",
                    optional=True,
                    tooltip="Disparity of the same DVG Forward Warp, by which the views between the eyes are "
                    "warped. Without it there is one view, filled over time alone.",
                ),
                io.Boolean.Input(
                    "all_views",
                    default=False,
                    optional=True,
                    tooltip="Whether `views` has all views, which takes their memory and a little time. With "
                    "`last_view_from` 0 they come out equally sharp.",
                ),
                widget(EYE),
                *matrix_inputs(),
            ],
            outputs=[
                io.Image.Output(
                    "image",
                    display_name="image",
                    tooltip="The view without holes: warped where known, diffused in the holes.",
                ),
                io.Image.Output(
                    "view_batch",
                    display_name="views",
                    tooltip="With `all_views` one view after the other, from the left eye to the right one: "
                    "all frames of the first, then all of the second, and so on. Otherwise `image` alone.",
                ),
                io.Image.Output(
                    "whole_view",
                    display_name="whole_view",
                    tooltip="The model's view everywhere it was run; the warped view elsewhere.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, **widgets: Any) -> bool:
        """Refuse when it is queued what cannot run, see `check_settings`."""
        check_settings(FrameMatrixConfig, widgets)
        check_each([EYE], widgets)
        return True

    @classmethod
    def execute(
        cls,
        model: PlacedSpatialDreamer,
        left: Tensor,
        warped: Tensor,
        hole: Tensor,
        disparity: Disparity | None = None,
        eye: Eye = EYE.default,
        all_views: bool = False,
        **widgets: Any,
    ) -> io.NodeOutput:
        """Fill the holes."""
        from ..spatialdreamer_core.frame_matrix import fill_matrix

        frames = image_to_frames("warped", warped)
        config = make_settings(FrameMatrixConfig, widgets).settled()
        placed = place_frame_matrix(model)
        eye = eye if disparity is None else disparity.eye
        show_text(cls.hidden.unique_id, *_describe(config, disparity))
        filled, whole, views = fill_matrix(
            placed.network,
            image_to_frames("left", left),
            frames,
            mask_to_frames("hole", hole, like=frames),
            None if disparity is None else disparity.pixels,
            config,
            eye=eye,
            keep_views=all_views,
            on_step=matrix_progress(),
            on_wait=throw_exception_if_processing_interrupted,
        )
        image = frames_to_image(filled)
        batch = image if views is None else _from_left_to_right(views, eye)
        return io.NodeOutput(image, batch, frames_to_image(whole))


def _from_left_to_right(
    views: Tensor,  # [V, F, 3, H, W], from the source view to the rendered one
    eye: Eye,
) -> Tensor:  # [V · F, H, W, 3]
    """Make one IMAGE of all views, whichever eye was rendered."""
    return frames_to_image((views if eye == "right" else views.flip(0)).flatten(0, 1))


def _describe(config: FrameMatrixConfig, disparity: Disparity | None) -> list[str]:
    """Say what the settings come to."""
    views = 1 if disparity is None else config.views
    lines = ["no disparity: one view, filled over time alone"] if disparity is None else []
    return [*lines, f"views: {views}, steps: {config.steps}, passes a step: {config.passes}"]
