"""Inverse depth of a video's frames: estimators behind one function."""

from .builtin import BuiltinDepth
from .cues import CueWeights
from .estimate import (
    EstimatorInfo,
    estimate_depth,
    list_estimators,
    upsample_depth,
    warn_preview_grade,
    working_size,
)

__all__ = [
    "BuiltinDepth",
    "CueWeights",
    "EstimatorInfo",
    "estimate_depth",
    "list_estimators",
    "upsample_depth",
    "warn_preview_grade",
    "working_size",
]
