"""M2SVid: its model, and the refiner that fills a warped view and repairs it in one step."""

from __future__ import annotations

from typing import Any

from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import io
from torch import Tensor

from ..spatialdreamer_core.dvg.eyes import Eye
from ..spatialdreamer_core.m2svid.config import SHIFT, RefinerConfig
from .layout import frames_to_image, image_to_frames, mask_to_frames
from .m2svid_models import (
    AUTO,
    FILE,
    NO_SVD,
    file_choices,
    files_changed,
    load_model,
    svd_choices,
    variant_choices,
)
from .placed_model import PlacedM2SVid
from .presentation import ADVANCED, found_by, show_text
from .progress import view_progress
from .sampler_inputs import EYE, view_inputs
from .sockets import Disparity, DisparityType, M2SVidType
from .spatialdreamer_models import PRECISIONS
from .widgets import Widget, check_each, check_settings, make_settings, settings_inputs, widget


def refiner_inputs() -> list[Widget]:
    """Describe the widgets of `RefinerConfig`."""
    # Otherwise the page draws another seed after each run.
    return settings_inputs(RefinerConfig, looks={"seed": {"control_after_generate": False}})


class SpatialDreamerM2SVidLoader(io.ComfyNode):
    """Node around `spatialdreamer_core.m2svid.load_m2svid`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerM2SVidLoader",
            display_name="Stereo 3D: M2SVid Loader",
            category="SpatialDreamer",
            **found_by("m2svid", "svd", "stable video diffusion"),
            description="Loads M2SVid, a video model that fills and repairs a warped view in one step. Its "
            "weights are public: m2svid_weights.pt (4.6 GB, Apache-2.0), see the node's help.",
            inputs=[
                io.Combo.Input(
                    "checkpoint",
                    options=file_choices(),
                    tooltip=f"M2SVid's weights: {FILE} of the release, safetensors of the same, or what "
                    "`spatialdreamer m2svid convert` made of it; in models/m2svid or "
                    "models/diffusion_models.",
                ),
                io.Combo.Input(
                    "svd",
                    options=svd_choices(),
                    default=NO_SVD,
                    optional=True,
                    tooltip="A Stable Video Diffusion such as svd_xt.safetensors, for the autoencoder or "
                    "image encoder where the checkpoint lacks them; the message says so then.",
                ),
                io.Combo.Input(
                    "variant",
                    options=variant_choices(),
                    default=AUTO,
                    optional=True,
                    tooltip="What the weights were trained with. auto: what the file or its name says.",
                    **ADVANCED,
                ),
                io.Combo.Input(
                    "precision",
                    options=list(PRECISIONS),
                    default="auto",
                    optional=True,
                    tooltip="Precision of the weights. auto: fp16 on a GPU, fp32 on the CPU. bf16 if fp16 "
                    "gives NaN; fp32 takes twice the memory.",
                    **ADVANCED,
                ),
            ],
            outputs=[
                M2SVidType.Output(
                    "model", display_name="m2svid", tooltip="For M2SVid Refiner and M2SVid Filler."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(
        cls, checkpoint: str, svd: str = NO_SVD, variant: str = AUTO, precision: str = "auto"
    ) -> list[float]:
        """Tell when the files changed."""
        return files_changed(checkpoint, svd)

    @classmethod
    def execute(
        cls, checkpoint: str, svd: str = NO_SVD, variant: str = AUTO, precision: str = "auto"
    ) -> io.NodeOutput:
        """Load the model."""
        return io.NodeOutput(load_model(checkpoint, svd, variant, precision))


class SpatialDreamerM2SVidRefiner(io.ComfyNode):
    """Node around `spatialdreamer_core.m2svid.refine`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerM2SVidRefiner",
            display_name="Stereo 3D: M2SVid Refiner",
            category="SpatialDreamer",
            **found_by("m2svid", "inpaint", "hole filling", "disocclusion"),
            description="Fills the holes of a warped view by M2SVid in one step, and repairs what warping "
            "damaged, or, with `keep_known`, leaves all else as it is.",
            inputs=[
                M2SVidType.Input("model", tooltip="From M2SVid Loader."),
                *view_inputs(),
                DisparityType.Input(
                    "disparity",
                    optional=True,
                    tooltip="Disparity of the same DVG Forward Warp. It tells the rendered eye and the "
                    "convergence, which M2SVid has not learnt and which is undone for it.",
                ),
                *refiner_inputs(),
                widget(EYE),
                widget(SHIFT),
            ],
            outputs=[
                io.Image.Output(
                    "image",
                    display_name="image",
                    tooltip="The finished view, as `keep_known` asks for it.",
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
        check_settings(RefinerConfig, widgets)
        check_each([EYE, SHIFT], widgets)
        return True

    @classmethod
    def execute(
        cls,
        model: PlacedM2SVid,
        left: Tensor,
        warped: Tensor,
        hole: Tensor,
        disparity: Disparity | None = None,
        eye: Eye = EYE.default,
        shift: float = SHIFT.default,
        **widgets: Any,
    ) -> io.NodeOutput:
        """Refine the view."""
        from ..spatialdreamer_core.m2svid import refine

        frames = image_to_frames("warped", warped)
        notices: list[str] = []
        model.begin()
        views = refine(
            model.network,
            image_to_frames("left", left),
            frames,
            mask_to_frames("hole", hole, like=frames),
            make_settings(RefinerConfig, widgets),
            shift=shift if disparity is None else disparity.shift,
            eye=eye if disparity is None else disparity.eye,
            disparity=None if disparity is None else disparity.pixels,
            on_view=view_progress(len(frames)),
            on_wait=throw_exception_if_processing_interrupted,
            on_notice=notices.append,
        )
        share = f"M2SVid ran on {100 * views.share:.0f} % of the frames' area"
        show_text(cls.hidden.unique_id, *notices, share)
        return io.NodeOutput(frames_to_image(views.filled), frames_to_image(views.whole))
