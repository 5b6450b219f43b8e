"""M2SVid on SVD: its network, what it sees of a window, one step.

The names below are loaded when they are first used: all but the options need diffusers and transformers.
"""

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
    from .checkpoint import Variant
    from .inputs import EncodedWindow, encode_window, prepare_holes
    from .loading import load_m2svid
    from .model import M2SVid
    from .noise import ViewNoise

__all__ = [
    "EncodedWindow",
    "M2SVid",
    "Variant",
    "ViewNoise",
    "encode_window",
    "load_m2svid",
    "prepare_holes",
]
_HOMES = {
    "checkpoint": ("Variant",),
    "inputs": ("EncodedWindow", "encode_window", "prepare_holes"),
    "loading": ("load_m2svid",),
    "noise": ("ViewNoise",),
    "model": ("M2SVid",),
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
