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
from .estimate import estimate_depth, guide_depth, upsample_depth, warn_preview_grade, working_size
from .loading import DepthModel, load_model
from .models import DEFAULT_MODEL, MODEL_KIND, MODELS, ModelSpec
from .normalise import RunningRange, normalise_scenes
from .scene_range import SceneRange, SceneRangeMeter, apply_scene_ranges, measure_scenes
from .shaping import (
    AUTO_EDGE,
    EDGE_DILATION,
    EDGE_WIDTH,
    MAX_EDGE_DILATION,
    MAX_EDGE_WIDTH,
    DepthShaping,
    shape_depth,
)
from .stabilise import DepthStabiliser, stabilise_depth
from .stream import DepthStream, ModelDepth, open_estimator

__all__ = [
    "AUTO_EDGE",
    "BUILTIN",
    "DEFAULT_MODEL",
    "EDGE_DILATION",
    "EDGE_WIDTH",
    "MAX_EDGE_DILATION",
    "MAX_EDGE_WIDTH",
    "MODELS",
    "MODEL_KIND",
    "BuiltinDepth",
    "CueWeights",
    "DepthModel",
    "DepthShaping",
    "DepthStabiliser",
    "DepthStream",
    "EstimatorInfo",
    "ModelDepth",
    "ModelSpec",
    "RunningRange",
    "SceneRange",
    "SceneRangeMeter",
    "apply_scene_ranges",
    "estimate_depth",
    "estimator_names",
    "guide_depth",
    "list_estimators",
    "load_model",
    "measure_scenes",
    "normalise_scenes",
    "open_estimator",
    "prepare_estimator",
    "resolve_estimator",
    "shape_depth",
    "stabilise_depth",
    "upsample_depth",
    "warn_preview_grade",
    "working_size",
]
