"""Optical flow between neighbouring frames, its confidence, and the cuts across which there is none."""

from .consistency import flow_confidence
from .cuts import CutDetector, find_cuts
from .dis import DIS_PRESETS, dis_flow
from .estimate import FLOW_METHODS, estimate_flow
from .motion import Motion
from .sampling import resize_flow, sample_at_flow

__all__ = [
    "DIS_PRESETS",
    "FLOW_METHODS",
    "CutDetector",
    "Motion",
    "dis_flow",
    "estimate_flow",
    "find_cuts",
    "flow_confidence",
    "resize_flow",
    "sample_at_flow",
]
