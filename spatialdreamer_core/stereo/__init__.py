"""Two views for the viewer: the frame's edges, comfort, and packing into one picture as screens expect it."""

from .anaglyph import DUBOIS_RED_CYAN, anaglyph
from .comfort import COMFORT_LIMIT, Comfort, measure_comfort
from .devices import DeviceConfig, suggest_settings, with_suggestions
from .packing import FORMAT, FORMATS, check_packed, pack, packed_size, pixel_aspect
from .strength import StrengthConfig, describe_placement, reach_of, shaped
from .window import FloatingWindow, FloatingWindowTracker, apply_floating_window, floating_window

__all__ = [
    "COMFORT_LIMIT",
    "DUBOIS_RED_CYAN",
    "FORMAT",
    "FORMATS",
    "Comfort",
    "DeviceConfig",
    "FloatingWindow",
    "FloatingWindowTracker",
    "StrengthConfig",
    "anaglyph",
    "apply_floating_window",
    "check_packed",
    "describe_placement",
    "floating_window",
    "measure_comfort",
    "pack",
    "packed_size",
    "pixel_aspect",
    "reach_of",
    "shaped",
    "suggest_settings",
    "with_suggestions",
]
