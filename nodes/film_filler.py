"""SpatialDreamer Filler: video diffusion as what fills the holes of a whole film."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comfy.model_management import throw_exception_if_processing_interrupted
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..spatialdreamer_core.dvg.eyes import Eye
from ..spatialdreamer_core.fill import FastFill, FillStream
from ..spatialdreamer_core.spatialdreamer.sampler_config import FilmSamplerConfig
from .placed_model import PlacedModel
from .presentation import found_by
from .sampler_inputs import sampler_inputs
from .sockets import FillerType, ModelType
from .widgets import check_settings, make_settings

if TYPE_CHECKING:
    from ..spatialdreamer_core.spatialdreamer import SpatialDreamerFiller as LibraryFiller


@dataclass(frozen=True)
class PlacedFiller:
    """A filler whose networks ComfyUI brings to its device; `spatialdreamer_core.fill.Filler`."""

    filler: LibraryFiller
    placed: PlacedModel  # which has to live as long

    refines_holes = True
    sees_left = True

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
                ModelType.Input("model", tooltip="SpatialDreamer Model Loader's."),
                *sampler_inputs(FilmSamplerConfig),
                io.Boolean.Input(
                    "fill_first",
                    default=True,
                    optional=True,
                    tooltip="Whether Fast Fill fills the holes before the model sees them. On for an "
                    "untrained model, with `strength` 0.2 to 0.5; off with trained weights.",
                ),
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
    def execute(cls, model: PlacedModel, fill_first: bool = True, **widgets: Any) -> io.NodeOutput:
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
