"""Inverse depth of a video's frames: estimators behind one function."""

from ..weights import EstimatorInfo
from .builtin import BuiltinDepth
from .catalogue import (
    AUTO,
    BUILTIN,
    estimator_names,
    list_estimators,
    names_file,
    open_estimator,
    prepare_estimator,
    resolve_estimator,
)
from .choice import EstimatorChoice, choose_estimator, describe_choice, state_of_choice
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
from .first_pass import DepthFirstPass, MeasuredScene
from .loading import DepthModel, PackageError, load_model
from .models import DEFAULT_MODEL, DEFAULT_SIZE, MODEL_KIND, MODELS, ModelSpec
from .row_upsampling import RowUpsampler
from .scene_range import SceneRange, SceneRangeMeter, apply_scene_ranges, measure_scenes
from .scene_statistics import SceneStatistics, StatisticsMeter, SubjectMeter, measure_statistics
from .shaping import (
    EDGE_WIDTH,
    DepthShaping,
    shape_depth,
)
from .stabilise import DEFAULT_STRENGTH, MAX_STRENGTH, DepthStabiliser, stabilise_depth
from .stream import BuiltinStream, DepthStream, ModelPhoto, ModelStream
from .subject import find_subject

__all__ = [
    "AUTO",
    "BUILTIN",
    "DEFAULT_MODEL",
    "DEFAULT_SIZE",
    "DEFAULT_STRENGTH",
    "DEPTH_KINDS",
    "DEPTH_SUFFIXES",
    "EDGE_WIDTH",
    "MAX_STRENGTH",
    "MODELS",
    "MODEL_KIND",
    "BuiltinDepth",
    "BuiltinStream",
    "CueWeights",
    "DepthFile",
    "DepthFirstPass",
    "DepthModel",
    "DepthShaping",
    "DepthStabiliser",
    "DepthStream",
    "EstimatorChoice",
    "EstimatorInfo",
    "FileDepth",
    "MeasuredScene",
    "ModelPhoto",
    "ModelSpec",
    "ModelStream",
    "PackageError",
    "RowUpsampler",
    "SceneRange",
    "SceneRangeMeter",
    "SceneStatistics",
    "StatisticsMeter",
    "SubjectMeter",
    "apply_scene_ranges",
    "check_equal_channels",
    "check_film_size",
    "choose_estimator",
    "describe_choice",
    "estimate_depth",
    "estimator_names",
    "find_subject",
    "guide_depth",
    "is_size_of_film",
    "list_estimators",
    "load_depth",
    "load_model",
    "measure_scenes",
    "measure_statistics",
    "names_file",
    "open_estimator",
    "prepare_estimator",
    "resolve_estimator",
    "shape_depth",
    "stabilise_depth",
    "state_of_choice",
    "upsample_depth",
    "working_frame",
    "working_size",
]
