"""Filling holes: the contract of fillers, one without weights, one by image diffusion, and compositing."""

from .composite import composite
from .fast import FastFill, fast_fill
from .filler import CheckedStream, Filler, FillStream, RenderedFrame, check_filler, fill_holes
from .pair import RenderedPair, render_pair
from .stable_diffusion import InpaintConfig, Inpainter, load_inpainter
from .stable_diffusion_weights import INPAINTING_KIND, fetch_inpainting_model
from .texture import TEXTURE

__all__ = [
    "INPAINTING_KIND",
    "TEXTURE",
    "CheckedStream",
    "FastFill",
    "FillStream",
    "Filler",
    "InpaintConfig",
    "Inpainter",
    "RenderedFrame",
    "RenderedPair",
    "check_filler",
    "composite",
    "fast_fill",
    "fetch_inpainting_model",
    "fill_holes",
    "load_inpainter",
    "render_pair",
]
