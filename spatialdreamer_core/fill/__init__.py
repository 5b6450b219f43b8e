"""Filling holes without weights, and compositing any filler's result with the warped view."""

from .composite import composite
from .fast import FastFill, ViewFlow, ViewFrame, carry_flow, fast_fill

__all__ = ["FastFill", "ViewFlow", "ViewFrame", "carry_flow", "composite", "fast_fill"]
