"""Filling holes without weights or by diffusion, and compositing any filler's result with the warped view."""

from .composite import composite
from .fast import LOOK_AHEAD, FastFill, chain, fast_fill
from .stable_diffusion import InpaintConfig, Inpainter, load_inpainter
from .stable_diffusion_weights import INPAINTING_KIND, fetch_inpainting_model
from .texture import TEXTURE
from .views import ViewFlow, ViewFrame, carry_flow

__all__ = [
    "INPAINTING_KIND",
    "LOOK_AHEAD",
    "TEXTURE",
    "FastFill",
    "InpaintConfig",
    "Inpainter",
    "ViewFlow",
    "ViewFrame",
    "carry_flow",
    "chain",
    "composite",
    "fast_fill",
    "fetch_inpainting_model",
    "load_inpainter",
]
