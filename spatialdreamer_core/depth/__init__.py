"""Inverse depth of a video's frames: estimators behind one function."""

from ..weights import EstimatorInfo
from .builtin import BuiltinDepth
from .catalogue import (
    BUILTIN,
    estimator_names,
    list_estimators,
    prepare_estimator,
    resolve_estimator,
)
from .cues import CueWeights
from .estimate import estimate_depth, upsample_depth, warn_preview_grade, working_size
from .files import DEPTH_KINDS, DEPTH_SUFFIXES, DepthFile, FileDepth, load_depth
from .loading import DepthModel, load_model
from .models import DEFAULT_MODEL, MODEL_KIND, MODELS, ModelSpec
from .normalise import RunningRange, normalise_scenes
from .scene_range import SceneRange, SceneRangeMeter, apply_scene_ranges, measure_scenes
from .stabilise import DepthStabiliser, stabilise_depth
from .stream import DepthStream, ModelDepth, open_estimator

__all__ = [
    "BUILTIN",
    "DEFAULT_MODEL",
    "DEPTH_KINDS",
    "DEPTH_SUFFIXES",
    "MODELS",
    "MODEL_KIND",
    "BuiltinDepth",
    "CueWeights",
    "DepthFile",
    "DepthModel",
    "DepthStabiliser",
    "DepthStream",
    "EstimatorInfo",
    "FileDepth",
    "ModelDepth",
    "ModelSpec",
    "RunningRange",
    "SceneRange",
    "SceneRangeMeter",
    "apply_scene_ranges",
    "estimate_depth",
    "estimator_names",
    "list_estimators",
    "load_depth",
    "load_model",
    "measure_scenes",
    "normalise_scenes",
    "open_estimator",
    "prepare_estimator",
    "resolve_estimator",
    "stabilise_depth",
    "upsample_depth",
    "warn_preview_grade",
    "working_size",
]
