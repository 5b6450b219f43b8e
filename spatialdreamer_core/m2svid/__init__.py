"""M2SVid on SVD: files, network, one step, clips and films of any length.

The names below are loaded when they are first used: all but the options need diffusers and transformers.
"""

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
    from .config import RefinerConfig
    from .conversion import convert_m2svid
    from .filler import M2SVidFiller
    from .inputs import EncodedWindow, encode_window, prepare_holes
    from .loading import load_m2svid
    from .model import M2SVid
    from .noise import ViewNoise
    from .refiner import RefinedViews, refine
    from .variant import Variant

__all__ = [
    "EncodedWindow",
    "M2SVid",
    "M2SVidFiller",
    "RefinedViews",
    "RefinerConfig",
    "Variant",
    "ViewNoise",
    "convert_m2svid",
    "encode_window",
    "load_m2svid",
    "prepare_holes",
    "refine",
]
_HOMES = {
    "config": ("RefinerConfig",),
    "conversion": ("convert_m2svid",),
    "filler": ("M2SVidFiller",),
    "inputs": ("EncodedWindow", "encode_window", "prepare_holes"),
    "loading": ("load_m2svid",),
    "model": ("M2SVid",),
    "noise": ("ViewNoise",),
    "refiner": ("RefinedViews", "refine"),
    "variant": ("Variant",),
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
