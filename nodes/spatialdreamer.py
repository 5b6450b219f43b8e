"""SpatialDreamer: its model, RefinerNet's look at the left view, and the sampler that fills the right one."""

from __future__ import annotations

from typing import Any

from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import io
from torch import Tensor

from ..spatialdreamer_core.options import option_of
from ..spatialdreamer_core.spatialdreamer.sampler_config import (
    DEFAULT_MAX_SIDE,
    FilmSamplerConfig,
    SamplerConfig,
)
from .layout import frames_to_image, image_to_frames, mask_to_frames
from .placed_model import PlacedReference, PlacedSpatialDreamer
from .presentation import ADVANCED, found_by, show_text
from .progress import frame_progress, step_progress
from .sampler_inputs import hole_input, last_sampler_inputs, max_side_input, sampler_inputs
from .sockets import ModelType, ReferenceType
from .spatialdreamer_models import (
    OWN_UNET,
    PRECISIONS,
    SVD_FILE,
    SVD_REFINER,
    check_model_choices,
    checkpoint_choices,
    files_changed,
    load_model,
    refiner_choices,
    unet_choices,
    weights_choices,
)
from .widgets import check_each, check_settings, make_settings


class SpatialDreamerModelLoader(io.ComfyNode):
    """Node around `spatialdreamer_core.svd.load_svd` and `load_spatialdreamer`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerModelLoader",
            display_name="Stereo 3D: SpatialDreamer Model Loader",
            category="SpatialDreamer",
            **found_by("svd", "stable video diffusion", "stereocrafter"),
            description="Loads Stable Video Diffusion and, if there are any, trained weights of "
            "SpatialDreamer. Without them it is SVD as it was published, held to what the warp shows.",
            inputs=[
                io.Combo.Input(
                    "checkpoint",
                    options=checkpoint_choices(),
                    tooltip=f"A Stable Video Diffusion such as {SVD_FILE}: a safetensors file in "
                    "models/checkpoints or models/diffusion_models, or a folder in models/diffusers.",
                ),
                io.Combo.Input(
                    "weights",
                    options=weights_choices(),
                    tooltip="Trained weights of SpatialDreamer in models/spatialdreamer: a safetensors file, "
                    "or a folder with config.json.",
                ),
                io.Combo.Input(
                    "unet",
                    options=unet_choices(),
                    optional=True,
                    tooltip="A UNet in models/diffusers that takes the place of the checkpoint's, such as "
                    "StereoCrafter's, which is trained to fill holes.",
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
                io.Combo.Input(
                    "refiner",
                    options=refiner_choices(),
                    default=SVD_REFINER,
                    optional=True,
                    tooltip="What an untrained RefinerNet starts from: SVD's weights, or, as in the paper, "
                    "those of a Stable Diffusion 2.1: a safetensors file in models/checkpoints or "
                    "models/diffusion_models, or a folder in models/diffusers. Trained weights have one.",
                    **ADVANCED,
                ),
            ],
            outputs=[
                ModelType.Output(
                    "model",
                    display_name="model",
                    tooltip="For RefinerNet Encode, TIL SVD Sampler and Frame Matrix Sampler.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, weights: str | None = None, unet: str | None = None, refiner: str | None = None
    ) -> bool:
        """Refuse when it is queued what cannot run, see `check_model_choices`."""
        check_model_choices(weights, unet, refiner)
        return True

    @classmethod
    def fingerprint_inputs(
        cls,
        checkpoint: str,
        weights: str,
        unet: str = OWN_UNET,
        precision: str = "auto",
        refiner: str = SVD_REFINER,
    ) -> list[float]:
        """Tell when the files changed: training writes weights anew under the same name."""
        return files_changed(checkpoint, weights, unet, refiner)

    @classmethod
    def execute(
        cls,
        checkpoint: str,
        weights: str,
        unet: str = OWN_UNET,
        precision: str = "auto",
        refiner: str = SVD_REFINER,
    ) -> io.NodeOutput:
        """Load the model."""
        return io.NodeOutput(load_model(checkpoint, weights, unet, precision, refiner))


class SpatialDreamerRefinerNetEncode(io.ComfyNode):
    """Node around `spatialdreamer_core.spatialdreamer.encode_reference`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerRefinerNetEncode",
            display_name="Stereo 3D: RefinerNet Encode",
            category="SpatialDreamer",
            **found_by("svd", "reference"),
            description="Encodes the left view, from which RefinerNet makes the features that the sampler "
            "copies textures from. It does so window by window, when the sampler asks for them.",
            inputs=[
                ModelType.Input("model", tooltip="From SpatialDreamer Model Loader."),
                io.Image.Input("left", tooltip="The source view from which the warp was made, all frames."),
                max_side_input(),
            ],
            outputs=[
                ReferenceType.Output(
                    "reference", display_name="reference", tooltip="The left view for TIL SVD Sampler."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, **widgets: Any) -> bool:
        """Refuse when it is queued what cannot run."""
        check_each([option_of(FilmSamplerConfig, "max_side")], widgets)
        return True

    @classmethod
    def execute(
        cls, model: PlacedSpatialDreamer, left: Tensor, max_side: int = DEFAULT_MAX_SIDE
    ) -> io.NodeOutput:
        """Encode the left view."""
        from ..spatialdreamer_core.spatialdreamer import encode_reference

        frames = image_to_frames("left", left)
        model.begin()
        reference = encode_reference(
            model.network, frames, max_side=max_side, on_frame=frame_progress(len(frames))
        )
        return io.NodeOutput(PlacedReference(reference, model))


class SpatialDreamerTILSVDSampler(io.ComfyNode):
    """Node around `spatialdreamer_core.spatialdreamer.sample`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerTILSVDSampler",
            display_name="Stereo 3D: TIL SVD Sampler",
            category="SpatialDreamer",
            **found_by("svd", "inpaint", "stable video diffusion", "stereocrafter"),
            description="Fills the holes of a warped view by video diffusion that looks at the left view, "
            "steered by the stereo deviation strength. Known pixels of `image` stay what the warp made; "
            "`whole_view` is the diffused picture everywhere.",
            inputs=[
                ModelType.Input("model", tooltip="From SpatialDreamer Model Loader."),
                ReferenceType.Input("reference", tooltip="From RefinerNet Encode, of the same frames."),
                io.Image.Input(
                    "warped",
                    tooltip="The warped view of DVG Forward Warp. Without trained weights: the filled view "
                    "of Fast Fill, which the model continues.",
                ),
                hole_input(),
                *sampler_inputs(),
                *last_sampler_inputs(),
            ],
            outputs=[
                io.Image.Output(
                    "image",
                    display_name="image",
                    tooltip="The view without holes: warped where known, diffused in the holes.",
                ),
                io.Image.Output(
                    "whole_view",
                    display_name="whole_view",
                    tooltip="The diffused view everywhere, holes or not, which follows `deviation` all over.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, **widgets: Any) -> bool:
        """Refuse when it is queued what cannot run, see `check_settings`."""
        check_settings(SamplerConfig, widgets)
        return True

    @classmethod
    def execute(
        cls,
        model: PlacedSpatialDreamer,
        reference: PlacedReference,
        warped: Tensor,
        hole: Tensor,
        **widgets: Any,
    ) -> io.NodeOutput:
        """Fill the holes."""
        from ..spatialdreamer_core.spatialdreamer import sample_views

        frames = image_to_frames("warped", warped)
        config = make_settings(SamplerConfig, widgets)
        if model.choices == reference.model.choices:  # ComfyUI may have dropped the loader's output since
            model = reference.model
        encoded = reference.reference
        model.begin()

        def show(notice: str) -> None:
            show_text(cls.hidden.unique_id, notice)

        views = sample_views(
            model.network,
            encoded,
            frames,
            mask_to_frames("hole", hole, like=frames),
            config,
            on_step=step_progress(),
            on_frame=frame_progress(len(frames)),
            on_wait=throw_exception_if_processing_interrupted,
            on_notice=show,
        )
        return io.NodeOutput(frames_to_image(views.filled), frames_to_image(views.whole))
