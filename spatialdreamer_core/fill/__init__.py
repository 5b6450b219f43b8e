"""Filling holes: the contract of fillers, one without weights, one by image diffusion, and compositing."""

from .checked_stream import CheckedStream, FillerError, check_filler
from .composite import composite
from .fast import FastFill, fast_fill
from .filler import Filler, FillStream, RenderedFrame, fill_holes
from .stable_diffusion import InpaintConfig, Inpainter, load_inpainter
from .stable_diffusion_weights import INPAINTING_KIND, fetch_inpainting_model
from .texture import TEXTURE
from .views import ViewFlow, carry_flow

__all__ = [
    "INPAINTING_KIND",
    "TEXTURE",
    "CheckedStream",
    "FastFill",
    "FillStream",
    "Filler",
    "FillerError",
    "InpaintConfig",
    "Inpainter",
    "RenderedFrame",
    "ViewFlow",
    "carry_flow",
    "check_filler",
    "composite",
    "fast_fill",
    "fetch_inpainting_model",
    "fill_holes",
    "load_inpainter",
]
