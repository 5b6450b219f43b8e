"""Inverse depth of a video's frames: estimators behind one function."""

from ..weights import EstimatorInfo
from .builtin import BuiltinDepth
from .catalogue import (
    BUILTIN,
    estimator_names,
    list_estimators,
    open_estimator,
    prepare_estimator,
    resolve_estimator,
)
from .cues import CueWeights
from .estimate import estimate_depth, guide_depth, upsample_depth, working_frame, working_size
from .files import (
    DEPTH_KINDS,
    DEPTH_SUFFIXES,
    DepthFile,
    FileDepth,
    check_equal_channels,
    check_film_size,
    is_size_of_film,
    load_depth,
)
from .loading import DepthModel, load_model
from .models import DEFAULT_MODEL, MODEL_KIND, MODELS, ModelSpec
from .row_upsampling import RowUpsampler
from .scene_range import SceneRange, SceneRangeMeter, apply_scene_ranges, measure_scenes
from .shaping import (
    EDGE_WIDTH,
    MAX_EDGE_DILATION,
    MAX_EDGE_WIDTH,
    DepthShaping,
    shape_depth,
)
from .stabilise import DEFAULT_STRENGTH, MAX_STRENGTH, DepthStabiliser, stabilise_depth
from .stream import BuiltinStream, DepthStream, ModelPhoto, ModelStream
from .survey import DepthSurvey, SurveyedScene

__all__ = [
    "BUILTIN",
    "DEFAULT_MODEL",
    "DEFAULT_STRENGTH",
    "DEPTH_KINDS",
    "DEPTH_SUFFIXES",
    "EDGE_WIDTH",
    "MAX_EDGE_DILATION",
    "MAX_EDGE_WIDTH",
    "MAX_STRENGTH",
    "MODELS",
    "MODEL_KIND",
    "BuiltinDepth",
    "BuiltinStream",
    "CueWeights",
    "DepthFile",
    "DepthModel",
    "DepthShaping",
    "DepthStabiliser",
    "DepthStream",
    "DepthSurvey",
    "EstimatorInfo",
    "FileDepth",
    "ModelPhoto",
    "ModelSpec",
    "ModelStream",
    "RowUpsampler",
    "SceneRange",
    "SceneRangeMeter",
    "SurveyedScene",
    "apply_scene_ranges",
    "check_equal_channels",
    "check_film_size",
    "estimate_depth",
    "estimator_names",
    "guide_depth",
    "is_size_of_film",
    "list_estimators",
    "load_depth",
    "load_model",
    "measure_scenes",
    "open_estimator",
    "prepare_estimator",
    "resolve_estimator",
    "shape_depth",
    "stabilise_depth",
    "upsample_depth",
    "working_frame",
    "working_size",
]
