"""Inverse depth of a video's frames: estimators behind one function."""

from .builtin import BuiltinDepth
from .catalogue import (
    BUILTIN,
    EstimatorInfo,
    estimator_names,
    list_estimators,
    open_estimator,
    prepare_estimator,
    resolve_estimator,
)
from .cues import CueWeights
from .estimate import estimate_depth, upsample_depth, working_frame, working_size
from .loading import DepthModel, load_model
from .models import DEFAULT_MODEL, MODEL_KIND, MODELS, ModelSpec
from .scene_range import SceneRange, SceneRangeMeter, apply_scene_ranges, measure_scenes
from .stabilise import DEFAULT_STRENGTH, MAX_STRENGTH, DepthStabiliser, stabilise_depth
from .stream import BuiltinStream, DepthStream, ModelPhoto, ModelStream
from .survey import DepthSurvey, SurveyedScene

__all__ = [
    "BUILTIN",
    "DEFAULT_MODEL",
    "DEFAULT_STRENGTH",
    "MAX_STRENGTH",
    "MODELS",
    "MODEL_KIND",
    "BuiltinDepth",
    "BuiltinStream",
    "CueWeights",
    "DepthModel",
    "DepthStabiliser",
    "DepthStream",
    "DepthSurvey",
    "EstimatorInfo",
    "ModelPhoto",
    "ModelSpec",
    "ModelStream",
    "SceneRange",
    "SceneRangeMeter",
    "SurveyedScene",
    "apply_scene_ranges",
    "estimate_depth",
    "estimator_names",
    "list_estimators",
    "load_model",
    "measure_scenes",
    "open_estimator",
    "prepare_estimator",
    "resolve_estimator",
    "stabilise_depth",
    "upsample_depth",
    "working_frame",
    "working_size",
]
