"""M2SVid on SVD: its network, what it sees of a window, one step.

The names below are loaded when they are first used: all but the options need diffusers and transformers.
"""

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
    from .conversion import convert_m2svid
    from .inputs import EncodedWindow, ViewNoise, encode_window, prepare_holes
    from .loading import load_m2svid
    from .model import M2SVid
    from .variant import Variant

__all__ = [
    "EncodedWindow",
    "M2SVid",
    "Variant",
    "ViewNoise",
    "convert_m2svid",
    "encode_window",
    "load_m2svid",
    "prepare_holes",
]
_HOMES = {
    "conversion": ("convert_m2svid",),
    "inputs": ("EncodedWindow", "ViewNoise", "encode_window", "prepare_holes"),
    "loading": ("load_m2svid",),
    "model": ("M2SVid",),
    "variant": ("Variant",),
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
