"""Filling holes without weights, and compositing any filler's result with the warped view."""

from .composite import composite
from .fast import LOOK_AHEAD, FastFill, chain, fast_fill
from .views import ViewFlow, ViewFrame, carry_flow

__all__ = [
    "LOOK_AHEAD",
    "FastFill",
    "ViewFlow",
    "ViewFrame",
    "carry_flow",
    "chain",
    "composite",
    "fast_fill",
]
