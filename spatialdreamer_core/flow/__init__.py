"""Optical flow between neighbouring frames, its confidence, and the cuts across which there is none."""

from .catalogue import FLOW_METHODS, list_flow_methods, prepare_flow
from .consistency import flow_confidence
from .cuts import CutDetector, find_cuts
from .dis import DIS_PRESETS, dis_flow
from .estimate import estimate_flow
from .estimator import FlowEstimator, open_flow
from .motion import Flow, Motion
from .pictures import to_rgb
from .raft_weights import (
    FLOW_MODEL_KIND,
    FLOW_MODELS,
    FlowModel,
    FlowModelSpec,
    find_flow_model,
    load_flow_model,
)
from .sampling import fit_size, resize_flow, sample_at_flow

__all__ = [
    "DIS_PRESETS",
    "FLOW_METHODS",
    "FLOW_MODELS",
    "FLOW_MODEL_KIND",
    "CutDetector",
    "Flow",
    "FlowEstimator",
    "FlowModel",
    "FlowModelSpec",
    "Motion",
    "dis_flow",
    "estimate_flow",
    "find_cuts",
    "find_flow_model",
    "fit_size",
    "flow_confidence",
    "list_flow_methods",
    "load_flow_model",
    "open_flow",
    "prepare_flow",
    "resize_flow",
    "sample_at_flow",
    "to_rgb",
]
