"""SpatialDreamer (arXiv 2411.11934) on SVD: RefinerNet, TIL, stereo deviation strength, sampler, filler.

The names below are loaded when they are first used: all but the options need diffusers and transformers.
"""

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
    from .checkpoint import load_spatialdreamer, save_spatialdreamer
    from .filler import SpatialDreamerFiller
    from .network import SpatialDreamer, Work
    from .reference import Reference, encode_reference
    from .sampler import SampledViews, measure_deviation, sample, sample_views
    from .sampler_config import SamplerConfig

__all__ = [
    "Reference",
    "SampledViews",
    "SamplerConfig",
    "SpatialDreamer",
    "SpatialDreamerFiller",
    "Work",
    "encode_reference",
    "load_spatialdreamer",
    "measure_deviation",
    "sample",
    "sample_views",
    "save_spatialdreamer",
]
_HOMES = {
    "checkpoint": ("load_spatialdreamer", "save_spatialdreamer"),
    "filler": ("SpatialDreamerFiller",),
    "network": ("SpatialDreamer", "Work"),
    "reference": ("Reference", "encode_reference"),
    "sampler": ("SampledViews", "measure_deviation", "sample", "sample_views"),
    "sampler_config": ("SamplerConfig",),
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
