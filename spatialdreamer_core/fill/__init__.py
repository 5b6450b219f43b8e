"""Filling holes: the contract of fillers, one without weights, one by image diffusion, and compositing."""

from .checked_stream import CheckedStream, FillerError, check_filler
from .clip import fill_holes
from .composite import composite
from .fast import FastFill, FastFillConfig, fast_fill
from .filler import Filler, FillStream, RenderedFrame
from .frame import fill_memory
from .pair import WAY_BACK, PairConfig, RenderedPair, render_back, render_pair
from .stable_diffusion import InpaintConfig, Inpainter, load_inpainter
from .stable_diffusion_weights import INPAINTING_KIND, fetch_inpainting_model
from .texture import TEXTURE

__all__ = [
    "INPAINTING_KIND",
    "TEXTURE",
    "WAY_BACK",
    "CheckedStream",
    "FastFill",
    "FastFillConfig",
    "FillStream",
    "Filler",
    "FillerError",
    "InpaintConfig",
    "Inpainter",
    "PairConfig",
    "RenderedFrame",
    "RenderedPair",
    "check_filler",
    "composite",
    "fast_fill",
    "fetch_inpainting_model",
    "fill_holes",
    "fill_memory",
    "load_inpainter",
    "render_back",
    "render_pair",
]
