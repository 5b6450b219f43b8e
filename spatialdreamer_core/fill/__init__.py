"""Filling holes without weights, and compositing any filler's result with the warped view."""

from .composite import composite
from .fast import FastFill, ViewFlow, ViewFrame, fast_fill

__all__ = ["FastFill", "ViewFlow", "ViewFrame", "composite", "fast_fill"]
