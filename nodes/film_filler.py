"""SpatialDreamer, M2SVid and Frame Matrix Filler: video models as what fills the holes of a whole film."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comfy.model_management import throw_exception_if_processing_interrupted
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..spatialdreamer_core.dvg.eyes import Eye
from ..spatialdreamer_core.fill import FastFill, FillStream
from ..spatialdreamer_core.frame_matrix.config import FrameMatrixConfig
from ..spatialdreamer_core.m2svid.config import RefinerConfig
from ..spatialdreamer_core.spatialdreamer.sampler_config import FilmSamplerConfig
from .frame_matrix import matrix_inputs, matrix_model_input, place_frame_matrix
from .m2svid import refiner_inputs
from .placed_model import PlacedM2SVid, PlacedModel, PlacedSpatialDreamer
from .presentation import found_by
from .sampler_inputs import last_sampler_inputs, sampler_inputs
from .sockets import FillerType, M2SVidType, ModelType
from .widgets import check_settings, make_settings

if TYPE_CHECKING:
    from ..spatialdreamer_core.frame_matrix import FrameMatrixFiller
    from ..spatialdreamer_core.m2svid import M2SVidFiller
    from ..spatialdreamer_core.spatialdreamer import SpatialDreamerFiller as LibraryFiller


@dataclass(frozen=True)
class PlacedFiller:
    """A filler whose networks ComfyUI brings to its device; `spatialdreamer_core.fill.Filler`."""

    filler: LibraryFiller | M2SVidFiller | FrameMatrixFiller
    placed: PlacedModel  # which has to live as long

    refines_holes = True
    takes_bytes = False

    @property
    def reach(self) -> int | None:
        """How far from holes pixels change, px."""
        return self.filler.reach

    @property
    def patcher(self) -> ModelPatcher:
        """The UNet's; by this name the cache of newer ComfyUI recognises what holds a model."""
        return self.placed.patcher

    def get_ram_usage(self) -> int:
        """Tell the cache of ComfyUI 0.3.75 how many bytes the networks take."""
        return self.placed.get_ram_usage()

    def open(self, *, eye: Eye, size: tuple[int, int]) -> FillStream:
        """Begin a film, or an eye of it."""
        self.placed.begin()
        return self.filler.open(eye=eye, size=size)


class SpatialDreamerFiller(io.ComfyNode):
    """Node around `spatialdreamer_core.spatialdreamer.SpatialDreamerFiller`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerFiller",
            display_name="Stereo 3D: SpatialDreamer Filler",
            category="SpatialDreamer",
            **found_by("svd", "inpaint", "stable video diffusion", "stereocrafter", "film"),
            description="Lets Video to Stereo 3D fill the holes of whole films by video diffusion: window by "
            "window inside each scene, each continuing the finished frames of the one before.",
            inputs=[
                ModelType.Input("model", tooltip="From SpatialDreamer Model Loader."),
                *sampler_inputs(FilmSamplerConfig),
                io.Boolean.Input(
                    "fill_first",
                    default=True,
                    optional=True,
                    tooltip="Whether Fast Fill fills the holes before the model sees them. On for an "
                    "untrained model, with a `strength` of 0.4; off with trained weights.",
                ),
                *last_sampler_inputs(),
            ],
            outputs=[
                FillerType.Output("filler", display_name="filler", tooltip="For Video to Stereo 3D."),
            ],
        )

    @classmethod
    def validate_inputs(cls, **widgets: Any) -> bool:
        """Refuse when it is queued what cannot run, see `check_settings`."""
        check_settings(FilmSamplerConfig, widgets)
        return True

    @classmethod
    def execute(cls, model: PlacedSpatialDreamer, fill_first: bool = True, **widgets: Any) -> io.NodeOutput:
        """Make the filler; it works where the film is converted."""
        from ..spatialdreamer_core.spatialdreamer import SpatialDreamerFiller as LibraryFiller

        settings = make_settings(FilmSamplerConfig, widgets)
        filler = LibraryFiller(
            model.network,
            settings,
            max_side=settings.max_side,
            first=FastFill() if fill_first else None,
            on_step=lambda *_: throw_exception_if_processing_interrupted(),
            on_wait=throw_exception_if_processing_interrupted,
        )
        return io.NodeOutput(PlacedFiller(filler, model))


class SpatialDreamerM2SVidFiller(io.ComfyNode):
    """Node around `spatialdreamer_core.m2svid.M2SVidFiller`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerM2SVidFiller",
            display_name="Stereo 3D: M2SVid Filler",
            category="SpatialDreamer",
            **found_by("m2svid", "inpaint", "film"),
            description="Lets Video to Stereo 3D and Image to Stereo 3D fill holes by M2SVid, in whole films "
            "window by window inside each scene.",
            inputs=[
                M2SVidType.Input("model", tooltip="From M2SVid Loader."),
                *refiner_inputs(),
            ],
            outputs=[_filler_output()],
        )

    @classmethod
    def validate_inputs(cls, **widgets: Any) -> bool:
        """Refuse when it is queued what cannot run, see `check_settings`."""
        check_settings(RefinerConfig, widgets)
        return True

    @classmethod
    def execute(cls, model: PlacedM2SVid, **widgets: Any) -> io.NodeOutput:
        """Make the filler; it works where the film is converted."""
        from ..spatialdreamer_core.m2svid import M2SVidFiller

        filler = M2SVidFiller(
            model.network,
            make_settings(RefinerConfig, widgets),
            on_wait=throw_exception_if_processing_interrupted,
        )
        return io.NodeOutput(PlacedFiller(filler, model))


class SpatialDreamerFrameMatrixFiller(io.ComfyNode):
    """Node around `spatialdreamer_core.frame_matrix.FrameMatrixFiller`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerFrameMatrixFiller",
            display_name="Stereo 3D: Frame Matrix Filler",
            category="SpatialDreamer",
            **found_by("s2vg", "svd", "stable video diffusion", "inpaint", "film"),
            description="Lets Video to Stereo 3D and Image to Stereo 3D fill holes by the frame matrix on "
            "Stable Video Diffusion as it was published, in whole films window by window inside each scene.",
            inputs=[
                matrix_model_input(),
                *matrix_inputs(),
            ],
            outputs=[_filler_output()],
        )

    @classmethod
    def validate_inputs(cls, **widgets: Any) -> bool:
        """Refuse when it is queued what cannot run, see `check_settings`."""
        check_settings(FrameMatrixConfig, widgets)
        return True

    @classmethod
    def execute(cls, model: PlacedSpatialDreamer, **widgets: Any) -> io.NodeOutput:
        """Make the filler; it works where the film is converted."""
        from ..spatialdreamer_core.frame_matrix import FrameMatrixFiller

        placed = place_frame_matrix(model)
        filler = FrameMatrixFiller(
            placed.network,
            make_settings(FrameMatrixConfig, widgets),
            on_step=lambda *_: throw_exception_if_processing_interrupted(),
            on_wait=throw_exception_if_processing_interrupted,
        )
        return io.NodeOutput(PlacedFiller(filler, placed))


def _filler_output() -> io.Output:
    """Describe the filler that films and photos take."""
    return FillerType.Output(
        "filler", display_name="filler", tooltip="For Video to Stereo 3D and Image to Stereo 3D."
    )
