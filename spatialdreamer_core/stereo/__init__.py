"""Two views for the viewer: the frame's edges, comfort, and packing into one picture as screens expect it."""

from .anaglyph import ANAGLYPH, ANAGLYPHS, DUBOIS_RED_CYAN, anaglyph
from .comfort import COMFORT_LIMIT, Comfort, measure_comfort
from .devices import DeviceConfig, suggest_settings, with_suggestions
from .formats import (
    FORMAT,
    FORMATS,
    PIXEL_FORMATS,
    TWO_PICTURES,
    WHOLE_FORMATS,
    check_packed,
    even_size,
    packed_size,
    pictures_a_pair,
    pixel_aspect,
)
from .half_sphere import FIELD_OF_VIEW
from .layout import StereoLayout
from .packing import pack
from .quilt import QuiltGrid, pack_quilt, quilt_suffix
from .strength import StrengthConfig, describe_placement, reach_of, shaped
from .window import FloatingWindow, FloatingWindowTracker, apply_floating_window, floating_window

__all__ = [
    "ANAGLYPH",
    "ANAGLYPHS",
    "COMFORT_LIMIT",
    "DUBOIS_RED_CYAN",
    "FIELD_OF_VIEW",
    "FORMAT",
    "FORMATS",
    "PIXEL_FORMATS",
    "TWO_PICTURES",
    "WHOLE_FORMATS",
    "Comfort",
    "DeviceConfig",
    "FloatingWindow",
    "FloatingWindowTracker",
    "QuiltGrid",
    "StereoLayout",
    "StrengthConfig",
    "anaglyph",
    "apply_floating_window",
    "check_packed",
    "describe_placement",
    "even_size",
    "floating_window",
    "measure_comfort",
    "pack",
    "pack_quilt",
    "packed_size",
    "pictures_a_pair",
    "pixel_aspect",
    "quilt_suffix",
    "reach_of",
    "shaped",
    "suggest_settings",
    "with_suggestions",
]
