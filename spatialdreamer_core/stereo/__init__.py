"""Packing two views into one picture, as players and screens expect it."""

from .anaglyph import DUBOIS_RED_CYAN, anaglyph
from .packing import FORMATS, pack, packed_size

__all__ = ["DUBOIS_RED_CYAN", "FORMATS", "anaglyph", "pack", "packed_size"]
