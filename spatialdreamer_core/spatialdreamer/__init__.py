"""SpatialDreamer (arXiv 2411.11934) on SVD: RefinerNet, TIL, stereo deviation strength."""

from ..sampler_config import SamplerConfig
from .bank import FeatureBank
from .checkpoint import load_spatialdreamer, save_spatialdreamer
from .config import SD_CLEAN_TIMESTEP, SVD_CLEAN_TIMESTEP, SpatialDreamerConfig
from .deviation import STEREO_LOSS_WEIGHT, added_time_ids, deviation_strength, stereo_aware_loss
from .filler import SpatialDreamerFiller
from .network import SpatialDreamer, Work
from .reference import Reference, encode_reference
from .refiner import build_bank, dead_parameters, make_refiner
from .sampler import SampledViews, measure_deviation, sample, sample_views
from .til import TemporalInteraction

__all__ = [
    "SD_CLEAN_TIMESTEP",
    "STEREO_LOSS_WEIGHT",
    "SVD_CLEAN_TIMESTEP",
    "FeatureBank",
    "Reference",
    "SampledViews",
    "SamplerConfig",
    "SpatialDreamer",
    "SpatialDreamerConfig",
    "SpatialDreamerFiller",
    "TemporalInteraction",
    "Work",
    "added_time_ids",
    "build_bank",
    "dead_parameters",
    "deviation_strength",
    "encode_reference",
    "load_spatialdreamer",
    "make_refiner",
    "measure_deviation",
    "sample",
    "sample_views",
    "save_spatialdreamer",
    "stereo_aware_loss",
]
